"""One collection of points, as the engine uses it: a ``VectorStore`` bound to a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    StoredPoint,
)


class IndexReader(Protocol):
    """The points of one collection, to be read; each method is that of ``VectorStore``.

    The collection may be missing: it has no points then, and a search raises
    ``CollectionMissingError``.
    """

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
        """Scroll a scope without vectors, in ascending order of point id."""

    def count(self, *, scope_key: str | None = None) -> int:
        """Count exactly."""

    def count_by_scope(self, *, entity_type: str | None = None) -> dict[str, int]:
        """Exact number of points per scope key."""

    def count_by_entity(self, *, scope_key: str | None = None) -> dict[str, int]:
        """Exact number of points per entity."""

    def retrieve(
        self,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        """Read points by id."""

    def query(self, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """Search, best first."""

    def query_batch(self, queries: Sequence[SearchQuery]) -> list[list[tuple[float, StoredPoint]]]:
        """Several searches as one request."""

    def complete(
        self, typed: str, *, scope_keys: Sequence[str], entity_types: Sequence[str], limit: int
    ) -> list[StoredPoint]:
        """Points whose text has, for each word typed, a word that begins with it."""


class Index(IndexReader, Protocol):
    """The points of one collection, to be read and written."""

    def ensure(self, spec: CollectionSpec) -> bool:
        """Create it where it is missing; whether it was."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or overwrite points."""

    def write_payloads(self, payloads: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """Replace the payload of existing points."""

    def delete(
        self, point_ids: Sequence[str], *, scope_key: str, up_to_revision: int | None = None
    ) -> None:
        """Delete points that still carry ``scope_key``."""

    def index_texts(self) -> None:
        """Make the index over the words of texts that ``complete`` needs."""

    def optimize(self) -> bool:
        """Build search indexes that are due; whether there was anything to do."""
