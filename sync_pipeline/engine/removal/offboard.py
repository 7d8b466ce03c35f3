"""Removing everything that belongs to one tenant, and proving that it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.cache_keys import scope_cache_key
from sync_pipeline.core.errors import ScopeHasRowsError, UnconfirmedSyncError
from sync_pipeline.core.payload import revision_at
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.collection import BoundCollection
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import before_write, scope_lease
from sync_pipeline.engine.staged import gather, scope_folder

SAMPLED: Final = 100
"""Most deleted points that are asked for again, one by one."""

HASHES_AT_ONCE: Final = 50_000
"""Texts whose vectors are purged by one statement; each reads all records once."""

UNUSED_GRACE_SECONDS: Final = 86_400.0
"""Vectors younger than this may belong to a sync that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What was removed of one tenant; all of it is gone."""

    scope_key: str
    points: int
    """In all collections of this installation."""
    records: int
    quarantined: int
    events: int
    vectors: int
    """Cached vectors that no document uses any more, older ones of other scopes included."""


def count_rows(sync: SyncContext, *, scope: Scope) -> tuple[int, datetime]:
    """Rows of a scope in the source now, and when that is by the source's clock."""
    with sync.source.open_snapshot(sync.entities) as snapshot:
        rows = sum(
            len(ids)
            for entity in sync.entities
            for ids in snapshot.iter_ids(entity=entity, scope=scope)
        )
        return rows, snapshot.taken_at


def offboard_tenant(
    sync: SyncContext, *, scope: Scope, owner: str, even_with_rows: bool = False
) -> Removal:
    """Remove a tenant on somebody's explicit request.

    Args:
        sync: Where to remove it from.
        scope: A tenant's; the global scope is never removed.
        owner: Who takes the lease.
        even_with_rows: Also where the source still has rows, from which a later sync
            would make the documents again.

    Raises:
        ScopeHasRowsError: it has rows; nothing was removed.
        ScopeBusyError: it is being synced.
        UnconfirmedSyncError: points are still there; run it again.
        StoppedError: asked to stop; what is left is removed by running it again.
    """
    if scope.is_global:
        raise ValueError("the global scope is not a tenant")
    with scope_lease(sync, scope=scope, owner=owner) as fence:
        rows, _ = count_rows(sync, scope=scope)
        if rows and not even_with_rows:
            raise ScopeHasRowsError(scope_key=scope.key, rows=rows)
        return remove_scope(sync, scope=scope, fence=fence)


