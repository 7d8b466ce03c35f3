"""``export``: the documents as the source has them now, as JSON lines or as a table."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.options import Tenant
from sync_pipeline.cli.spreadsheet import columns_of, iter_csv
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.operations.exporting import choose_entities, iter_lines, page
from sync_pipeline.operations.scopes import ScopeChoice, ScopeWord, choose_scopes

app = typer.Typer()


class Format(StrEnum):
    """How documents are printed."""

    JSON = "json"
    CSV = "csv"


class ScopeKind(StrEnum):
    """Whose documents."""

    GLOBAL = "global"
    TENANT = "tenant"


@command(app, "export")
def export(
    invocation: Invocation,
    *,
    entities: Annotated[
        str,
        typer.Argument(metavar="materials|works|all", help="An entity or its table, or all."),
    ],
    kind: Annotated[
        ScopeKind | None,
        typer.Option("--scope", help="Only global documents, or only those of tenants."),
    ] = None,
    tenant: Tenant = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most documents.")] = None,
    offset: Annotated[int, typer.Option(min=0, metavar="N", help="Documents to leave out.")] = 0,
    form: Annotated[
        Format,
        typer.Option("--format", help="JSON lines, or CSV with a column per payload field."),
    ] = Format.JSON,
) -> None:
    """Print documents, rendered from the source as it is now: JSON lines, or CSV.

    With --limit or --offset they come in the order of their ids, so that pages
    fit together; without, in the order of reading, however many there are.
    """
    choice = scope_choice(kind, tenant=tenant)
    sync = invocation.installation.sync
    wanted = choose_entities(entities, among=sync.entities)
    scopes = choose_scopes(choice, among=invocation.scopes)
    every = iter_lines(sync, entities=wanted, scopes=scopes)
    lines = page(every, limit=limit, offset=offset)
    if form is Format.CSV:
        for piece in iter_csv(lines, columns=columns_of(wanted)):
            print(piece, end="")  # noqa: T201 - a file, not for people
        return
    for line in lines:
        print(as_json(line))  # noqa: T201 - rich would wrap long lines


def scope_choice(kind: ScopeKind | None, *, tenant: str | None) -> ScopeChoice:
    """What ``--scope`` and ``--tenant`` mean together.

    Raises:
        ConfigurationError: documents of a tenant that are global.
    """
    if tenant is not None:
        if kind is ScopeKind.GLOBAL:
            raise ConfigurationError("--scope global and --tenant exclude each other")
        return ScopeChoice(ScopeWord.TENANT, (tenant,))
    words = {
        None: ScopeWord.ALL,
        ScopeKind.GLOBAL: ScopeWord.GLOBAL,
        ScopeKind.TENANT: ScopeWord.TENANTS,
    }
    return ScopeChoice(words[kind])
