"""What is recorded of scopes, as far as it is about entities that the settings name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.ports import EntitySnapshot, ScopeStatesReader
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.reading import Reading


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """What the last syncs of a scope recorded, per entity of the settings."""

    names: tuple[str, ...]
    """Of all entities that count here."""
    entities: Mapping[str, EntitySnapshot]
    """Those of them that were synced in this scope, by name."""

    @property
    def missing(self) -> list[str]:
        """Entities that were never synced in this scope."""
        return [name for name in self.names if name not in self.entities]

    @property
    def cut_off(self) -> list[str]:
        """Entities whose points a run began to write and has not confirmed since."""
        return [
            name for name, snapshot in self.entities.items() if snapshot.writing_token is not None
        ]

    @property
    def feed_epochs(self) -> dict[str, str]:
        """Of the feed of each entity that had one at its last full sync."""
        return {
            name: entity.feed_epoch
            for name, entity in self.entities.items()
            if entity.feed_epoch is not None
        }

    @property
    def rows(self) -> int:
        """Rows of all entities together."""
        return sum(entity.rows for entity in self.entities.values())

    @property
    def documents(self) -> int:
        """Documents of all entities together."""
        return sum(entity.documents for entity in self.entities.values())

    @property
    def quarantined(self) -> int:
        """Quarantined rows of all entities together."""
        return sum(entity.quarantined for entity in self.entities.values())

    @property
    def failed(self) -> int:
        """Failed documents of all entities together."""
        return sum(entity.failed for entity in self.entities.values())

    @property
    def snapshot_at(self) -> datetime | None:
        """The oldest snapshot of the source; None while some entity was never synced.

        What is told to people and applications is ``landing.bounds.in_sync_to``: what had landed
        in the source may be older.
        """
        return self._oldest([entity.source_snapshot_at for entity in self.entities.values()])

    @property
    def last_full_at(self) -> datetime | None:
        """The oldest full sync; None while some entity never had one."""
        return self._oldest([entity.last_full_at for entity in self.entities.values()])

    @property
    def last_success_at(self) -> datetime | None:
        """The oldest last success of those that were ever synced; None where none was."""
        return min(
            _known(entity.last_success_at for entity in self.entities.values()), default=None
        )

    @property
    def newest_snapshot_at(self) -> datetime | None:
        """The newest snapshot of any entity; None where none was ever synced."""
        taken = _known(entity.source_snapshot_at for entity in self.entities.values())
        return max(taken, default=None)

    def _oldest(self, moments: Sequence[datetime | None]) -> datetime | None:
        dated = _known(moments)
        return min(dated) if dated and len(dated) == len(self.names) else None


def read_record(sync: Reading, *, scope: Scope) -> ScopeRecord:
    """What is recorded of one scope."""
    return read_records(sync, scopes=[scope]).get(scope.key, ScopeRecord(sync.entity_names, {}))


def read_records(
    sync: Reading,
    *,
    scopes: Sequence[Scope] | None = None,
    recorded: ScopeStatesReader | None = None,
) -> dict[str, ScopeRecord]:
    """What is recorded of these scopes or of all, by key, in one question.

    Scopes of which only entities are recorded that the settings do not name are not among them.

    Args:
        sync: Names the entities that count.
        scopes: Only these.
        recorded: The records of another generation; None for those of this one.
    """
    by_scope: dict[str, dict[str, EntitySnapshot]] = {}
    for entity in (recorded or sync.scopes).list_entities(scopes=scopes):
        if entity.entity_type in sync.entity_names:
            by_scope.setdefault(entity.scope_key, {})[entity.entity_type] = entity
    return {key: ScopeRecord(sync.entity_names, entities) for key, entities in by_scope.items()}


def in_step_to(
    records: Mapping[str, ScopeRecord], *, scopes: int, landed: Collection[LandedUntil] = ()
) -> datetime | None:
    """Up to when all of so many scopes are in step; None while one of them is not known to be.

    Args:
        records: By scope key.
        scopes: How many there have to be.
        landed: Nothing is in step beyond these.
    """
    known = _known(
        in_sync_to(record.snapshot_at, scope_key=key, landed=landed)
        for key, record in records.items()
    )
    return min(known) if known and len(known) == scopes else None


def _known(moments: Iterable[datetime | None]) -> list[datetime]:
    return [moment for moment in moments if moment is not None]
