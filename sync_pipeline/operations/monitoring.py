"""What monitoring watches: from records alone, bounded however many scopes there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.breaker import Breaker
from sync_pipeline.core.landing.bounds import LandedUntil
from sync_pipeline.core.ports import RecordedScope, ScopeOrder, ScopePage, ScopeTotals
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import Amount, BudgetState
from sync_pipeline.engine.landing.ages import LandingAge, bounds, read_landings
from sync_pipeline.engine.questions.cost import spent_this_month
from sync_pipeline.engine.roles import serving_by_record
from sync_pipeline.operations.costing import watched_budgets
from sync_pipeline.operations.filling import RecordedGeneration, recorded_generations
from sync_pipeline.operations.overview import ScopeLine, scope_lines

if TYPE_CHECKING:
    from sync_pipeline.core.changes import PendingChanges
    from sync_pipeline.core.ports import SyncRun
    from sync_pipeline.engine.context import SyncContext

MOST_SCOPES: Final = 1_000
"""Up to so many scopes each is watched by itself."""
WORST_SCOPES: Final = 100
"""Of more, so many of those that are furthest behind."""
RECENT_RUNS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How everything stands, and some scopes one by one."""

    totals: ScopeTotals
    """Of all scopes."""
    lines: Sequence[ScopeLine]
    """Scopes that are watched by themselves, the one that waits longest first."""
    waits: Mapping[str, float | None]
    """Of these by scope key, and of scopes of which nothing is recorded but changes wait; see
    ``oldest_unsynced_seconds``."""
    runs: Sequence[SyncRun]
    """The last runs, the one that ended last first."""
    generations: Sequence[RecordedGeneration] = ()
    """Of the index, the oldest first."""
    budgets: Sequence[BudgetState] = ()
    """Of this month: of everything, and of the tenants that have spent the greatest share."""
    providers: Sequence[Breaker] = ()
    """Of the chain of the settings, in its order, how each stands."""
    spent: Amount = Amount()  # noqa: RUF009 - frozen
    """What counts against budgets this month."""
    landings: Sequence[LandingAge] = ()

    @property
    def longest_wait_seconds(self) -> float:
        """Of any scope, watched by itself or not: the worst are."""
        return max((wait for wait in self.waits.values() if wait is not None), default=0.0)


def watch(sync: SyncContext, *, most: int = MOST_SCOPES, worst: int = WORST_SCOPES) -> Watched:
    """How everything stands.

    Args:
        sync: The ports.
        most: Up to so many scopes each is watched by itself.
        worst: How many are where there are more.

    Raises:
        TransientError: a database cannot be reached.
    """
    generations = recorded_generations(sync)
    landings = read_landings(sync)
    sync = serving_by_record(sync)
    names, now = sync.entity_names, sync.now()
    landed = bounds(sync, landings)
    totals = sync.overview.sum_up(entity_types=names, scope_keys=None, landed=landed)
    limit = most if totals.scopes <= most else worst
    pending: Mapping[str, PendingChanges] = {}
    if sync.feed is not None:
        pending = sync.feed.pending(limit_scopes=limit, entity_types=names)
    scopes = _candidates(
        sync, totals=totals, pending=pending, landed=landed, most=most, worst=worst
    )
    waits = {
        scope.scope_key: oldest_unsynced_seconds(scope, pending.get(scope.scope_key), now=now)
        for scope in scopes
    }
    chosen = furthest_behind(scopes, waits=waits, limit=limit)
    new = {
        key: (now - changes.oldest_at).total_seconds()
        for key, changes in pending.items()
        if key not in waits
    }
    keys = [scope.scope_key for scope in chosen]
    return Watched(
        totals=totals,
        lines=scope_lines(
            chosen,
            entities=sync.entities,
            snapshots=sync.scopes.list_entities(scopes=[Scope.from_key(key) for key in keys]),
            troubles=sync.overview.list_troubles(entity_types=names, scope_keys=keys),
        ),
        waits=new | {key: waits[key] for key in keys},
        runs=sync.runs.list_recent(limit=RECENT_RUNS),
        generations=generations,
        budgets=watched_budgets(sync, most=worst),
        providers=sync.breakers.list_all(sync.providers) if sync.providers else (),
        spent=spent_this_month(sync),
        landings=landings.ages,
    )


def oldest_unsynced_seconds(
    scope: RecordedScope, pending: PendingChanges | None, *, now: datetime
) -> float | None:
    """At most this long has a change of the scope been waiting; 0 where none is known to wait.

    What the change feed names is known exactly. Where documents failed, are missing, or a run was
    cut off, it is as old as the state of the source that was last brought into the index.

    Args:
        scope: As it is recorded.
        pending: Its changes in the feed; None where it has none, or there is no feed.
        now: To take ages from.

    Returns:
        None where something waits since nobody knows when: the scope was never synced.
    """
    waits = [0.0]
    if pending is not None:
        waits.append((now - pending.oldest_at).total_seconds())
    if scope.snapshot_at is None:
        return max(waits) if pending is not None else None
    if scope.failed or scope.is_cut_off or scope.synced < scope.possible:
        waits.append((now - scope.snapshot_at).total_seconds())
    return max(waits)


def furthest_behind(
    scopes: Sequence[RecordedScope], *, waits: Mapping[str, float | None], limit: int
) -> list[RecordedScope]:
    """The scopes that wait longest, first those that have waited for ever, then by scope key."""

    def order(scope: RecordedScope) -> tuple[float, str]:
        wait = waits[scope.scope_key]
        return (float("-inf") if wait is None else -wait, scope.scope_key)

    return sorted(scopes, key=order)[:limit]


def _candidates(
    sync: SyncContext,
    *,
    totals: ScopeTotals,
    pending: Mapping[str, PendingChanges],
    landed: Sequence[LandedUntil],
    most: int,
    worst: int,
) -> list[RecordedScope]:
    """All scopes, or of too many those among which the furthest behind are."""

    def listed(page: ScopePage) -> list[RecordedScope]:
        scopes, _ = sync.overview.list_scopes(
            entity_types=sync.entity_names, page=page, landed=landed
        )
        return scopes

    if totals.scopes <= most:
        return listed(ScopePage(order=ScopeOrder.SCOPE, is_descending=False, limit=most))
    oldest = listed(
        ScopePage(only_problems=True, order=ScopeOrder.IN_SYNC_TO, is_descending=False, limit=worst)
    )
    keys = pending.keys() - {scope.scope_key for scope in oldest}
    return [*oldest, *(listed(ScopePage(scope_keys=sorted(keys), limit=worst)) if keys else [])]
