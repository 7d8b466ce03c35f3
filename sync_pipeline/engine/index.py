"""The collection of a generation: made once, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import CollectionMissingError, IndexMismatchError
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.ports import GenerationRecord, IndexReader, StoreReader
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.roles import known_generations, serving

_RETRIEVE_BATCH: Final = 500
"""Points read by id at once."""


def ensure_index(sync: SyncContext) -> None:
    """Make the collection where it is missing, record it, and let the alias point at the first.

    Where the alias points at another generation it stays there until the new one goes live,
    see ``engine.switching``.

    Raises:
        IndexMismatchError: the alias points at a collection that this installation has not made.
        CollectionMissingError: a generation that is kept in step was dropped meanwhile.
        SyncPipelineError: the model could not be compared with the known ones, see ``unsettled``.
    """
    spec = sync.spec
    if sync.unsettled is not None and not sync.keeps_in_step:
        raise sync.unsettled
    with sync.store() as store, sync.index() as index:
        if sync.keeps_in_step:
            if spec.collection not in store.list_collections():
                raise CollectionMissingError(collection=spec.collection, store="the index")
            return
        target, records = read_alias(sync, store)
        is_new = index.ensure(spec)
        known = records.get(spec.collection)
        if is_new and known is not None:
            _forget_scopes(sync)
            if target is not None:
                sync.generations.forget(collection=spec.collection)
                known = None
        if known is None or known.recipe != sync.generation.recipe:
            sync.generations.record(spec, recipe=sync.generation.recipe)
        if target is None:
            store.set_alias(spec.alias, collection=spec.collection)
    serves = target or spec.collection
    if serves not in records or not records[serves].is_serving:
        sync.generations.note_serving(alias=spec.alias, collection=serves)


def ensure_standby(sync: SyncContext) -> None:
    """Make the collection of a fallback's model where it is missing, and record it.

    No alias ever points at it by itself.
    """
    spec = sync.spec
    with sync.index() as index:
        is_new = index.ensure(spec)
    known = known_generations(sync).get(spec.collection)
    if is_new and known is not None:
        _forget_scopes(sync)
    if known is None or known.recipe != sync.generation.recipe:
        sync.generations.record(spec, recipe=sync.generation.recipe)


def _forget_scopes(sync: SyncContext) -> None:
    """No scope is in step in a collection that was dropped or lost."""
    for key in {entity.scope_key for entity in sync.scopes.list_entities()}:
        sync.scopes.forget(scope=Scope.from_key(key), entity_types=sync.entity_names)


def require_own_alias(sync: Reading) -> None:
    """Check that the alias is this installation's to move.

    Raises:
        IndexMismatchError: it points at a collection that this installation has not made.
    """
    with sync.store() as store:
        read_alias(sync, store)


def read_alias(sync: Reading, store: StoreReader) -> tuple[str | None, dict[str, GenerationRecord]]:
    """What the alias points at, and what is recorded of its collections, by name.

    Raises:
        IndexMismatchError: it points at a collection that this installation has not made.
    """
    target = store.alias_target(sync.alias)
    records = known_generations(sync)
    if target not in {None, sync.spec.collection, *records}:
        raise IndexMismatchError(
            alias=sync.alias,
            serves=str(target),
            built_with="other settings",
            asked_for=sync.spec.describe(),
        )
    return target, records


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
    """Make what ``questions.suggest`` needs in the index that serves, where it lacks it."""
    served = serving(sync)
    if served is not None:
        with served.index() as index:
            index.index_texts()


def iter_points(index: IndexReader, point_ids: Iterable[str]) -> Iterator[StoredPoint]:
    """Read points by id, some hundreds at once; those that are not there are left out."""
    for batch in batched(point_ids, _RETRIEVE_BATCH):
        yield from index.retrieve(batch)


def points_by_entity(sync: Reading) -> dict[str, dict[str, int]]:
    """Per entity of the settings the points of each scope: one question each."""
    with sync.index() as index:
        return {name: index.count_by_scope(entity_type=name) for name in sync.entity_names}
