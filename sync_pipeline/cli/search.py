"""``search``: ask the index as one tenant."""

from __future__ import annotations

from typing import Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.filters import parse_filters
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant, one_scope
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.operations.answers import search_answer
from sync_pipeline.operations.asking import search_as
from sync_pipeline.operations.scopes import InstalledScopes, known_tenant

app = typer.Typer()


@command(app, "search")
def search(
    invocation: Invocation,
    *,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")],
    tenant: Tenant = None,
    is_global: IsGlobal = False,
    limit: Annotated[int, typer.Option(help="Most hits.")] = 10,
    entity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only documents of this entity.")
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", metavar="NAME", help="Search only this view; repeatable."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="Only documents with this payload value, e.g. unit=kg, 'price>=100', "
            "'madeAt<2026-02-01', 'unit!=kg', price=null (no value), attributes.imei=42; "
            "repeatable. Values of one field after = are alternatives, everything else must "
            "hold together.",
        ),
    ] = None,
    passages: Annotated[
        bool,
        typer.Option("--passages", help="Show which passage of a long text each hit is about."),
    ] = False,
) -> None:
    """Search the documents of one tenant together with the global ones, or only these."""
    scope = one_scope(tenant=tenant, is_global=is_global)
    if scope is None:
        raise ConfigurationError("as whom? Say --tenant ID, or --global for shared documents only")
    sync = invocation.installation.sync
    if scope.tenant_id is not None:
        known_tenant(scope.tenant_id, among=InstalledScopes(sync))
    result = search_as(
        sync,
        text,
        scope=scope,
        limit=limit,
        entity=entity,
        views=tuple(view or ()),
        filters=parse_filters(filters or ()),
        passages=passages,
    )
    invocation.answer(search_answer(result))
    if result.degraded is not None:
        invocation.say(f"{result.degraded[0].upper()}{result.degraded[1:]}.")
    if result.hits:
        invocation.show(render.hits_table(result.hits))
    else:
        invocation.say("Nothing found.")
