"""``search``: ask the index as one tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import IsGlobal, Tenant
from sync_pipeline.cli.scopes import known_tenant, one_scope
from sync_pipeline.core.document import INT64_RANGE
from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.search import SearchResult

app = typer.Typer()

Value = str | int | bool
"""What a payload field can be compared with."""


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
            help="Only documents with this payload value; repeatable. Values of one field are "
            "alternatives, fields must all agree.",
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
        filters=parse_filters(filters or []),
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
    filters: dict[str, list[Value]] | None = None,
) -> SearchResult:
    """Search as ``scope``.

    Raises:
        ConfigurationError: a request that cannot be answered, or nothing synced yet.
    """
    from sync_pipeline.engine import search as engine

    sync = invocation.installation.sync
    names = [found.name for found in sync.entities]
    if entity is not None and entity not in names:
        raise ConfigurationError(f"no entity {entity!r}; the configured ones: {', '.join(names)}")
    try:
        request = engine.SearchRequest(
            text=text, limit=limit, entity_type=entity, views=views, filters=filters or {}
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return engine.search(sync, scope=scope, request=request)


def parse_filters(pairs: Sequence[str]) -> dict[str, list[Value]]:
    """Read ``field=value`` pairs; the same field again adds an alternative.

    A value that reads as a whole number or as true or false is looked for as
    text too: the command line does not show which one is meant.

    Raises:
        ConfigurationError: a pair without ``=`` or without a field.
    """
    filters: dict[str, list[Value]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--filter {pair!r} is not FIELD=VALUE, e.g. unit=kg")
        filters.setdefault(name, []).extend(_readings(value))
    return filters


def _readings(value: str) -> list[Value]:
    if value in ("true", "false"):
        return [value, value == "true"]
    if value.removeprefix("-").isdecimal() and int(value) in INT64_RANGE:
        return [value, int(value)]
    return [value]


def _check_known(invocation: Invocation, scope: Scope) -> None:
    """Refuse a misspelt tenant; one that was synced before costs no look at the source.

    Raises:
        UnknownScopeError: naming tenants that are spelled alike.
    """
    from sync_pipeline.engine.records import read_record

    sync = invocation.installation.sync
    if scope.tenant_id and not read_record(sync, scope=scope).entities:
        known_tenant(scope.tenant_id, known=invocation.scope_statuses())
