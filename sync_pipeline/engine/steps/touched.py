"""Which documents an incremental sync has to look at, judged per entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sync_pipeline.core.changes import (
    ChangeBatch,
    FeedState,
    FeedStatus,
    covered_entities,
    why_not_covered,
)
from sync_pipeline.core.document import Reason, document_id
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.ports import EntitySnapshot, SourceSnapshot
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord


@dataclass(frozen=True, slots=True)
class Touched:
    """What may differ from what was last synced."""

    row_ids: Mapping[str, list[str]]
    """Per entity name the rows to read."""
    point_ids: list[str]
    """Points to compare: of those rows, and of rows that are gone."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Only a full comparison can tell what differs."""

    why: str
    """For people: why that is so."""


@dataclass(frozen=True, slots=True)
class FeedReading:
    """The feed before a snapshot is opened, which then holds every change that it names."""

    statuses: Mapping[str, FeedStatus]
    """Per entity of the settings how its feed stood, asked before the events."""
    events: ChangeBatch

    def epoch(self, entity_type: str) -> str | None:
        """Since when the feed of an entity has missed nothing; None where it may have."""
        status = self.statuses.get(entity_type)
        if status is None or status.state is not FeedState.INSTALLED:
            return None
        return status.epoch


def read_feed(sync: Reading, *, scope: Scope, mode: SyncMode) -> FeedReading | None:
    """How the feed stands, and then events of the scope; None without a feed.

    To be asked before the snapshot is opened. A full sync answers all events, an
    incremental one no more than it could look at. Events of entities that the settings do
    not name stay for whoever syncs those.
    """
    if sync.feed is None:
        return None
    statuses = {status.entity_type: status for status in sync.feed.status(sync.entities)}
    limit = None if mode == "full" else sync.options.part_rows
    events = sync.feed.read(scope, limit=limit, entity_types=sync.entity_names)
    return FeedReading(statuses, events)


def find_touched(
    sync: Reading,
    *,
    scope: Scope,
    snapshot: SourceSnapshot,
    record: ScopeRecord,
    feed: FeedReading | None,
) -> Touched | Everything:
    """Name what an incremental sync has to look at, or say why only a full one will do.

    For an entity whose feed has missed nothing since its last full sync these are the rows
    that events name. For another one they are rows whose ``updated_at`` is not older than
    the last sync's snapshot less an overlap, and rows whose id is on one side only; what
    events name of it comes on top. Either way a transaction that was missed is caught by
    the next full sync. Failed documents whose next try has come are looked at too.

    A full sync it is for an entity that never had one, after a run that was cut off while it
    wrote, after a TRUNCATE, for an entity without feed and time of change, after a feed was
    lost, where more than one part's documents are touched, and where the source's clock was
    set back.
    """
    why = _why_everything(sync, snapshot=snapshot, record=record, feed=feed)
    if why is not None:
        return Everything(why)
    touched = _TouchedIds()
    if feed is not None:
        touched.add_events(sync, feed.events)
    covered = _covered(record, feed=feed)
    for entity in sync.entities:
        if entity.name not in covered:
            touched.add_times(
                sync, scope, entity, snapshot=snapshot, record=record.entities[entity.name]
            )
    touched.add_retries(sync, scope)
    most = sync.options.part_rows
    if len(touched.point_ids) > most:
        return Everything(f"more than {most} documents may have changed")
    return Touched(
        {entity.name: sorted(touched.row_ids.get(entity.name, ())) for entity in sync.entities},
        sorted(touched.point_ids),
    )


def _why_everything(
    sync: Reading,
    *,
    snapshot: SourceSnapshot,
    record: ScopeRecord,
    feed: FeedReading | None,
) -> str | None:
    """Why nothing but a full comparison is sure, as far as records and feed say so."""
    if not record.entities:
        return "the scope was never synced"
    unsynced = [
        name
        for name in record.names
        if name not in record.entities or record.entities[name].last_full_at is None
    ]
    if unsynced:
        return f"{_listed(unsynced)} never had a full sync in this scope"
    if record.cut_off:
        return f"a run was cut off while it wrote {_listed(record.cut_off)}"
    newest = record.newest_snapshot_at
    if newest is not None and snapshot.taken_at <= newest:
        return "the source's clock was set back"
    if feed is not None and feed.events.has_truncate:
        return f"the table of {_listed(sorted(feed.events.truncated))} was emptied"
    if feed is not None and feed.events.has_more:
        return f"more than {sync.options.part_rows} changes wait"
    lost = [
        _why_lost(name, feed=feed, recorded=record.entities[name].feed_epoch)
        for name in record.names
        if record.entities[name].feed_epoch is not None and name not in _covered(record, feed=feed)
    ]
    if lost:
        return "; ".join(lost)
    blind = [
        entity.name
        for entity in sync.entities
        if entity.updated_at is None and entity.name not in _covered(record, feed=feed)
    ]
    if blind:
        return f"{_listed(blind)} has neither a feed since its last full sync nor a time of change"
    return None


