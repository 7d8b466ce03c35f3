"""Which scopes are worth a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.grouping import FEW_SMALL, PlannedRun, cut_runs
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.index import points_by_entity
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, read_records
from sync_pipeline.engine.roles import beside, has_new_standby

FEW_SCOPES: Final = 8
"""Up to so many scopes are digested one by one. Measured over a table without an index on
the tenant: one scope costs an eighth to an eleventh of all at once (46 of 364 ms with
400,000 rows, 121 of 1,373 ms with 1,000,000); with an index, what its own rows cost."""

_CLOCKS_DIFFER: Final = timedelta(days=1)
"""More than the clocks of two machines, whose zones are known, ever differ by accident."""


@dataclass(frozen=True, slots=True)
class Dueness:
    """Whether a scope needs a run."""

    scope: Scope
    rows: int
    """Rows that it has in the source."""
    record: ScopeRecord | None
    """What its last sync recorded."""
    why_not: str | None
    """Why it can be skipped, for people; None where it is due."""

    @property
    def is_due(self) -> bool:
        """Whether it needs a run."""
        return self.why_not is None

    def skipped_report(self) -> ScopeReport:
        """Report a scope that was not run: it holds what its last full sync found."""
        report = ScopeReport(scope_key=self.scope.key, status="skipped", error=self.why_not)
        if self.record is None:
            return report
        return replace(
            report,
            rows=self.record.rows,
            documents=self.record.documents,
            quarantined=self.record.quarantined,
            unchanged=self.record.documents,
        )


def known_scopes(sync: Reading) -> list[Scope]:
    """Every scope that has rows or a record of these entities, global first, then by key."""
    scopes = {GLOBAL, *sync.source.list_scopes(sync.entities)}
    scopes |= {Scope.from_key(key) for key in read_records(sync)}
    return sorted(scopes, key=lambda scope: (not scope.is_global, scope.key))


def in_run_order(sync: Reading, rows: Mapping[Scope, int]) -> list[Scope]:
    """Put scopes in the order in which they are synced, see ``RunOrder``.

    The source is asked for its newest changes only where they decide.

    Args:
        sync: Says what comes first.
        rows: How many rows each scope has.
    """
    order = sync.options.run_order
    newest: Mapping[str, float] = {}
    if order.is_recent_first and len(rows) > 1:
        newest = sync.source.newest_by_scope(sync.entities)
    return order.sort(rows, newest=newest)


def in_runs(
    sync: Reading,
    scopes: Sequence[Scope],
    *,
    priority: Callable[[Scope], int] | None = None,
    rows: Mapping[Scope, int] | None = None,
) -> list[PlannedRun]:
    """Cut scopes into runs: large ones alone, many small ones together, see ``cut_runs``.

    Where there are few scopes, and no workers for big ones, nobody is asked for their rows.

    Args:
        sync: Says what is small.
        scopes: In the order in which they are to be synced.
        priority: Of a scope; by default that of the settings.
        rows: How many each has; by default what its last sync recorded, and where one was never
            synced a count of the source.

    Raises:
        TransientError: record or source cannot be asked now.
    """
    policy = sync.options.groups
    are_few = len(scopes) <= FEW_SMALL or not policy.small_rows
    if not scopes or (are_few and policy.big_rows is None):
        return [PlannedRun(scopes=(scope,)) for scope in scopes]
    rows = _known_rows(sync, scopes) if rows is None else rows
    runs = cut_runs(
        scopes,
        rows=rows,
        priority=priority or sync.options.run_order.priority,
        policy=policy,
    )
    return [
        PlannedRun(scopes=run, is_big=len(run) == 1 and policy.is_big(rows=rows.get(run[0])))
        for run in runs
    ]


def _known_rows(sync: Reading, scopes: Sequence[Scope]) -> dict[Scope, int]:
    records = read_records(sync)
    if all(scope.key in records for scope in scopes):
        return {scope: records[scope.key].rows for scope in scopes}
    counted = sync.source.count_by_scope(sync.entities)
    return {scope: counted.get(scope.key, 0) for scope in scopes}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What dueness is judged by."""

    digests: Mapping[str, Mapping[str, EntityDigest]]
    """Per scope key and entity."""
    records: Mapping[str, ScopeRecord]
    points: Mapping[str, Mapping[str, int]]
    """Per entity and scope key."""


