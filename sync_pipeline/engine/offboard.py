"""Removing everything that belongs to one tenant, and proving that it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import ScopeHasRowsError, UnconfirmedSyncError
from sync_pipeline.core.point import revision_at
from sync_pipeline.core.ports import Fence, VectorStore
from sync_pipeline.core.scope import Scope
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
    sync: SyncContext, *, scope: Scope, fence: Fence, up_to: datetime | None = None
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

    Raises:
        UnconfirmedSyncError: the index was counted and sampled, and has points left.
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    with sync.store() as store:
        collections = own_collections(sync, store)
    hashes: set[str] = set()
    points = records = 0
    for collection in collections:
        points += _delete_points(
            sync, collection, scope=scope, fence=fence, up_to=up_to, hashes=hashes
        )
        records += _delete_records(sync, collection, scope=scope, fence=fence, up_to=up_to)
    before_write(sync, fence)
    sync.state.take_departed(collection=sync.spec.collection, scope=scope)
    quarantined = sync.quarantine.release(scope=scope).get(scope.key, 0)
    events = 0
    if sync.feed is not None:
        events = sync.feed.consume(sync.feed.read(scope, limit=None))
    sync.staging.delete(scope_folder(scope))
    vectors = _purge_vectors(sync, scope=scope, hashes=hashes)
    for collection in collections:
        sync.scopes.forget(collection=collection, scope=scope)
    return Removal(
        scope_key=scope.key,
        points=points,
        records=records,
        quarantined=quarantined,
        events=events,
        vectors=vectors,
    )


def own_collections(sync: SyncContext, store: VectorStore) -> list[str]:
    """Every collection that this installation has made, that of the settings first."""
    current = sync.spec.collection
    others = [
        name
        for name in store.list_collections()
        if name != current and sync.generations.describe(name) is not None
    ]
    return [current, *others]


def _delete_points(
    sync: SyncContext,
    collection: str,
    *,
    scope: Scope,
    fence: Fence,
    up_to: datetime | None,
    hashes: set[str],
) -> int:
    """Delete the scope's points of one collection, noting the hashes of their texts."""
    with sync.store() as store:
        found = gather(store.iter_digests(collection, scope_key=scope.key, views=sync.views))
    ids = found.point_ids.astype("U36").tolist()
    for batch in batched(ids, sync.options.delete_batch_size):
        before_write(sync, fence)
        with sync.store() as store:
            for point in store.retrieve(collection, batch):
                hashes |= _embed_hashes(point.payload)
            store.delete(
                collection,
                batch,
                scope_key=scope.key,
                up_to_revision=None if up_to is None else revision_at(up_to),
            )
    with sync.store() as store:
        left = store.count(collection, scope_key=scope.key) or sum(
            point.payload.get("scope_key") == scope.key
            for point in store.retrieve(collection, ids[:SAMPLED])
        )
    if left:
        raise UnconfirmedSyncError(scope_key=scope.key, expected=0, points=left)
    return len(ids)


def _embed_hashes(payload: Mapping[str, object]) -> set[str]:
    found = payload.get("embed_hash")
    return set(map(str, found.values())) if isinstance(found, Mapping) else set()


def _delete_records(
    sync: SyncContext, collection: str, *, scope: Scope, fence: Fence, up_to: datetime | None
) -> int:
    known = gather(sync.state.iter_digests(collection=collection, scope=scope, views=sync.views))
    deleted = 0
    for ids in batched(known.point_ids.astype("U36").tolist(), sync.options.delete_batch_size):
        before_write(sync, fence)
        deleted += sync.state.delete(collection=collection, scope=scope, point_ids=ids, up_to=up_to)
    return deleted


def _purge_vectors(sync: SyncContext, *, scope: Scope, hashes: Iterable[str]) -> int:
    """Forget the vectors of the scope's texts, those of former texts included.

    What another document uses too stays. Former texts are known by no document, so
    they are found as vectors that nobody uses; that is believed only while the
    record knows at least as many documents as the index has points.
    """
    purged = sync.cache.purge_model(model_id=sync.scope_cache_model(scope))
    for batch in batched(sorted(hashes), HASHES_AT_ONCE):
        purged += sync.cache.purge_unused(text_hashes=batch)
    if _knows_every_point(sync):
        purged += sync.cache.purge_unused(min_age_seconds=UNUSED_GRACE_SECONDS)
    return purged


def _knows_every_point(sync: SyncContext) -> bool:
    collection = sync.spec.collection
    recorded = sync.state.count_by_scope(collection=collection)
    with sync.store() as store:
        points = store.count_by_scope(collection)
    return all(recorded.get(key, {}).get("synced", 0) >= count for key, count in points.items())
