"""Which scopes are synced first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sync_pipeline.core.scope import GLOBAL_KEY, Scope

MAX_PRIORITY: Final = 100
"""The greatest priority that a scope can be given; the least is as far below 0."""

OVERDUE: Final = MAX_PRIORITY + 1
"""Of a run that has waited too long: above any that a scope can be given."""

_UNNAMED: Final = 0
_GLOBAL: Final = 1
"""Every search shows the global rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """Which of several scopes is synced first; the settings' section ``scopes``.

    By priority, the greatest first. Among equals global comes first, then the scope with the
    newest change, where that is wanted, then the largest, so that no long run starts last.
    """

    priorities: Mapping[str, int] = field(default_factory=dict)
    """By scope key; others have 0, global 1."""
    is_recent_first: bool = False
    """Whether a scope that changed lately comes before one that did not."""
    max_wait: timedelta = timedelta(hours=1)
    """Whoever waits longer goes first, whatever the priorities: none waits for ever."""

    def priority(self, scope: Scope) -> int:
        """Of a scope, by the settings."""
        default = _GLOBAL if scope.is_global else _UNNAMED
        return self.priorities.get(scope.key, default)

    def priority_since(self, scope: Scope, *, waiting_since: datetime, now: datetime) -> int:
        """Of a scope with changes that wait."""
        return OVERDUE if now - waiting_since > self.max_wait else self.priority(scope)

    def sort(
        self, rows: Mapping[Scope, int], *, newest: Mapping[str, float] | None = None
    ) -> list[Scope]:
        """Put scopes in the order in which they are synced.

        Args:
            rows: How many rows each scope has.
            newest: By scope key the time of its newest change, in seconds since 1970.
        """
        newest = newest or {}
        return sorted(
            rows,
            key=lambda scope: (
                -self.priority(scope),
                not scope.is_global,
                -newest.get(scope.key, float("-inf")),
                -rows[scope],
                scope.key,
            ),
        )

    def by_waiting(self, oldest: Mapping[Scope, datetime], *, now: datetime) -> dict[Scope, int]:
        """Priorities of scopes with changes that wait, in the order in which they are synced.

        Of equals the one that has waited longest is first.

        Args:
            oldest: Since when each waits.
            now: By the clock that this is told by.
        """
        priorities = {
            scope: self.priority_since(scope, waiting_since=since, now=now)
            for scope, since in oldest.items()
        }
        turns = sorted(oldest, key=lambda scope: (-priorities[scope], oldest[scope], scope.key))
        return {scope: priorities[scope] for scope in turns}

    def __str__(self) -> str:
        named = {GLOBAL_KEY: _GLOBAL, **self.priorities}
        ranked = sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{key} {priority}" for key, priority in ranked)
        equals = "the latest changed" if self.is_recent_first else "the largest"
        return (
            f"scopes by priority ({shown}, others {_UNNAMED}), of equals {equals} first; what "
            f"waits longer than {self.max_wait.total_seconds() / 60:g} minutes goes before all"
        )
