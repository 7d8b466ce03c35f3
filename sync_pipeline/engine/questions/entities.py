"""What each entity holds, over all scopes, those that left the settings among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.engine.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityReport:
    """One entity of ``entities --json``, over all scopes."""

    entity_type: str
    in_settings: bool
    source_rows: int | None
    """None where the settings do not say which table it is."""
    documents: int
    """Documents recorded as synced."""
    points: int
    failed: int
    quarantined: int


def left_entities(sync: Reading) -> dict[str, int]:
    """Points per entity that the settings do not name, in one or two questions to the index."""
    with sync.index() as index:
        points = index.count_by_entity()
    return {
        name: count
        for name, count in sorted(points.items())
        if name and name not in sync.entity_names
    }


def entity_reports(sync: Reading) -> list[EntityReport]:
    """Every entity that settings, record or index know: those of the settings first."""
    rows = sync.source.count_by_entity(sync.entities)
    with sync.index() as index:
        points = index.count_by_entity()
    statuses = _statuses(sync)
    quarantined: Counter[str] = Counter()
    for listed in sync.quarantine.count_by_entity().values():
        quarantined.update(listed)
    left = sorted((points.keys() | statuses.keys() | quarantined.keys()) - set(sync.entity_names))
    return [
        EntityReport(
            entity_type=name,
            in_settings=name in sync.entity_names,
            source_rows=sum(rows[name].values()) if name in rows else None,
            documents=statuses.get(name, Counter())["synced"],
            points=points.get(name, 0),
            failed=statuses.get(name, Counter())["failed"],
            quarantined=quarantined[name],
        )
        for name in (*sync.entity_names, *left)
    ]


def _statuses(sync: Reading) -> Mapping[str, Counter[str]]:
    """Recorded documents per entity and status, over all scopes."""
    statuses: dict[str, Counter[str]] = {}
    for entities in sync.state.count_by_entity().values():
        for name, counts in entities.items():
            statuses.setdefault(name, Counter()).update(counts)
    return statuses
