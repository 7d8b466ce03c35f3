"""Which documents an incremental sync has to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sync_pipeline.core.changes import ChangeBatch, FeedState
from sync_pipeline.core.document import Reason, document_id
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.ports import ScopeSnapshot, SourceSnapshot
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext, SyncMode


@dataclass(frozen=True, slots=True)
class Touched:
    """What may differ from what was last synced."""

    row_ids: Mapping[str, list[str]]
    """Per entity name the rows to read."""
    point_ids: list[str]
    """Points to compare: of those rows, and of rows that are gone."""


def read_events(sync: SyncContext, *, scope: Scope, mode: SyncMode) -> ChangeBatch | None:
    """Events of the scope, to be read before its snapshot is opened; None without a feed.

    A full sync answers all of them, an incremental one no more than it could look at.
    """
    if sync.feed is None:
        return None
    return sync.feed.read(scope, limit=None if mode == "full" else sync.options.part_rows)


def find_touched(
    sync: SyncContext,
    *,
    scope: Scope,
    snapshot: SourceSnapshot,
    events: ChangeBatch | None,
) -> Touched | None:
    """Name what an incremental sync has to look at, or None where only a full one will do.

    With the feed these are the rows that events name. Without it, they are rows
    whose ``updated_at`` is not older than the last sync's snapshot less an overlap,
    and rows whose id is on one side only. Either way a transaction that was missed
    is caught by the next full sync. Failed documents whose next try has come are
    looked at too.

    A full sync it is for a scope that never had one, after a TRUNCATE, for an entity
    without a time of change, where more than one part's documents are touched, and
    where the source's clock was set back.
    """
    record = sync.scopes.get(collection=sync.spec.collection, scope=scope)
    if record is None or record.last_full_at is None or record.source_snapshot_at is None:
        return None
    if snapshot.taken_at <= record.source_snapshot_at:
        return None
    if events is not None and _is_fed(sync):
        touched = None if events.has_truncate or events.has_more else _from_events(sync, events)
    else:
        touched = _from_times(sync, scope=scope, snapshot=snapshot, record=record)
    if touched is None:
        return None
    touched = _with_retries(sync, scope=scope, touched=touched)
    return touched if len(touched.point_ids) <= sync.options.part_rows else None


def _with_retries(sync: SyncContext, *, scope: Scope, touched: Touched) -> Touched:
    """Add the failed documents that are to be tried again, and rows set aside for their ids.

    Whether such a row counts is decided by other rows, of other scopes too, whose changes
    this scope does not hear of.
    """
    due = sync.state.list_failed(collection=sync.spec.collection, scope=scope, only_due=True)
    again = {(record.entity_type, record.db_id) for record in due}
    again |= {
        (found.entity_type, found.db_id)
        for _, found in sync.quarantine.list_all(scope=scope)
        if found.reason is Reason.DOUBLED_ID
    }
    row_ids = {
        name: sorted({*ids, *(db_id for entity_type, db_id in again if entity_type == name)})
        for name, ids in touched.row_ids.items()
    }
    points = {_point_id(scope, entity_type, db_id) for entity_type, db_id in again}
    return Touched(row_ids, sorted({*touched.point_ids, *points}))


def _is_fed(sync: SyncContext) -> bool:
    """Whether every entity leaves events."""
    if sync.feed is None:
        return False
    names = {entity.name for entity in sync.entities}
    statuses = sync.feed.status(sync.entities)
    return all(
        status.state is FeedState.INSTALLED for status in statuses if status.entity_type in names
    )


def _from_events(sync: SyncContext, events: ChangeBatch) -> Touched:
    known = {entity.name for entity in sync.entities}
    row_ids: dict[str, list[str]] = {name: [] for name in known}
    for row in sorted(events.rows):
        if row.entity_type in known:
            row_ids[row.entity_type].append(row.db_id)
    points = {
        _point_id(events.scope, entity_type, row_id)
        for entity_type, ids in row_ids.items()
        for row_id in ids
    }
    return Touched(row_ids, sorted(points))


def _from_times(
    sync: SyncContext, *, scope: Scope, snapshot: SourceSnapshot, record: ScopeSnapshot
) -> Touched | None:
    if record.source_snapshot_at is None:
        return None
    overlap = timedelta(seconds=sync.options.incremental_overlap_seconds)
    recorded = {
        key.decode()
        for batch in sync.state.iter_digests(
            collection=sync.spec.collection, scope=scope, views=sync.views
        )
        for key in batch.point_ids
    }
    row_ids: dict[str, list[str]] = {}
    present: set[str] = set()
    touched: set[str] = set()
    for entity in sync.entities:
        if entity.updated_at is None:
            return None
        since = record.source_snapshot_at - overlap
        changed = {
            row_id
            for ids in snapshot.iter_changed_ids(entity=entity, scope=scope, since=since)
            for row_id in ids
        }
        for row_id, point in _iter_points(snapshot, entity=entity, scope=scope):
            present.add(point)
            if point not in recorded:
                changed.add(row_id)
        row_ids[entity.name] = sorted(changed)
        touched |= {_point_id(scope, entity.name, row_id) for row_id in changed}
    return Touched(row_ids, sorted(touched | (recorded - present)))


def _iter_points(
    snapshot: SourceSnapshot, *, entity: Entity, scope: Scope
) -> Iterator[tuple[str, str]]:
    """Row ids of a scope with the id of the point each would have."""
    for ids in snapshot.iter_ids(entity=entity, scope=scope):
        for row_id in ids:
            yield row_id, _point_id(scope, entity.name, row_id)


def _point_id(scope: Scope, entity_type: str, row_id: str) -> str:
    return point_id(document_id(scope=scope, entity_type=entity_type, row_id=row_id))
