"""Choosing rows to do something about, and syncing their scopes afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import json_output
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.scopes import one_scope
from sync_pipeline.cli.sync import run_sync, show_reports
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity

EntityName = Annotated[
    str | None, typer.Argument(metavar="ENTITY", help="Name of the row's entity: material.")
]
RowId = Annotated[str | None, typer.Argument(metavar="ROW_ID", help="Its id in the source table.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
Now = Annotated[bool, typer.Option("--now", help="Sync the scopes concerned at once, in full.")]


@dataclass(frozen=True, slots=True)
class Selection:
    """One row, all rows of a scope, or all."""

    scope: Scope | None = None
    row: tuple[str, str] | None = None
    """Entity type and row id."""


def read_selection(
    *,
    entity: str | None,
    row_id: str | None,
    tenant: str | None,
    is_global: bool,
    everything: bool,
) -> Selection:
    """Read what is meant by ``ENTITY ROW_ID``, ``--tenant ID``, ``--global`` or ``--all``.

    Raises:
        ConfigurationError: none of them, or several.
    """
    scope = one_scope(tenant=tenant, is_global=is_global)
    row = None if entity is None or row_id is None else (entity, row_id)
    is_half = entity is not None and row_id is None
    if is_half or (scope is not None) + (row is not None) + everything != 1:
        raise ConfigurationError(
            "say which ones: ENTITY ROW_ID, --tenant ID, --global, or --all (one of these)"
        )
    return Selection(scope, row)


def require_entity(selection: Selection, *, configured: tuple[Entity, ...]) -> None:
    """Refuse a row of an entity that is not configured.

    Raises:
        ConfigurationError: naming those that are.
    """
    names = [entity.name for entity in configured]
    if selection.row is not None and selection.row[0] not in names:
        raise ConfigurationError(
            f"no entity {selection.row[0]!r}; the configured ones are {', '.join(names)}"
        )


def sync_commands(scope_keys: Mapping[str, int]) -> str:
    """The commands that sync these scopes in any case."""
    tenants = [Scope.from_key(key) for key in scope_keys if key != GLOBAL_KEY]
    words = [GLOBAL.words] if GLOBAL_KEY in scope_keys else []
    if tenants:
        words.append(" ".join(["tenant", *(scope.words.partition(" ")[2] for scope in tenants)]))
    return " and ".join(f"`sync-pipeline sync {word} --force`" for word in words)


def sync_now(invocation: Invocation, scope_keys: Mapping[str, int]) -> dict[str, object]:
    """Sync scopes in full and show the result; what ``sync --json`` prints."""
    from sync_pipeline.engine.context import RunOptions

    began = time.perf_counter()
    scopes = [Scope.from_key(key) for key in scope_keys]
    reports = run_sync(invocation, scopes, RunOptions())
    seconds = time.perf_counter() - began
    show_reports(invocation, reports, duration_seconds=seconds)
    return json_output.sync_summary(reports, mode="full", duration_seconds=seconds)


def finish(invocation: Invocation, answer: Mapping[str, object]) -> None:
    """Answer programs, and end with 1 where a sync that was asked for failed."""
    synced = answer["sync"]
    is_done = not isinstance(synced, Mapping) or bool(synced["ok"])
    invocation.answer({"ok": is_done, **answer})
    if not is_done:
        raise typer.Exit(FAILED)
