"""``export``: the documents as the source has them now, as JSON lines or as a table."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.options import Tenant
from sync_pipeline.cli.scopes import ScopeChoice, ScopeWord, choose_scopes
from sync_pipeline.cli.spreadsheet import columns_of, iter_csv
from sync_pipeline.core.document import Document
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.payload import TEXT, shown

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext

app = typer.Typer()

Line = dict[str, object]
"""One document as it is printed."""


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
    chosen = choose_entities(entities, configured=sync.entities)
    scopes = choose_scopes(choice, known_scopes=invocation)
    every = _iter_lines(sync, entities=chosen, scopes=scopes)
    lines = page(every, limit=limit, offset=offset)
    if form is Format.CSV:
        for piece in iter_csv(lines, columns=columns_of(chosen)):
            print(piece, end="")  # noqa: T201 - a file, not for people
        return
    for line in lines:
        print(as_json(line))  # noqa: T201 - rich would wrap long lines


def choose_entities(word: str, *, configured: Sequence[Entity]) -> list[Entity]:
    """Entities by name, plural or table.

    Raises:
        ConfigurationError: there is none of that name.
    """
    chosen = [
        entity
        for entity in configured
        if word in ("all", entity.name, f"{entity.name}s", entity.table.rpartition(".")[2])
    ]
    if not chosen:
        names = ", ".join(entity.table.rpartition(".")[2] for entity in configured)
        raise ConfigurationError(f"no entity {word!r}; say all, or one of {names}")
    return chosen


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


def page(lines: Iterator[Line], *, limit: int | None, offset: int) -> Iterator[Line]:
    """All lines as they come, or one page of them in the order of document ids."""
    if limit is None and not offset:
        return lines

    def document_id(line: Line) -> str:
        return str(line["document_id"])

    if limit is None:
        return islice(sorted(lines, key=document_id), offset, None)
    return islice(heapq.nsmallest(offset + limit, lines, key=document_id), offset, None)


def _iter_lines(
    sync: SyncContext, *, entities: Sequence[Entity], scopes: Sequence[Scope]
) -> Iterator[Line]:
    """Render every document that a sync would make, all from one snapshot."""
    from sync_pipeline.engine.steps.export import iter_built

    with sync.source.open_snapshot(entities) as snapshot:
        for scope in scopes:
            for entity in entities:
                batches = iter_built(sync, snapshot=snapshot, entity=entity, scope=scope)
                for built in chain.from_iterable(batches):
                    if isinstance(built, Document):
                        yield _line(built, entity=entity)


def _line(document: Document, *, entity: Entity) -> Line:
    payload = shown(json.loads(document.payload))
    views = [name for name, _ in entity.views]
    return {
        "document_id": document.document_id,
        "text": payload[TEXT],
        "texts": dict(zip(views, document.texts, strict=True)),
        "payload": payload,
    }
