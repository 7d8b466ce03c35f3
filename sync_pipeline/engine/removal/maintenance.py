"""Removing what belongs to tenants that are gone: late, bounded, and only on good evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sync_pipeline.core.errors import PermanentError, ScopeBusyError
from sync_pipeline.core.payload import revision_at
from sync_pipeline.core.ports import EntitySnapshot
from sync_pipeline.core.scope import GLOBAL_KEY, Scope, why_not_a_tenant_id
from sync_pipeline.engine.collection import BoundCollection
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.records import read_record, read_records
from sync_pipeline.engine.removal.offboard import count_rows, own_collections, remove_scope
from sync_pipeline.engine.staged import gather

LONGEST_RUN: Final = timedelta(days=1)
"""Longer than any run may take (``run_monitoring.max_runtime_seconds``): what is older than
this was not written by one that is under way."""
EMPTY_SOURCE: Final = "the source has no rows at all; nothing was decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class VanishedPolicy:
    """When the documents of a tenant without any rows are removed."""

    grace: timedelta = timedelta(days=7)
    """How long they are kept after the tenant was first missed."""
    max_removed_fraction: float = 0.5
    """Largest share of all known scopes that one run removes; one always may go."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_removed_fraction <= 1:
            raise ValueError("max_removed_fraction lies between 0 and 1")

    def allowance(self, scope_count: int) -> int:
        """Most scopes of ``scope_count`` that may be removed at once."""
        return max(1, math.floor(scope_count * self.max_removed_fraction))


@dataclass(frozen=True, slots=True, kw_only=True)
class VanishedReport:
    """What was done about tenants without rows."""

    source_scopes: int
    """Scopes that have rows."""
    vanished: int
    """Recorded scopes without rows, those removed now included."""
    removed: tuple[str, ...] = ()
    """Keys of the scopes that are removed from index and record."""
    deleted: int = 0
    """Points deleted with them."""
    vectors: int = 0
    """Cached vectors purged with them."""
    busy: int = 0
    """Scopes left to the next run, for another one was writing them."""
    came_back: int = 0
    """Scopes that had rows again when their turn came."""
    note: str = ""
    """Why nothing was decided, where nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanReport:
    """What was done about points of scopes that neither the source nor the record knows."""

    orphaned: int
    """Such scopes, those removed now included."""
    waiting: int = 0
    """Of them, those with a point that is too young to be nobody's."""
    removed: tuple[str, ...] = ()
    """Keys of the scopes whose points are removed."""
    deleted: int = 0
    """Points deleted with them."""
    busy: int = 0
    """Scopes left to the next run, for another one was writing them."""
    came_back: int = 0
    """Scopes that had rows or a record again when their turn came."""
    note: str = ""
    """Why nothing was decided, where nothing was."""


@dataclass(slots=True)
class _Removals:
    """Counts of removals that are under way."""

    removed: list[str] = field(default_factory=list)
    points: int = 0
    vectors: int = 0
    busy: int = 0
    came_back: int = 0


def plan_removal(
    vanished: Mapping[str, datetime], *, scope_count: int, now: datetime, policy: VanishedPolicy
) -> list[Scope]:
    """Name the scopes whose time of grace is over, or refuse.

    Args:
        vanished: Keys of recorded scopes without rows, with since when.
        scope_count: How many scopes are recorded, these included.
        now: Compared with when each was first missed.
        policy: How long they are kept, how many may go at once.

    Returns:
        Tenants only, by key: the global scope is never removed.

    Raises:
        PermanentError: more would go than the policy allows: it is rather the source
            that is not what it should be.
    """
    expired = sorted(
        key for key, since in vanished.items() if key != GLOBAL_KEY and since + policy.grace <= now
    )
    _require_few(len(expired), scope_count=scope_count, policy=policy, kind="without rows")
    return [Scope.from_key(key) for key in expired]


