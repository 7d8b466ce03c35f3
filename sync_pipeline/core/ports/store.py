"""Where points are kept (the contract of ``stores``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    StoredPoint,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """What a store can do; the engine asks instead of knowing adapters."""

    explicit_optimize: bool
    """Search indexes are built only when ``optimize`` is called."""
    has_layout: bool = False
    """Points may lie on several nodes, several times; ``check_layout`` has more to say than that
    they are here."""
    max_batch_bytes: int = 8 * 2**20
    """Most bytes of one request."""


class StoreReader(Protocol):
    """What a store says of itself and its collections."""

    capabilities: StoreCapabilities

    def check_engine(self) -> str:
        """Name and version of the engine, for people.

        Raises:
            ConfigurationError: it is older than what the adapter works with.
        """

    def check_layout(self, collection: str) -> str:
        """Where the points of a collection lie and how many times, for people.

        Raises:
            CollectionMissingError: there is none, and the store has a layout.
            ConfigurationError: not as the settings ask for, and no sync can change that.
            StoreUnavailableError: not everything of it can be reached now.
        """

    def alias_target(self, alias: str) -> str | None:
        """Name of the collection that an alias serves, None where it serves none."""

    def list_collections(self) -> list[str]:
        """Names of all physical collections, sorted."""


class VectorStore(StoreReader, Protocol):
    """Collections of points. Writes return only after they are confirmed and searchable.

    A missing collection has no points: reading and deleting find nothing. Writing
    to it and searching it raise ``CollectionMissingError``.

    Payloads that a newer program wrote are not read: ``iter_digests``, ``retrieve`` and
    ``query`` raise ``NewerPayloadError`` instead of yielding one.

    Writes are conditional: a point whose payload carries a larger
    ``source_revision`` than the one to be written stays as it is, and that is no
    error. A write without that field, or over a point without it, always applies.
    """

    def set_alias(self, alias: str, *, collection: str) -> None:
        """Point an alias at a collection in one atomic step.

        Raises:
            CollectionMissingError: there is no such collection; the alias is unchanged.
        """

    def ensure_collection(self, spec: CollectionSpec) -> bool:
        """Create ``spec.collection`` with its vectors and payload indexes where it is missing.

        One named vector per view (cosine), the sparse vector ``bm25`` with IDF,
        a keyword index on ``scope_key`` with ``is_tenant``, another one on ``type``. A
        payload index that is missing is made, also of a collection that exists already.
        Does not touch aliases.

        Returns:
            Whether it was created.
        """

    def drop_collection(self, collection: str) -> None:
        """Delete a collection and the aliases that serve it; a missing one is not an error."""

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Insert or overwrite points; writing the same twice is the same as once.

        Raises:
            InvalidVectorError: a vector is not finite, not normalised, of the wrong length or
                of an unknown view; nothing was written.
            RejectedPointError: a payload or id that no store can hold (nothing was written),
                or the store refuses the only point given.
            PermanentError: it refuses the batch; nothing of it can be assumed written.
            StoreUnavailableError: not confirmed; write it again.
            OutOfSpaceError: no room.
        """

    def write_payloads(
        self, collection: str, payloads: Sequence[tuple[str, Mapping[str, object]]]
    ) -> None:
        """Replace the payload of existing points, keeping their vectors. Same errors."""

    def delete(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        scope_key: str,
        up_to_revision: int | None = None,
    ) -> None:
        """Delete points that still carry ``scope_key``; others and missing ones stay untouched.

        Args:
            collection: Physical name.
            point_ids: Which points.
            scope_key: Whose they have to be.
            up_to_revision: Points with a larger ``source_revision`` stay untouched too, with
                every store; those without one are deleted. None deletes whatever was written last.
        """

    def iter_digests(
        self,
        collection: str,
        *,
        scope_key: str,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
        batch_size: int = 5000,
    ) -> Iterator[PointDigests]:
        """Scroll a scope without vectors, in ascending order of point id.

        Args:
            collection: Physical name; a missing one yields nothing.
            scope_key: Only points that carry it.
            views: Views whose embed hashes are combined (``combine_hashes`` over
                the non-empty ones; a point without hashes yields an empty digest).
            entity_types: Only points of these entities, as their field ``type`` says; None for
                all. Of none there are none.
            start: First point id of the range, inclusive.
            stop: End of the range, exclusive.
            batch_size: Points per request.
        """

    def count(self, collection: str, *, scope_key: str | None = None) -> int:
        """Count exactly; 0 for a missing collection."""

    def count_by_scope(self, collection: str, *, entity_type: str | None = None) -> dict[str, int]:
        """Exact number of points per scope key; None for those of all entities."""

    def count_by_entity(self, collection: str, *, scope_key: str | None = None) -> dict[str, int]:
        """Exact number of points per entity, of one scope or of all.

        Points without a field ``type`` count as those of the entity ``""``.
        """

    def retrieve(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        """Read points by id, in no particular order; missing ones are left out.

        Args:
            collection: Physical name.
            point_ids: Which points.
            with_vectors: Read their dense vectors too.
            as_search: For an answer to an application: as fast as a search, and as little sure
                to be the newest that was confirmed, where a store keeps points several times.
        """

    def query(self, collection: str, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """Search, best first: by ``query.fusion`` where several rankings are asked for.

        The scope filter stands in every prefetch and in the outer query.
        """

    def query_batch(
        self, collection: str, queries: Sequence[SearchQuery]
    ) -> list[list[tuple[float, StoredPoint]]]:
        """Several searches as one request; per query what ``query`` returns."""

    def index_texts(self, collection: str) -> None:
        """Make the index over the words of texts that ``complete`` needs, where it is missing.

        Only whoever completes needs it, so ``ensure_collection`` makes none: it makes writing
        slower.
        """

    def complete(
        self,
        collection: str,
        typed: str,
        *,
        scope_keys: Sequence[str],
        entity_types: Sequence[str],
        limit: int,
    ) -> list[StoredPoint]:
        """Points whose text has, for each word typed, a word that begins with it.

        In no particular order, and of more than ``limit`` any; case does not matter. Without
        ``index_texts`` there may be none.
        """

    def optimize(self, collection: str) -> bool:
        """Build search indexes that are due; whether there was anything to do."""
