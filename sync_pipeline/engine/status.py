"""How each scope stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.core.ports import ScopeSnapshot
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.context import SyncContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStatusReport:
    """One scope of ``status --json``."""

    scope_key: str
    source_rows: int
    documents: int
    """Documents recorded as synced."""
    points: int
    coverage: float
    """Points per row that can become one, 1.0 for an empty scope."""
    failed: int
    quarantined: int
    pending: int
    """Rows that are neither searchable nor failed nor quarantined."""
    last_success_at: datetime | None
    oldest_unsynced_seconds: float | None
    """At most this long has a change been waiting; None where nothing waits, as far as is known."""


def scope_statuses(sync: SyncContext) -> list[ScopeStatusReport]:
    """Every scope that the source, our record or the index knows; global first, then by key."""
    collection = sync.spec.collection
    rows = sync.source.count_by_scope(sync.entities)
    recorded = sync.state.count_by_scope(collection=collection)
    quarantined = sync.quarantine.count_by_scope()
    snapshots = {record.scope_key: record for record in sync.scopes.list_all(collection=collection)}
    with sync.store() as store:
        points = store.count_by_scope(collection)
    keys = rows.keys() | recorded.keys() | points.keys() | snapshots.keys()
    return [
        _status(
            sync,
            scope_key=key,
            rows=rows.get(key, 0),
            statuses=recorded.get(key, {}),
            points=points.get(key, 0),
            quarantined=quarantined.get(key, 0),
            snapshot=snapshots.get(key),
        )
        for key in sorted(keys, key=lambda key: (key != GLOBAL_KEY, key))
    ]


def scope_status(sync: SyncContext, *, scope: Scope) -> ScopeStatusReport:
    """One scope, looking at no other."""
    collection = sync.spec.collection
    with sync.source.open_snapshot(sync.entities) as snapshot:
        digests = snapshot.digest(entities=sync.entities, scope=scope)
    with sync.store() as store:
        points = store.count(collection, scope_key=scope.key)
    return _status(
        sync,
        scope_key=scope.key,
        rows=sum(found.rows for found in digests.values()),
        statuses=sync.state.count_by_scope(collection=collection, scope=scope).get(scope.key, {}),
        points=points,
        quarantined=sync.quarantine.count_by_scope(scope=scope).get(scope.key, 0),
        snapshot=sync.scopes.get(collection=collection, scope=scope),
    )


def is_known(sync: SyncContext, *, scope: Scope) -> bool:
    """Whether the source, our record or the index knows a scope; looks at no other.

    Asked in the order of cost: one record; one row by an index on the tenant column, or
    else as many as come before it; the documents we recorded; the points.
    """
    collection = sync.spec.collection
    if scope.is_global or sync.scopes.get(collection=collection, scope=scope) is not None:
        return True
    with sync.source.open_snapshot(sync.entities) as snapshot:
        if any(snapshot.has_rows(entity=entity, scope=scope) for entity in sync.entities):
            return True
    if sync.state.count_by_scope(collection=collection, scope=scope):
        return True
    with sync.store() as store:
        return store.count(collection, scope_key=scope.key) > 0


def _status(
    sync: SyncContext,
    *,
    scope_key: str,
    rows: int,
    statuses: dict[str, int],
    points: int,
    quarantined: int,
    snapshot: ScopeSnapshot | None,
) -> ScopeStatusReport:
    failed = statuses.get("failed", 0)
    wanted = max(rows - quarantined, 0)
    pending = max(wanted - points - failed, 0)
    since = snapshot.source_snapshot_at if snapshot is not None else None
    waits = (sync.now() - since).total_seconds() if since is not None and pending else None
    return ScopeStatusReport(
        scope_key=scope_key,
        source_rows=rows,
        documents=statuses.get("synced", 0),
        points=points,
        coverage=round(min(points / wanted, 1.0), 4) if wanted else 1.0,
        failed=failed,
        quarantined=quarantined,
        pending=pending,
        last_success_at=snapshot.last_success_at if snapshot is not None else None,
        oldest_unsynced_seconds=waits,
    )
