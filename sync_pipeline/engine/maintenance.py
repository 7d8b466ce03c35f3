"""Removing what belongs to tenants that are gone: late, bounded, and only on good evidence."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync_pipeline.core.errors import PermanentError, ScopeBusyError
from sync_pipeline.core.ports import ScopeSnapshot
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.offboard import count_rows, remove_scope


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

    def allowance(self, known: int) -> int:
        """Most scopes of ``known`` that may be removed at once."""
        return max(1, math.floor(known * self.max_removed_fraction))


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


def plan_removal(
    vanished: Sequence[ScopeSnapshot], *, known: int, now: datetime, policy: VanishedPolicy
) -> list[Scope]:
    """Name the scopes whose time of grace is over, or refuse.

    Args:
        vanished: Recorded scopes without rows, with since when.
        known: How many scopes are recorded, these included.
        now: Compared with when each was first missed.
        policy: How long they are kept, how many may go at once.

    Returns:
        Tenants only, by key: the global scope is never removed.

    Raises:
        PermanentError: more would go than the policy allows: it is rather the source
            that is not what it should be.
    """
    expired = sorted(
        record.scope_key
        for record in vanished
        if record.scope_key != GLOBAL_KEY
        and record.vanished_at is not None
        and record.vanished_at + policy.grace <= now
    )
    allowed = policy.allowance(known)
    if len(expired) > allowed:
        raise PermanentError(
            f"refused to remove {len(expired)} of {known} scopes without rows: at most {allowed} "
            "may go at once. Nothing was removed. If these tenants are really gone, start "
            "maintenance_job with max_removed_fraction 1; if not, look at the source first."
        )
    return [Scope.from_key(key) for key in expired]


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
    of every tenant: then nothing is marked and nothing removed.

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
        return VanishedReport(
            source_scopes=0, vanished=0, note="the source has no rows at all; nothing was decided"
        )
    collection = sync.spec.collection
    recorded = {record.scope_key for record in sync.scopes.list_all(collection=collection)}
    vanished = sync.scopes.mark_vanished(
        collection=collection, scope_keys=sorted(recorded - {GLOBAL_KEY, *present})
    )
    known = len(recorded)
    removed: list[str] = []
    deleted = vectors = busy = came_back = 0
    for scope in plan_removal(vanished, known=known, now=sync.now(), policy=policy):
        try:
            with scope_lease(sync, scope=scope, owner=owner) as fence:
                if count_rows(sync, scope=scope):
                    came_back += 1
                    continue
                removal = remove_scope(sync, scope=scope, fence=fence)
        except ScopeBusyError:
            busy += 1
            continue
        removed.append(scope.key)
        deleted += removal.points
        vectors += removal.vectors
    return VanishedReport(
        source_scopes=len(present),
        vanished=len(vanished),
        removed=tuple(removed),
        deleted=deleted,
        vectors=vectors,
        busy=busy,
        came_back=came_back,
    )
