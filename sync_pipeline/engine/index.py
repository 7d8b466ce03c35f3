"""The collection behind the alias: made once, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import IndexMismatchError
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.engine.context import SyncContext

_RETRIEVE_BATCH: Final = 500
"""Points read by id at once."""


def check_index(sync: SyncContext, store: VectorStore) -> str | None:
    """Name the collection that the alias serves, if it is the one the settings ask for.

    Returns:
        Its name; None where the alias serves nothing yet.

    Raises:
        IndexMismatchError: it was built with another model, views or rendering.
    """
    spec = sync.spec
    serves = store.alias_target(spec.alias)
    if serves is not None and serves != spec.collection:
        raise IndexMismatchError(
            alias=spec.alias,
            serves=serves,
            built_with=sync.generations.describe(serves) or "other settings",
            asked_for=spec.describe(),
        )
    return serves


def ensure_index(sync: SyncContext, store: VectorStore) -> None:
    """Make the collection and point the alias at it, where either is missing.

    Raises:
        IndexMismatchError: the alias serves a collection of other settings.
    """
    spec = sync.spec
    serves = check_index(sync, store)
    created = store.ensure_collection(spec)
    if serves is None:
        store.set_alias(spec.alias, collection=spec.collection)
    if created or serves is None:
        sync.generations.record(spec, is_active=True)


def optimize_index(sync: SyncContext) -> bool:
    """Build the search indexes that are due, where the store does not do so by itself.

    No sync waits for it. Until then a search compares its text with every new point
    of the scope, which is exact and slower. The embedded index can be used by nobody
    else meanwhile.

    Returns:
        Whether there was anything to build.

    Raises:
        StoreLockedError: another process has the index.
        OutOfSpaceError: no room for the new files beside the old ones.
    """
    with sync.store() as store:
        collection = store.alias_target(sync.alias)
        if collection is None or not store.capabilities.explicit_optimize:
            return False
        return store.optimize(collection)


def iter_points(
    store: VectorStore, collection: str, point_ids: Iterable[str]
) -> Iterator[StoredPoint]:
    """Read points by id, some hundreds at once; those that are not there are left out."""
    for batch in batched(point_ids, _RETRIEVE_BATCH):
        yield from store.retrieve(collection, batch)


def points_by_entity(sync: SyncContext) -> dict[str, dict[str, int]]:
    """Per entity of the settings the points of each scope: one question each."""
    collection = sync.spec.collection
    with sync.store() as store:
        return {
            name: store.count_by_scope(collection, entity_type=name) for name in sync.entity_names
        }
