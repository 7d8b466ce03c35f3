"""How each scope stands, entity by entity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sync_pipeline.core.ports import EntitySnapshot, ViewCounts
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.index import points_by_entity
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, read_record, read_records


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityStatusReport:
    """One entity of one scope of ``status --json``."""

    entity_type: str
    source_rows: int
    documents: int
    """Documents recorded as synced."""
    points: int
    coverage: float
    """See ``coverage``."""
    surplus: int
    """Points beyond the rows that can become one: documents of rows that are gone."""
    failed: int
    quarantined: int
    pending: int
    """Rows that are neither searchable nor failed nor quarantined."""
    last_success_at: datetime | None
    oldest_unsynced_seconds: float | None
    """At most this long has a change been waiting; None where nothing waits, as far as is known."""
    archived: int = 0
    """Documents among them that keep text and payload and have no vectors."""
    views: Mapping[str, ViewCounts] = field(default_factory=dict)
    """Per view how its documents stand, as far as is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStatusReport:
    """One scope of ``status --json``: sums over the entities of the settings."""

    scope_key: str
    source_rows: int
    documents: int
    """Documents recorded as synced."""
    points: int
    coverage: float
    """See ``coverage``."""
    failed: int
    quarantined: int
    pending: int
    """Rows that are neither searchable nor failed nor quarantined."""
    last_success_at: datetime | None
    """Of the entity that is furthest behind, of those that were ever synced."""
    oldest_unsynced_seconds: float | None
    """At most this long has a change been waiting; None where nothing waits, as far as is known."""
    surplus: int = 0
    """Points beyond the rows that can become one, counted per entity."""
    archived: int = 0
    """Documents among them that keep text and payload and have no vectors."""
    views: Mapping[str, ViewCounts] = field(default_factory=dict)
    """Per view how the documents stand, as far as is recorded."""
    other_points: int = 0
    """Points of entities that the settings do not name; nowhere else counted here."""
    entities: Sequence[EntityStatusReport] = field(default_factory=tuple)
    """The same per entity of the settings, in their order."""


def coverage(*, points: Mapping[str, int], possible: Mapping[str, int]) -> float:
    """How well an index agrees with its rows by number: 1.0 only where every entity does.

    Rows with a point, of all rows that can have one and all points that no row can have:
    3 points for 2 rows are 0.6666, not 1.0, and neither too many of one entity make up for
    too few of another, nor does rounding for a single one.

    Args:
        points: Per entity.
        possible: Per entity the rows that can become a point.
    """
    covered = sum(min(points.get(name, 0), count) for name, count in possible.items())
    of = sum(max(points.get(name, 0), count) for name, count in possible.items())
    return math.floor(covered * 10_000 / of) / 10_000 if of else 1.0


def scope_statuses(sync: Reading, *, by_view: bool = True) -> list[ScopeStatusReport]:
    """Every scope that the source, our record or the index knows; global first, then by key.

    Args:
        sync: Where to look.
        by_view: Whether to count per view too, which takes four times as long as all documents.
    """
    rows = sync.source.count_by_entity(sync.entities)
    recorded = sync.state.count_by_entity()
    quarantined = sync.quarantine.count_by_entity()
    archived = _archived(sync)
    views = sync.state.count_by_view() if by_view else None
    records = read_records(sync)
    points = points_by_entity(sync)
    with sync.index() as index:
        all_points = index.count_by_scope()
    keys = {GLOBAL_KEY, *recorded, *all_points, *records}
    keys |= {key for counts in rows.values() for key in counts}
    statuses = []
    for key in sorted(keys, key=lambda key: (key != GLOBAL_KEY, key)):
        record = records.get(key, ScopeRecord(sync.entity_names, {}))
        entities = [
            _entity_status(
                sync,
                entity_type=name,
                rows=rows[name].get(key, 0),
                statuses=recorded.get(key, {}).get(name, {}),
                points=points[name].get(key, 0),
                quarantined=quarantined.get(key, {}).get(name, 0),
                archived=archived.get(key, {}).get(name, 0),
                views=None if views is None else views.get(key, {}).get(name, {}),
                snapshot=record.entities.get(name),
            )
            for name in sync.entity_names
        ]
        statuses.append(_summed(key, entities, record=record, all_points=all_points.get(key, 0)))
    return statuses