def remove_scope(
    sync: SyncContext,
    *,
    scope: Scope,
    fence: Fence,
    up_to: datetime | None = None,
    entity_types: Sequence[str] | None = None,
) -> Removal:
    """Remove points, records, quarantine, pending events, staged files and vectors of a scope.

    Points go by id and only where they carry this scope, so no mistake in a filter
    can reach another tenant's. Its own record goes last: a removal that was cut
    short is found there and finished by running it again.

    Args:
        sync: Where to remove it from.
        scope: A tenant's.
        fence: The right to write it.
        up_to: Points and records of a later snapshot of the source are spared. None spares
            none, which only somebody's explicit request may do.
        entity_types: What belongs to other entities stays; None removes all.

    Raises:
        UnconfirmedSyncError: the index was counted and sampled, and has points left.
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    collections = own_collections(sync)
    hashes: set[str] = set()
    part = _Part(scope, fence, up_to, entity_types)
    removed = [_delete_documents(sync, it, part=part, hashes=hashes) for it in collections]
    quarantined, events = _delete_the_rest(sync, part=part)
    sync.staging.delete(scope_folder(scope))
    vectors = _purge_vectors(sync, scope=scope, hashes=hashes)
    for collection in collections:
        collection.records.scopes.forget(scope=scope, entity_types=entity_types)
    return Removal(
        scope_key=scope.key,
        points=sum(points for points, _ in removed),
        records=sum(records for _, records in removed),
        quarantined=quarantined,
        events=events,
        vectors=vectors,
    )


def remove_entity_of_scope(
    sync: SyncContext, *, scope: Scope, fence: Fence, entity_type: str
) -> Removal:
    """Remove points, records, quarantine and pending events of one entity of a scope.

    Cached vectors stay: an entity that comes back embeds nothing again.

    Args:
        sync: Where to remove it from.
        scope: Whose documents, the global scope's too.
        fence: The right to write the scope.
        entity_type: One that the settings do not name.

    Raises:
        UnconfirmedSyncError: the index was counted and sampled, and has points left.
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    collections = own_collections(sync)
    part = _Part(scope, fence, None, [entity_type])
    removed = [_delete_documents(sync, it, part=part, hashes=set()) for it in collections]
    quarantined, events = _delete_the_rest(sync, part=part)
    for collection in collections:
        collection.records.scopes.forget(scope=scope, entity_types=[entity_type])
    return Removal(
        scope_key=scope.key,
        points=sum(points for points, _ in removed),
        records=sum(records for _, records in removed),
        quarantined=quarantined,
        events=events,
        vectors=0,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a scope is removed, and by whose right."""

    scope: Scope
    fence: Fence
    up_to: datetime | None
    entity_types: Sequence[str] | None


def own_collections(sync: SyncContext) -> list[BoundCollection]:
    """Every collection that this installation has made, that of the settings first."""
    current = sync.generation.collection
    with sync.store() as store:
        names = store.list_collections()
    others = [
        sync.collection(name)
        for name in names
        if name != current.name and sync.generations.describe(name) is not None
    ]
    return [current, *others]


def _delete_documents(
    sync: SyncContext, collection: BoundCollection, *, part: _Part, hashes: set[str]
) -> tuple[int, int]:
    """Delete points of one collection, and then their records; how many there were of each."""
    points = _delete_points(sync, collection, part=part, hashes=hashes)
    return points, _delete_records(sync, collection, part=part)


def _delete_the_rest(sync: SyncContext, *, part: _Part) -> tuple[int, int]:
    """Forget what is in no collection: quarantined rows and pending events, how many each."""
    before_write(sync, part.fence)
    scope, entity_types = part.scope, part.entity_types
    sync.state.take_departed(scope=scope, entity_types=entity_types)
    released = sync.quarantine.release(scope=scope, entity_types=entity_types)
    events = 0
    if sync.feed is not None:
        events = sync.feed.consume(sync.feed.read(scope, limit=None, entity_types=entity_types))
    return released.get(scope.key, 0), events


def _delete_points(
    sync: SyncContext, collection: BoundCollection, *, part: _Part, hashes: set[str]
) -> int:
    """Delete points of one collection, noting the hashes of their texts."""
    scope = part.scope
    with collection.index() as index:
        digests = gather(
            index.iter_digests(
                scope_key=scope.key, views=sync.views, entity_types=part.entity_types
            )
        )
    ids = digests.point_ids.astype("U36").tolist()
    for batch in batched(ids, sync.options.delete_batch_size):
        before_write(sync, part.fence)
        with collection.index() as index:
            points = index.retrieve(batch)
            hashes |= {key for point in points for key in point.embed_hashes.values()}
            recorded = collection.records.state.passages(
                document_ids=[point.document_id for point in points]
            )
            for views in recorded.values():
                hashes |= {key for passages in views.values() for key in passages}
            index.delete(
                batch,
                scope_key=scope.key,
                up_to_revision=None if part.up_to is None else revision_at(part.up_to),
            )
    with collection.index() as index:
        counts = index.count_by_entity(scope_key=scope.key)
        entity_types = counts.keys() if part.entity_types is None else part.entity_types
        left = sum(counts.get(name, 0) for name in entity_types) or sum(
            point.scope_key == scope.key for point in index.retrieve(ids[:SAMPLED])
        )
    if left:
        raise UnconfirmedSyncError(scope_key=scope.key, expected=0, points=left)
    return len(ids)


def _delete_records(sync: SyncContext, collection: BoundCollection, *, part: _Part) -> int:
    state = collection.records.state
    digests = gather(
        state.iter_digests(
            scope=part.scope,
            views=sync.views,
            entity_types=part.entity_types,
        )
    )
    deleted = 0
    for ids in batched(digests.point_ids.astype("U36").tolist(), sync.options.delete_batch_size):
        before_write(sync, part.fence)
        deleted += state.delete(scope=part.scope, point_ids=ids, up_to=part.up_to)
    return deleted


def _purge_vectors(sync: SyncContext, *, scope: Scope, hashes: Iterable[str]) -> int:
    """Forget the vectors of the scope's texts, those of former texts included.

    What another document uses too stays. Former texts are known by no document, so
    they are found as vectors that nobody uses; that is believed only while the
    record knows at least as many documents as the index has points.
    """
    purged = sum(
        sync.cache.purge_model(model_id=scope_cache_key(model_id, scope))
        for model_id in sync.embedders
    )
    for batch in batched(sorted(hashes), HASHES_AT_ONCE):
        purged += sync.cache.purge_unused(text_hashes=batch)
    if _knows_every_point(sync):
        purged += sync.cache.purge_unused(min_age_seconds=UNUSED_GRACE_SECONDS)
    return purged


def _knows_every_point(sync: SyncContext) -> bool:
    recorded = sync.state.count_by_scope()
    with sync.index() as index:
        points = index.count_by_scope()
    return all(recorded.get(key, {}).get("synced", 0) >= count for key, count in points.items())
