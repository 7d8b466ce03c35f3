"""How scopes stand as far as is recorded: cheap enough to ask again and again.

Neither the rows of the source nor the points of the index are counted; ``status`` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sync_pipeline.core.scope import GLOBAL_KEY

if TYPE_CHECKING:
    from sync_pipeline.core.changes import PendingChanges
    from sync_pipeline.core.ports import EntitySnapshot
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.records import ScopeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEntity:
    """One entity of one scope."""

    entity_type: str
    documents: int
    """Documents recorded as synced."""
    failed: int
    quarantined: int
    last_success_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScope:
    """One scope, over the entities of the settings."""

    scope_key: str
    entities: tuple[RecordedEntity, ...]
    in_sync_to: datetime | None
    """Every change committed before is searchable; None while some entity was never synced."""
    last_success_at: datetime | None
    """Of the entity that is furthest behind, of those that were ever synced."""
    seconds_behind: float | None
    """Since ``in_sync_to``. A scope in which nothing changes is not synced, and grows old too."""
    oldest_unsynced_seconds: float
    """At most this long has a change been waiting, as far as is known; 0 where none is known to."""

    @property
    def documents(self) -> int:
        """Documents recorded as synced."""
        return sum(entity.documents for entity in self.entities)

    @property
    def failed(self) -> int:
        """Documents whose last attempt failed."""
        return sum(entity.failed for entity in self.entities)

    @property
    def quarantined(self) -> int:
        """Rows that cannot become documents."""
        return sum(entity.quarantined for entity in self.entities)


def recorded_scopes(
    sync: SyncContext, *, scopes: Sequence[Scope] | None = None
) -> list[RecordedScope]:
    """What is recorded of these scopes, or of all; the furthest behind first.

    Raises:
        TransientError: the state database, or that of the change feed, cannot be reached.
    """
    from sync_pipeline.engine.records import ScopeRecord, read_records

    only = scopes[0] if scopes is not None and len(scopes) == 1 else None
    records = read_records(sync, scopes=scopes)
    statuses = sync.state.count_by_entity(collection=sync.spec.collection, scope=only)
    quarantined = sync.quarantine.count_by_entity(scope=only)
    pending = {} if sync.feed is None else sync.feed.pending(entity_types=sync.entity_names)
    keys = {scope.key for scope in scopes or ()}
    if scopes is None:
        keys = {GLOBAL_KEY, *records, *statuses, *quarantined, *pending}
    nothing = ScopeRecord(sync.entity_names, {})
    recorded = [
        recorded_scope(
            key,
            record=records.get(key, nothing),
            statuses=statuses.get(key, {}),
            quarantined=quarantined.get(key, {}),
            pending=pending.get(key),
            now=sync.now(),
        )
        for key in keys
    ]
    return sorted(recorded, key=_furthest_first)


def recorded_scope(
    scope_key: str,
    *,
    record: ScopeRecord,
    statuses: Mapping[str, Mapping[str, int]],
    quarantined: Mapping[str, int],
    pending: PendingChanges | None,
    now: datetime,
) -> RecordedScope:
    """Put together what is recorded of one scope.

    Args:
        scope_key: Which.
        record: Its last syncs.
        statuses: Per entity and status its documents.
        quarantined: Per entity its rows that cannot become documents.
        pending: Its changes that wait in the feed; None where none do, or there is no feed.
        now: To take ages from.
    """
    entities = tuple(
        _entity(
            name,
            statuses=statuses.get(name, {}),
            quarantined=quarantined.get(name, 0),
            snapshot=record.entities.get(name),
        )
        for name in record.names
    )
    behind = None if record.in_sync_to is None else (now - record.in_sync_to).total_seconds()
    waits = [0.0]
    if pending is not None:
        waits.append((now - pending.oldest_at).total_seconds())
    if behind is not None and (record.cut_off or any(entity.failed for entity in entities)):
        # Whatever failed was changed after the snapshot before; that one is not known any more.
        waits.append(behind)
    return RecordedScope(
        scope_key=scope_key,
        entities=entities,
        in_sync_to=record.in_sync_to,
        last_success_at=record.last_success_at,
        seconds_behind=behind,
        oldest_unsynced_seconds=max(waits),
    )


def _entity(
    name: str,
    *,
    statuses: Mapping[str, int],
    quarantined: int,
    snapshot: EntitySnapshot | None,
) -> RecordedEntity:
    return RecordedEntity(
        entity_type=name,
        documents=statuses.get("synced", 0),
        failed=statuses.get("failed", 0),
        quarantined=quarantined,
        last_success_at=None if snapshot is None else snapshot.last_success_at,
    )


def _furthest_first(scope: RecordedScope) -> tuple[float, float, str]:
    behind = float("inf") if scope.seconds_behind is None else scope.seconds_behind
    return (-scope.oldest_unsynced_seconds, -behind, scope.scope_key)
