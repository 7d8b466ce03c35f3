"""One physical collection: its points in the store, and our records of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    StoredPoint,
)
from sync_pipeline.core.ports import (
    Index,
    IndexState,
    Lease,
    Overview,
    ScopeStates,
    VectorStore,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What is remembered of one collection."""

    state: IndexState
    scopes: ScopeStates
    overview: Overview


OpenRecords = Callable[[str], Records]
"""The records of a collection, by its name; reads and makes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCollection:
    """A physical collection and all that is bound to it, so that none can be taken for another's.

    It may be missing in the store: then it has no points.
    """

    name: str
    index: Lease[Index]
    records: Records


class BoundIndex:
    """``Index`` over any ``VectorStore``."""

    def __init__(self, store: VectorStore, collection: str) -> None:
        self._store = store
        self._collection = collection

    def ensure(self, spec: CollectionSpec) -> bool:
        """See ``VectorStore.ensure_collection``.

        Raises:
            ValueError: the spec is that of another collection.
        """
        if spec.collection != self._collection:
            raise ValueError(f"{spec.collection} is not {self._collection}")
        return self._store.ensure_collection(spec)

    def upsert(self, points: Sequence[Point]) -> None:
        """See ``VectorStore``."""
        self._store.upsert(self._collection, points)

    def write_payloads(self, payloads: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """See ``VectorStore``."""
        self._store.write_payloads(self._collection, payloads)

    def delete(
        self, point_ids: Sequence[str], *, scope_key: str, up_to_revision: int | None = None
    ) -> None:
        """See ``VectorStore``."""
        self._store.delete(
            self._collection, point_ids, scope_key=scope_key, up_to_revision=up_to_revision
        )

    def iter_digests(
        self,
        *,
        scope_key: str,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
        batch_size: int = 5000,
    ) -> Iterator[PointDigests]:
        """See ``VectorStore``."""
        return self._store.iter_digests(
            self._collection,
            scope_key=scope_key,
            views=views,
            entity_types=entity_types,
            start=start,
            stop=stop,
            batch_size=batch_size,
        )

    def count(self, *, scope_key: str | None = None) -> int:
        """See ``VectorStore``."""
        return self._store.count(self._collection, scope_key=scope_key)

    def count_by_scope(self, *, entity_type: str | None = None) -> dict[str, int]:
        """See ``VectorStore``."""
        return self._store.count_by_scope(self._collection, entity_type=entity_type)

    def count_by_entity(self, *, scope_key: str | None = None) -> dict[str, int]:
        """See ``VectorStore``."""
        return self._store.count_by_entity(self._collection, scope_key=scope_key)

    def retrieve(
        self,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        """See ``VectorStore``."""
        return self._store.retrieve(
            self._collection, point_ids, with_vectors=with_vectors, as_search=as_search
        )

    def query(self, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """See ``VectorStore``."""
        return self._store.query(self._collection, query)

    def query_batch(self, queries: Sequence[SearchQuery]) -> list[list[tuple[float, StoredPoint]]]:
        """See ``VectorStore``."""
        return self._store.query_batch(self._collection, queries)

    def index_texts(self) -> None:
        """See ``VectorStore``."""
        self._store.index_texts(self._collection)

    def complete(
        self, typed: str, *, scope_keys: Sequence[str], entity_types: Sequence[str], limit: int
    ) -> list[StoredPoint]:
        """See ``VectorStore``."""
        return self._store.complete(
            self._collection,
            typed,
            scope_keys=scope_keys,
            entity_types=entity_types,
            limit=limit,
        )

    def optimize(self) -> bool:
        """See ``VectorStore``."""
        return self._store.optimize(self._collection)


def open_collection(
    name: str, *, store: Lease[VectorStore], records: OpenRecords
) -> BoundCollection:
    """Bind a collection; nothing is asked or made before it is used."""

    @contextmanager
    def lease() -> Iterator[Index]:
        with store() as opened:
            yield BoundIndex(opened, name)

    return BoundCollection(name=name, index=lease, records=records(name))
