"""``search``: ask the index as one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.filters import parse_filters
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant
from sync_pipeline.cli.scopes import known_tenant, one_scope
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.filters import Filters

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.search import SearchResult

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
) -> None:
    """Search the documents of one tenant together with the global ones, or only these."""
    scope = one_scope(tenant=tenant, is_global=is_global)
    if scope is None:
        raise ConfigurationError("as whom? Say --tenant ID, or --global for shared documents only")
    _check_known(invocation, scope)
    result = run_search(
        invocation,
        text,
        scope=scope,
        limit=limit,
        entity=entity,
        views=tuple(view or ()),
        filters=parse_filters(filters or ()),
    )
    invocation.answer({"hits": result.hits, "in_sync_to": result.in_sync_to})
    if result.hits:
        invocation.show(render.hits_table(result.hits))
    else:
        invocation.say("Nothing found.")


def run_search(
    invocation: Invocation,
    text: str,
    *,
    scope: Scope,
    limit: int,
    entity: str | None = None,
    views: tuple[str, ...] = (),
    filters: Filters | None = None,
) -> SearchResult:
    """Search as ``scope``.

    Raises:
        ConfigurationError: a request that cannot be answered, or nothing synced yet.
    """
    from sync_pipeline.engine.questions import search as engine

    sync = invocation.installation.sync
    names = [configured.name for configured in sync.entities]
    if entity is not None and entity not in names:
        raise ConfigurationError(f"no entity {entity!r}; the configured ones: {', '.join(names)}")
    conditions = filters or Filters()
    try:
        request = engine.SearchRequest(
            text=text,
            limit=limit,
            entity_type=entity,
            views=views,
            filters=conditions.equals,
            ranges=conditions.ranges,
            excluded=conditions.excluded,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return engine.search(sync, scope=scope, request=request)


def _check_known(invocation: Invocation, scope: Scope) -> None:
    """Refuse a misspelt tenant; one that was synced before costs no look at the source.

    Raises:
        UnknownScopeError: naming tenants that are spelled alike.
    """
    if scope.tenant_id is not None:
        known_tenant(scope.tenant_id, known_scopes=invocation)
