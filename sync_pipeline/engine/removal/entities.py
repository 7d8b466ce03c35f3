"""Removing an entity that left the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sync_pipeline.core.errors import ConfigurationError, ScopeBusyError
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.collection import BoundCollection
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.removal.offboard import own_collections, remove_entity_of_scope


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRemoval:
    """What was removed of an entity that left the settings."""

    entity_type: str
    scopes: int
    """In which there was anything of it."""
    points: int
    """In all collections of this installation."""
    records: int
    quarantined: int
    events: int
    busy: tuple[str, ...]
    """Scopes left as they are, for another run was writing them."""
    left: int
    """Points that are there now: 0 where nothing was busy."""


@dataclass(slots=True)
class _Removals:
    """Counts of a removal that is under way."""

    scopes: int = 0
    points: int = 0
    records: int = 0
    quarantined: int = 0
    events: int = 0
    busy: list[str] = field(default_factory=list)


def remove_entity(sync: SyncContext, *, entity_type: str, owner: str) -> EntityRemoval:
    """Remove an entity that left the settings, scope by scope, and count what is left.

    Each scope is removed under its lease. A removal that was cut short is finished by running
    it again: what is left is found by what the index, our record, the quarantine and the feed
    hold of it.

    Args:
        sync: Where to remove it from.
        entity_type: Its name.
        owner: Who takes the leases.

    Raises:
        ConfigurationError: the settings name it, or nothing knows it.
        UnconfirmedSyncError: points of a scope are still there; run it again.
        StoppedError: asked to stop; what is left is removed by running it again.
    """
    require_left(sync, entity_type)
    collections = own_collections(sync)
    scopes = _scopes_of(sync, collections, entity_type)
    if not scopes:
        raise ConfigurationError(
            f"nothing is left of an entity {entity_type!r}; `sync-pipeline entities` lists those "
            "that there are"
        )
    if sync.feed is not None:
        # One of all scopes could be consumed by none of them.
        sync.feed.spread_truncates(scopes, entity_types=[entity_type])
    done = _Removals()
    for number, scope in enumerate(scopes, start=1):
        try:
            with scope_lease(sync, scope=scope, owner=owner) as fence:
                removal = remove_entity_of_scope(
                    sync, scope=scope, fence=fence, entity_type=entity_type
                )
        except ScopeBusyError:
            done.busy.append(scope.key)
            continue
        done.scopes += 1
        done.points += removal.points
        done.records += removal.records
        done.quarantined += removal.quarantined
        done.events += removal.events
        sync.progress.advance("remove", done=number, total=len(scopes))
    left = sum(_points_of(collection, entity_type) for collection in collections)
    return EntityRemoval(
        entity_type=entity_type,
        scopes=done.scopes,
        points=done.points,
        records=done.records,
        quarantined=done.quarantined,
        events=done.events,
        busy=tuple(done.busy),
        left=left,
    )


def require_left(sync: SyncContext, entity_type: str) -> None:
    """Check that the settings do not name an entity.

    Raises:
        ConfigurationError: they do.
    """
    if entity_type in sync.entity_names:
        raise ConfigurationError(
            f"the settings name entity {entity_type!r}; the next sync would make its documents "
            "again. Take it out of `entities` first."
        )


def _points_of(collection: BoundCollection, entity_type: str) -> int:
    with collection.index() as index:
        return index.count_by_entity().get(entity_type, 0)


def _scopes_of(
    sync: SyncContext, collections: Sequence[BoundCollection], entity_type: str
) -> list[Scope]:
    """Every scope where anything of an entity is, global first, then by key."""
    keys: set[str] = set()
    for collection in collections:
        with collection.index() as index:
            keys |= index.count_by_scope(entity_type=entity_type).keys()
        recorded = collection.records.state.count_by_entity()
        keys |= {key for key, entities in recorded.items() if entity_type in entities}
        keys |= {
            snapshot.scope_key
            for snapshot in collection.records.scopes.list_entities()
            if snapshot.entity_type == entity_type
        }
    listed = sync.quarantine.count_by_entity()
    keys |= {key for key, entities in listed.items() if entity_type in entities}
    if sync.feed is not None:
        keys |= sync.feed.pending(entity_types=[entity_type]).keys()
    return [Scope.from_key(key) for key in sorted(keys, key=lambda key: (key != GLOBAL_KEY, key))]