def scope_status(sync: Reading, *, scope: Scope) -> ScopeStatusReport:
    """One scope, looking at no other."""
    with sync.source.open_snapshot(sync.entities) as snapshot:
        digests = snapshot.digest(entities=sync.entities, scope=scope)
    recorded = sync.state.count_by_entity(scope=scope)
    quarantined = sync.quarantine.count_by_entity(scope=scope).get(scope.key, {})
    archived = _archived(sync, scope=scope)
    views = sync.state.count_by_view(scope=scope).get(scope.key, {})
    record = read_record(sync, scope=scope)
    with sync.index() as index:
        points = index.count_by_entity(scope_key=scope.key)
    entities = [
        _entity_status(
            sync,
            entity_type=name,
            rows=digests[name].rows if name in digests else 0,
            statuses=recorded.get(scope.key, {}).get(name, {}),
            points=points.get(name, 0),
            quarantined=quarantined.get(name, 0),
            archived=archived.get(scope.key, {}).get(name, 0),
            views=views.get(name, {}),
            snapshot=record.entities.get(name),
        )
        for name in sync.entity_names
    ]
    return _summed(scope.key, entities, record=record, all_points=sum(points.values()))


def unknown_scopes(sync: Reading, *, scopes: Sequence[Scope]) -> list[Scope]:
    """Those that neither the source, our record nor the index knows; looks at no other.

    Asked in the order of cost, each of those that are left: their records, in one question;
    one row by an index on the tenant column, or else as many as come before it, all in one
    snapshot; the documents we recorded; the points.
    """
    records = read_records(sync, scopes=scopes)
    left = [scope for scope in scopes if not scope.is_global and scope.key not in records]
    if left:
        with sync.source.open_snapshot(sync.entities) as snapshot:
            left = [
                scope
                for scope in left
                if not any(snapshot.has_rows(entity=it, scope=scope) for it in sync.entities)
            ]
    left = [scope for scope in left if not sync.state.count_by_scope(scope=scope)]
    if left:
        with sync.index() as index:
            left = [scope for scope in left if not index.count(scope_key=scope.key)]
    return left


def _archived(sync: Reading, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
    """Not asked where no entity has an archive."""
    if all(entity.archive is None for entity in sync.entities):
        return {}
    return sync.state.count_archived(scope=scope)


def _entity_status(
    sync: Reading,
    *,
    entity_type: str,
    rows: int,
    statuses: Mapping[str, int],
    points: int,
    quarantined: int,
    archived: int,
    views: Mapping[str, ViewCounts] | None,
    snapshot: EntitySnapshot | None,
) -> EntityStatusReport:
    failed = statuses.get("failed", 0)
    possible = max(rows - quarantined, 0)
    # Documents that wait for vectors have a point without them.
    pending = max(possible - points - failed, 0) + statuses.get("pending", 0)
    since = snapshot.source_snapshot_at if snapshot is not None else None
    waits = (sync.now() - since).total_seconds() if since is not None and pending else None
    return EntityStatusReport(
        entity_type=entity_type,
        source_rows=rows,
        documents=statuses.get("synced", 0),
        points=points,
        coverage=coverage(points={entity_type: points}, possible={entity_type: possible}),
        surplus=max(points - possible, 0),
        failed=failed,
        quarantined=quarantined,
        pending=pending,
        last_success_at=snapshot.last_success_at if snapshot is not None else None,
        oldest_unsynced_seconds=waits,
        archived=archived,
        views={}
        if views is None
        else {view: views.get(view, ViewCounts()) for view in _views_of(sync, entity_type)},
    )


def _views_of(sync: Reading, entity_type: str) -> list[str]:
    return [
        view for entity in sync.entities if entity.name == entity_type for view, _ in entity.views
    ]


def _summed(
    scope_key: str,
    entities: Sequence[EntityStatusReport],
    *,
    record: ScopeRecord,
    all_points: int,
) -> ScopeStatusReport:
    points = sum(entity.points for entity in entities)
    waits = [
        entity.oldest_unsynced_seconds
        for entity in entities
        if entity.oldest_unsynced_seconds is not None
    ]
    return ScopeStatusReport(
        scope_key=scope_key,
        source_rows=sum(entity.source_rows for entity in entities),
        documents=sum(entity.documents for entity in entities),
        points=points,
        coverage=coverage(
            points={entity.entity_type: entity.points for entity in entities},
            possible={
                entity.entity_type: max(entity.source_rows - entity.quarantined, 0)
                for entity in entities
            },
        ),
        failed=sum(entity.failed for entity in entities),
        quarantined=sum(entity.quarantined for entity in entities),
        pending=sum(entity.pending for entity in entities),
        last_success_at=record.last_success_at,
        oldest_unsynced_seconds=max(waits, default=None),
        surplus=sum(entity.surplus for entity in entities),
        archived=sum(entity.archived for entity in entities),
        views={
            view: sum(
                (entity.views[view] for entity in entities if view in entity.views), ViewCounts()
            )
            for view in dict.fromkeys(view for entity in entities for view in entity.views)
        },
        other_points=max(all_points - points, 0),
        entities=entities,
    )