def judge_scopes(sync: Reading, *, scopes: Sequence[Scope], are_all: bool = False) -> list[Dueness]:
    """Compare digests of the source with what was last synced.

    A scope is skipped if the rows and settings of each entity are what they were at its
    last full sync, the index still holds as many points of each, nothing failed, no run was
    cut off while it wrote, and that full sync is not older than ``full_every_seconds``.

    A few scopes among others are looked at one by one, and no other with them. Many,
    or all, cost one grouped query over the source, one read of our record and one
    count per entity in the index. A scope is due if it is in any generation that is kept in step,
    and where one is to stand by that is not made yet.

    Args:
        sync: The ports.
        scopes: Which ones.
        are_all: Whether there are hardly any others.
    """
    judged = _judge(sync, scopes=scopes, are_all=are_all)
    for other in beside(sync):
        theirs = _judge(other, scopes=scopes, are_all=are_all)
        judged = [
            its if mine.why_not is not None and its.is_due else mine
            for mine, its in zip(judged, theirs, strict=True)
        ]
    if has_new_standby(sync):
        judged = [replace(mine, why_not=None) for mine in judged]
    return judged


def _judge(sync: Reading, *, scopes: Sequence[Scope], are_all: bool) -> list[Dueness]:
    """The same in one generation."""
    is_few = len(scopes) <= FEW_SCOPES and not are_all
    facts = _each(sync, scopes) if is_few else _all_at_once(sync)
    judged: list[Dueness] = []
    for scope in scopes:
        entities = facts.digests.get(scope.key, {})
        record = facts.records.get(scope.key)
        why_not = why_not_due(
            digests={
                entity.name: sync.entity_digest(entity, entities.get(entity.name))
                for entity in sync.entities
            },
            record=record,
            points={name: counts.get(scope.key, 0) for name, counts in facts.points.items()},
            now=sync.now(),
            oldest_full=sync.now() - timedelta(seconds=sync.options.full_every_seconds),
        )
        rows = sum(entity.rows for entity in entities.values())
        judged.append(Dueness(scope=scope, rows=rows, record=record, why_not=why_not))
    return judged


def _all_at_once(sync: Reading) -> _Facts:
    digests = sync.source.digest_by_scope(sync.entities)
    return _Facts(digests, read_records(sync), points_by_entity(sync))


def _each(sync: Reading, scopes: Sequence[Scope]) -> _Facts:
    with sync.source.open_snapshot(sync.entities) as snapshot:
        digests = {
            scope.key: snapshot.digest(entities=sync.entities, scope=scope) for scope in scopes
        }
    return _Facts(digests, read_records(sync, scopes=scopes), points_of_each(sync, scopes))


def points_of_each(sync: Reading, scopes: Sequence[Scope]) -> dict[str, dict[str, int]]:
    """How many points a few scopes have, per entity and scope key."""
    points: dict[str, dict[str, int]] = {name: {} for name in sync.entity_names}
    with sync.index() as index:
        for scope in scopes:
            counts = index.count_by_entity(scope_key=scope.key)
            for name in sync.entity_names:
                points[name][scope.key] = counts.get(name, 0)
    return points


def why_not_due(
    *,
    digests: Mapping[str, str],
    record: ScopeRecord | None,
    points: Mapping[str, int],
    now: datetime,
    oldest_full: datetime,
) -> str | None:
    """Say why a scope can be skipped, or None where it is due.

    Args:
        digests: Per entity of the settings what its rows and settings come to now.
        record: What its last sync recorded.
        points: Per entity how many points it has now.
        now: By our clock; ``last_full_at`` is by that of the source.
        oldest_full: A full sync before this is too old to rely on.
    """
    last_full_at = None if record is None else record.last_full_at
    if record is None or last_full_at is None or last_full_at < oldest_full:
        return None
    # A full sync in the future was dated by a clock that has been set back: nobody knows its age.
    if last_full_at > now + _CLOCKS_DIFFER:
        return None
    is_in_step = not record.cut_off and all(
        snapshot.digest == digests[name]
        and snapshot.documents == points.get(name, 0)
        and not snapshot.failed
        for name, snapshot in record.entities.items()
    )
    if not is_in_step:
        return None
    return f"unchanged since the full sync of {last_full_at:%Y-%m-%d %H:%M:%S %Z}"
