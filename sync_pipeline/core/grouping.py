"""Which scopes share a run, and which have one of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sync_pipeline.core.scope import Scope

FEW_SMALL: Final = 20
"""Up to so many small scopes have a run each: there a run can be watched, stopped and repeated
per tenant, and what runs cost does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """How small scopes are packed; the settings' section ``schedule``."""

    small_rows: int = 5_000
    """A scope with fewer rows is small; 0 lets every scope have its own run."""
    max_rows: int = 20_000
    """Most rows of a group."""
    max_scopes: int = 100
    """Most scopes of a group."""
    big_rows: int | None = None
    """A scope of more rows is big: its run has a job of its own, whose steps workers share. None
    where there are no workers."""
    one_at_a_time: bool = False
    """Whether groups wait for one another. The embedded index admits one process at a time:
    measured, three groups at once sync fewer tenants a minute than one, for they wait for it at
    every step."""

    def is_small(self, scope: Scope, *, rows: int | None) -> bool:
        """Whether a scope may share a run; global and what nobody has counted may not."""
        return not scope.is_global and rows is not None and rows < self.small_rows

    def is_big(self, *, rows: int | None) -> bool:
        """Whether the steps of a scope's run are shared out."""
        return self.big_rows is not None and rows is not None and rows > self.big_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """Scopes that one run is to sync."""

    scopes: tuple[Scope, ...]
    is_big: bool = False
    """Whether it is one scope whose steps are shared out among workers."""

    @property
    def first(self) -> Scope:
        """The scope that stands for the others, in priority and name."""
        return self.scopes[0]

    @property
    def is_group(self) -> bool:
        """Whether several scopes share it."""
        return len(self.scopes) > 1


@dataclass(slots=True)
class _OpenGroup:
    """A group that scopes of one priority are added to."""

    members: list[Scope]
    rows: int


def cut_runs(
    scopes: Sequence[Scope],
    *,
    rows: Mapping[Scope, int],
    priority: Callable[[Scope], int],
    policy: GroupPolicy,
) -> list[tuple[Scope, ...]]:
    """Cut scopes into runs: large ones alone, small ones of one priority together.

    Args:
        scopes: In the order in which they are to be synced.
        rows: How many each has; a scope that is missing here gets its own run.
        priority: Of a scope; a run has one.
        policy: What is small, and how much a group holds.

    Returns:
        The scopes of each run. A group stands where its first scope stood, and keeps their order.
    """
    small = {scope for scope in scopes if policy.is_small(scope, rows=rows.get(scope))}
    if len(small) <= FEW_SMALL:
        return [(scope,) for scope in scopes]
    runs: list[list[Scope]] = []
    groups: dict[int, _OpenGroup] = {}
    for scope in scopes:
        if scope not in small:
            runs.append([scope])
            continue
        group = groups.get(priority(scope))
        if group is None or not _fits(group, rows[scope], policy=policy):
            group = groups[priority(scope)] = _OpenGroup([], 0)
            runs.append(group.members)
        group.members.append(scope)
        group.rows += rows[scope]
    return [tuple(members) for members in runs]


def _fits(group: _OpenGroup, rows: int, *, policy: GroupPolicy) -> bool:
    return len(group.members) < policy.max_scopes and group.rows + rows <= policy.max_rows
