"""Doing something about rows that failed or cannot become documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope

if TYPE_CHECKING:
    from sync_pipeline.engine.context import SyncContext


@dataclass(frozen=True, slots=True)
class Selection:
    """One row, all rows of a scope, or all."""

    scope: Scope | None = None
    row: tuple[str, str] | None = None
    """Entity type and row id."""


def retry_failed(sync: SyncContext, chosen: Selection) -> dict[str, int]:
    """Let failed documents be tried again; per scope key how many are due now.

    Raises:
        ConfigurationError: a row of an entity that is not configured.
    """
    from sync_pipeline.core.document import row_document_ids
    from sync_pipeline.engine.roles import beside

    require_entity(sync, chosen)
    names = None if chosen.row is None else row_document_ids(*chosen.row)
    due: dict[str, int] = {}
    for each in (sync, *beside(sync)):
        for key, number in each.state.retry_now(scope=chosen.scope, document_ids=names).items():
            due[key] = max(number, due.get(key, 0))
    return due


def release_quarantined(sync: SyncContext, chosen: Selection) -> dict[str, int]:
    """Take rows off the quarantine, so that they are judged anew; per scope key how many.

    Raises:
        ConfigurationError: a row of an entity that is not configured.
    """
    require_entity(sync, chosen)
    rows = None if chosen.row is None else {chosen.row}
    return sync.quarantine.release(scope=chosen.scope, rows=rows)


def require_entity(sync: SyncContext, chosen: Selection) -> None:
    """Refuse a row of an entity that is not configured.

    Raises:
        ConfigurationError: naming those that are.
    """
    if chosen.row is not None:
        require_entity_name(sync, chosen.row[0])


def require_entity_name(sync: SyncContext, name: str) -> None:
    """Refuse an entity that is not configured.

    Raises:
        ConfigurationError: naming those that are.
    """
    if name not in sync.entity_names:
        raise ConfigurationError(
            f"no entity {name!r}; the configured ones are {', '.join(sync.entity_names)}"
        )


def sync_commands(scope_keys: Mapping[str, int] | Sequence[str]) -> str:
    """The commands that sync these scopes in any case."""
    tenants = [Scope.from_key(key) for key in scope_keys if key != GLOBAL_KEY]
    words = [GLOBAL.words] if GLOBAL_KEY in scope_keys else []
    if tenants:
        words.append(" ".join(["tenant", *(scope.words.partition(" ")[2] for scope in tenants)]))
    return " and ".join(f"`sync-pipeline sync {word} --force`" for word in words)