def _covered(record: ScopeRecord, *, feed: FeedReading | None) -> set[str]:
    """Entities whose feed is the one of their last full sync, and has missed nothing since."""
    if feed is None:
        return set()
    return covered_entities(feed.statuses.values(), record.feed_epochs)


def _why_lost(name: str, *, feed: FeedReading | None, recorded: str | None) -> str:
    status = None if feed is None else feed.statuses.get(name)
    why = None if status is None else why_not_covered(status, recorded=recorded)
    return why or f"the feed of {name} cannot be asked"


def _listed(names: list[str]) -> str:
    return ", ".join(names)


class _TouchedIds:
    """The rows and points that were found to be touched so far."""

    def __init__(self) -> None:
        self.row_ids: dict[str, set[str]] = {}
        self.point_ids: set[str] = set()

    def add_events(self, sync: Reading, events: ChangeBatch) -> None:
        for row in events.rows:
            if row.entity_type in sync.entity_names:
                self._add(events.scope, row.entity_type, row.db_id)

    def add_times(
        self,
        sync: Reading,
        scope: Scope,
        entity: Entity,
        *,
        snapshot: SourceSnapshot,
        record: EntitySnapshot,
    ) -> None:
        """Add rows by their time of change, and what is on one side only."""
        if record.source_snapshot_at is None:
            raise ValueError(f"entity {entity.name!r} was never synced")
        recorded = _recorded_points(sync, scope=scope, entity=entity)
        overlap = timedelta(seconds=sync.options.incremental_overlap_seconds)
        since = record.source_snapshot_at - overlap
        for ids in snapshot.iter_changed_ids(entity=entity, scope=scope, since=since):
            for row_id in ids:
                self._add(scope, entity.name, row_id)
        present: set[str] = set()
        for row_id, point in _iter_points(snapshot, entity=entity, scope=scope):
            present.add(point)
            if point not in recorded:
                self._add(scope, entity.name, row_id)
        self.point_ids |= recorded - present

    def add_retries(self, sync: Reading, scope: Scope) -> None:
        """Add the documents that are to be tried again, and rows set aside for their ids.

        Whether such a row counts is decided by other rows, of other scopes too, whose changes
        this scope does not hear of.
        """
        for record in sync.state.list_due(scope=scope):
            if record.entity_type in sync.entity_names:
                self._add(scope, record.entity_type, record.db_id)
        for _, rejection in sync.quarantine.list_all(scope=scope):
            is_ours = rejection.entity_type in sync.entity_names
            if is_ours and rejection.reason is Reason.DOUBLED_ID:
                self._add(scope, rejection.entity_type, rejection.db_id)

    def _add(self, scope: Scope, entity_type: str, row_id: str) -> None:
        self.row_ids.setdefault(entity_type, set()).add(row_id)
        self.point_ids.add(_point_id(scope, entity_type, row_id))


def _recorded_points(sync: Reading, *, scope: Scope, entity: Entity) -> set[str]:
    return {
        key.decode()
        for batch in sync.state.iter_digests(
            scope=scope,
            views=sync.views,
            entity_types=[entity.name],
        )
        for key in batch.point_ids
    }


def _iter_points(
    snapshot: SourceSnapshot, *, entity: Entity, scope: Scope
) -> Iterator[tuple[str, str]]:
    """Row ids of a scope with the id of the point each would have."""
    for ids in snapshot.iter_ids(entity=entity, scope=scope):
        for row_id in ids:
            yield row_id, _point_id(scope, entity.name, row_id)


def _point_id(scope: Scope, entity_type: str, row_id: str) -> str:
    return point_id(document_id(scope=scope, entity_type=entity_type, row_id=row_id))