def _require_few(count: int, *, scope_count: int, policy: VanishedPolicy, kind: str) -> None:
    allowed = policy.allowance(scope_count)
    if count > allowed:
        raise PermanentError(
            f"refused to remove {count} of {scope_count} scopes {kind}: at most {allowed} "
            "may go at once. Nothing was removed.",
            remedy="If these tenants are really gone, start "
            "maintenance_job with max_removed_fraction 1; if not, look at the source first.",
        )


def leftover_partitions(
    partitions: Collection[str], *, rows: Mapping[str, int], recorded: Collection[str]
) -> list[str]:
    """Name partitions of scopes that neither the source nor the record knows.

    Args:
        partitions: Keys read *before* ``rows``, so that one that was added for a
            tenant that is new in between is not among them.
        rows: Rows per scope key.
        recorded: Keys of all recorded scopes.
    """
    if not any(rows.values()):
        return []
    kept = {GLOBAL_KEY, *recorded, *(key for key, count in rows.items() if count)}
    return sorted(set(partitions) - kept)


def remove_vanished(
    sync: SyncContext, *, rows: Mapping[str, int], owner: str, policy: VanishedPolicy
) -> VanishedReport:
    """Mark tenants without rows, and remove those that have been so for long enough.

    A source without any row at all is an outage or a wrong address, not the end
    of every tenant: then nothing is marked and nothing removed. All of it is about the
    entities of the settings: what others have synced of a tenant stays.

    Args:
        sync: Source, index and record.
        rows: Rows per scope key, as ``RowSource.count_by_scope`` has just said.
        owner: Who takes the leases: the run.
        policy: When and how many.

    Raises:
        PermanentError: see ``plan_removal``; tenants are marked, nothing is removed.
        UnconfirmedSyncError: points of a removed scope are still there.
    """
    present = [key for key, count in rows.items() if count]
    if not present:
        return VanishedReport(source_scopes=0, vanished=0, note=EMPTY_SOURCE)
    recorded = read_records(sync)
    elsewhere = _recorded_elsewhere(sync)
    gone = [
        key
        for key, record in recorded.items()
        if key not in {GLOBAL_KEY, *present} and (record.documents or key not in elsewhere)
    ]
    marked = sync.scopes.mark_vanished(scope_keys=sorted(gone), entity_types=sync.entity_names)
    scope_count = len(recorded)
    vanished = _by_scope(marked)
    synced_at = {key: recorded[key].newest_snapshot_at for key in vanished if key in recorded}

    def last_snapshot(scope: Scope) -> datetime | None:
        row_count, seen_at = count_rows(sync, scope=scope)
        # A source whose clock was set back may have synced "later" than now.
        return None if row_count else max(seen_at, synced_at.get(scope.key) or seen_at)

    expired = plan_removal(vanished, scope_count=scope_count, now=sync.now(), policy=policy)
    done = _remove_each(sync, expired, owner=owner, last_snapshot=last_snapshot)
    return VanishedReport(
        source_scopes=len(present),
        vanished=len(vanished),
        removed=tuple(done.removed),
        deleted=done.points,
        vectors=done.vectors,
        busy=done.busy,
        came_back=done.came_back,
    )


def _recorded_elsewhere(sync: SyncContext) -> set[str]:
    """Scopes with documents of entities that other settings name: they are somebody else's."""
    return {
        entity.scope_key
        for entity in sync.scopes.list_entities()
        if entity.documents and entity.entity_type not in sync.entity_names
    }


def _by_scope(marked: Sequence[EntitySnapshot]) -> dict[str, datetime]:
    """Since when each scope has had no rows."""
    since: dict[str, datetime] = {}
    for entity in marked:
        if entity.vanished_at is not None:
            since[entity.scope_key] = max(
                entity.vanished_at, since.get(entity.scope_key, entity.vanished_at)
            )
    return since


