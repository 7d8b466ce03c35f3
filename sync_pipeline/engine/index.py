"""The collection behind the alias: made once, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import IndexMismatchError
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.ports import IndexReader
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.reading import Reading

_RETRIEVE_BATCH: Final = 500
"""Points read by id at once."""


def has_index(sync: Reading) -> bool:
    """Whether the alias serves anything yet, and that is the collection the settings ask for.

    Raises:
        IndexMismatchError: it was built with another model, views or rendering.
    """
    spec = sync.spec
    with sync.store() as store:
        serves = store.alias_target(spec.alias)
    if serves is not None and serves != spec.collection:
        raise IndexMismatchError(
            alias=spec.alias,
            serves=serves,
            built_with=sync.generations.describe(serves) or "other settings",
            asked_for=spec.describe(),
        )
    return serves is not None


def ensure_index(sync: SyncContext) -> None:
    """Make the collection and point the alias at it, where either is missing.

    Raises:
        IndexMismatchError: the alias serves a collection of other settings.
    """
    spec = sync.spec
    with sync.store() as store, sync.index() as index:
        is_served = has_index(sync)
        created = index.ensure(spec)
        if not is_served:
            store.set_alias(spec.alias, collection=spec.collection)
    if created or not is_served:
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


def index_words(sync: SyncContext) -> None:
    """Make what ``questions.suggest`` needs in the index, where there is one and it lacks it."""
    if has_index(sync):
        with sync.index() as index:
            index.index_texts()


def iter_points(index: IndexReader, point_ids: Iterable[str]) -> Iterator[StoredPoint]:
    """Read points by id, some hundreds at once; those that are not there are left out."""
    for batch in batched(point_ids, _RETRIEVE_BATCH):
        yield from index.retrieve(batch)


def points_by_entity(sync: Reading) -> dict[str, dict[str, int]]:
    """Per entity of the settings the points of each scope: one question each."""
    with sync.index() as index:
        return {name: index.count_by_scope(entity_type=name) for name in sync.entity_names}