def sweep_orphans(sync: SyncContext, *, owner: str, policy: VanishedPolicy) -> OrphanReport:
    """Remove points of scopes that have neither rows nor a record.

    A write that comes late, of a process that slept or from a queue on the way, can
    bring back what a removal deleted; no sync looks there any more. Points stay for
    ``LONGEST_RUN`` and the time of grace after the snapshot they were made from, so
    that a first sync still under way, or a record that was lost, is no reason to go.

    Args:
        sync: Source, index and record.
        owner: Who takes the leases: the run.
        policy: When and how many.

    Raises:
        PermanentError: more scopes would go than the policy allows; nothing is removed.
        UnconfirmedSyncError: points of a removed scope are still there.
    """
    collections = own_collections(sync)
    indexed: set[str] = set()
    for collection in collections:
        with collection.index() as index:
            for entity_type in sync.entity_names:
                indexed |= index.count_by_scope(entity_type=entity_type).keys()
    # After the index, so that a tenant that is new in between has rows already.
    rows = sync.source.count_by_scope(sync.entities)
    present = {key for key, count in rows.items() if count}
    if not present:
        return OrphanReport(orphaned=0, note=EMPTY_SOURCE)
    recorded = {
        record.scope_key
        for collection in collections
        for record in collection.records.scopes.list_entities()
        if record.entity_type in sync.entity_names
    }
    orphaned = [
        Scope.from_key(key)
        for key in sorted(indexed - present - recorded - {GLOBAL_KEY})
        if why_not_a_tenant_id(key) is None
    ]
    with sync.source.open_snapshot(sync.entities) as snapshot:
        up_to = snapshot.taken_at - max(policy.grace, LONGEST_RUN)
    old = [scope for scope in orphaned if not _has_newer(sync, collections, scope, up_to=up_to)]
    scope_count = len(recorded) + len(orphaned)
    _require_few(
        len(old), scope_count=scope_count, policy=policy, kind="with neither rows nor a record"
    )

    def last_snapshot(scope: Scope) -> datetime | None:
        row_count, _ = count_rows(sync, scope=scope)
        is_known = read_record(sync, scope=scope).entities
        return None if row_count or is_known else up_to

    done = _remove_each(sync, old, owner=owner, last_snapshot=last_snapshot)
    return OrphanReport(
        orphaned=len(orphaned),
        waiting=len(orphaned) - len(old),
        removed=tuple(done.removed),
        deleted=done.points,
        busy=done.busy,
        came_back=done.came_back,
    )


def _remove_each(
    sync: SyncContext,
    scopes: Sequence[Scope],
    *,
    owner: str,
    last_snapshot: Callable[[Scope], datetime | None],
) -> _Removals:
    """Remove scopes, each under its lease and after a last look.

    Args:
        sync: Source, index and record.
        scopes: What to remove.
        owner: Who takes the leases.
        last_snapshot: Asked under the lease: up to which snapshot a scope is removed, None
            where it is there again.
    """
    done = _Removals()
    for scope in scopes:
        try:
            with scope_lease(sync, scope=scope, owner=owner) as fence:
                up_to = last_snapshot(scope)
                if up_to is None:
                    done.came_back += 1
                    continue
                removal = remove_scope(
                    sync, scope=scope, fence=fence, up_to=up_to, entity_types=sync.entity_names
                )
        except ScopeBusyError:
            done.busy += 1
            continue
        done.removed.append(scope.key)
        done.points += removal.points
        done.vectors += removal.vectors
    return done


def _has_newer(
    sync: SyncContext, collections: Sequence[BoundCollection], scope: Scope, *, up_to: datetime
) -> bool:
    """Whether a point of the scope was made from a later snapshot."""
    revision = revision_at(up_to)
    for collection in collections:
        with collection.index() as index:
            digests = gather(
                index.iter_digests(
                    scope_key=scope.key, views=sync.views, entity_types=sync.entity_names
                )
            )
            for point in iter_points(index, digests.point_ids.astype("U36").tolist()):
                if point.revision is not None and point.revision > revision:
                    return True
    return False
