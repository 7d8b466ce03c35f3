"""A ``VectorStore`` of dictionaries: searches by brute force, and fails when told to."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from sync_pipeline.core.errors import (
    CollectionMissingError,
    PermanentError,
    RejectedPointError,
)
from sync_pipeline.core.payload import ENTITY_TYPE, SCOPE_KEY, TEXT, Payload, revision_of
from sync_pipeline.core.point import (
    BM25_VECTOR,
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    SparseVector,
    StoredPoint,
)
from sync_pipeline.core.ports import StoreCapabilities, VectorStore
from sync_pipeline.stores.checks import (
    VectorSchema,
    check_ids,
    check_name,
    check_payloads,
    check_points,
    check_query,
    vector_schema,
)
from sync_pipeline.stores.stored import (
    finds_nothing,
    has_words,
    is_deletable,
    iter_page_digests,
    known_hits,
    known_points,
)
from sync_pipeline_tests.fakes.filters import meets
from sync_pipeline_tests.fakes.words import begins_as_typed

Scores = dict[str, float]


@dataclass(slots=True)
class _Collection:
    spec: CollectionSpec
    points: dict[str, Point] = field(default_factory=dict)
    has_words: bool = False
    """Whether texts are indexed by their words."""
    is_due: bool = False
    """Whether points came in since it was last optimized."""

    @property
    def schema(self) -> VectorSchema:
        return vector_schema(self.spec)


class FakeVectorStore:
    """Keeps points in memory; look at them with ``points``, break it with ``fail_next``."""

    def __init__(self, *, capabilities: StoreCapabilities | None = None) -> None:
        self.capabilities = capabilities or StoreCapabilities(explicit_optimize=False)
        self.refused: set[str] = set()
        """Ids of documents whose points it refuses."""
        self.finds_nothing_in: set[str] = set()
        """Collections in which a search finds nothing, whatever they hold."""
        self._collections: dict[str, _Collection] = {}
        self._aliases: dict[str, str] = {}
        self._failures: dict[str, list[tuple[Exception, bool]]] = {}

    # --- for tests ------------------------------------------------------------------

    def points(self, collection: str) -> dict[str, Point]:
        """What a collection holds, by point id; nothing where it is missing."""
        held = self._collections.get(collection)
        return {} if held is None else dict(held.points)

    def fail_next(self, method: str, error: Exception, *, is_applied: bool = False) -> None:
        """Make the next call of a method raise; told twice, the next two calls do.

        Args:
            method: Name of a method of ``VectorStore``.
            error: What it raises.
            is_applied: Whether the call takes effect before it raises, like a write
                whose confirmation is lost.
        """
        self._failures.setdefault(method, []).append((error, is_applied))

    def lease(self) -> AbstractContextManager[VectorStore]:
        """A ``Lease[VectorStore]`` of this fake: pass ``store.lease``."""
        return nullcontext(self)

    # --- VectorStore ----------------------------------------------------------------

    def check_engine(self) -> str:
        with self._failing("check_engine"):
            return "fake store"

    def check_layout(self, collection: str) -> str:
        with self._failing("check_layout"):
            self._existing(collection)
            return "in memory, once"

    def alias_target(self, alias: str) -> str | None:
        with self._failing("alias_target"):
            return self._aliases.get(alias)

    def set_alias(self, alias: str, *, collection: str) -> None:
        check_name(alias)
        with self._failing("set_alias"):
            self._existing(collection)
            self._aliases[alias] = collection

    def list_collections(self) -> list[str]:
        with self._failing("list_collections"):
            return sorted(self._collections)

    def ensure_collection(self, spec: CollectionSpec) -> bool:
        check_name(spec.collection)
        with self._failing("ensure_collection"):
            is_created = spec.collection not in self._collections
            self._collections.setdefault(spec.collection, _Collection(spec))
            return is_created

    def drop_collection(self, collection: str) -> None:
        with self._failing("drop_collection"):
            self._collections.pop(collection, None)
            self._aliases = {
                alias: name for alias, name in self._aliases.items() if name != collection
            }

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        with self._failing("upsert"):
            if not points:
                return
            held = self._existing(collection)
            check_points(points, schema=held.schema)
            self._refuse_chosen(points)
            held.is_due = True
            for point in points:
                if not _is_newer(held.points.get(point.point_id), than=point.payload):
                    held.points[point.point_id] = replace(point, payload=_stored(point.payload))

    def _refuse_chosen(self, points: Sequence[Point]) -> None:
        refused = [
            name for point in points if (name := point.payload.get("document_id")) in self.refused
        ]
        if refused and len(points) > 1:
            raise PermanentError(f"one of {len(points)} points is refused")
        if refused:
            raise RejectedPointError(document_id=str(refused[0]), reason="this fake was told so")

    def write_payloads(self, collection: str, payloads: Sequence[tuple[str, Payload]]) -> None:
        with self._failing("write_payloads"):
            if not payloads:
                return
            check_payloads(payloads)
            held = self._existing(collection)
            for point_id, payload in payloads:
                point = held.points.get(point_id)
                if point is not None and not _is_newer(point, than=payload):
                    held.points[point_id] = replace(point, payload=_stored(payload))

    def delete(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        scope_key: str,
        up_to_revision: int | None = None,
    ) -> None:
        with self._failing("delete"):
            check_ids(point_ids)
            points = self._collections[collection].points if self._has(collection) else {}
            for point_id in point_ids:
                if point_id in points and is_deletable(
                    points[point_id].payload, scope_key=scope_key, up_to_revision=up_to_revision
                ):
                    del points[point_id]

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
        with self._failing("iter_digests"):
            check_ids([bound for bound in (start, stop) if bound is not None])
            rows = sorted(
                (point_id, point.payload)
                for point_id, point in self.points(collection).items()
                if point.payload.get(SCOPE_KEY) == scope_key
                and (entity_types is None or point.payload.get(ENTITY_TYPE) in entity_types)
            )

            def page(offset: str | None) -> tuple[list[tuple[str, Payload]], str | None]:
                following = [row for row in rows if offset is None or row[0] >= offset]
                rest = following[batch_size:]
                return following[:batch_size], rest[0][0] if rest else None

            yield from iter_page_digests(page, views=views, start=start, stop=stop)

    def count(self, collection: str, *, scope_key: str | None = None) -> int:
        with self._failing("count"):
            points = self.points(collection).values()
            if scope_key is None:
                return len(points)
            return sum(point.payload.get(SCOPE_KEY) == scope_key for point in points)

    def count_by_scope(self, collection: str, *, entity_type: str | None = None) -> dict[str, int]:
        with self._failing("count_by_scope"):
            points = self.points(collection).values()
            return dict(
                Counter(
                    str(point.payload[SCOPE_KEY])
                    for point in points
                    if SCOPE_KEY in point.payload
                    and entity_type in {None, point.payload.get(ENTITY_TYPE)}
                )
            )

    def count_by_entity(self, collection: str, *, scope_key: str | None = None) -> dict[str, int]:
        with self._failing("count_by_entity"):
            points = self.points(collection).values()
            return dict(
                Counter(
                    str(point.payload.get(ENTITY_TYPE, ""))
                    for point in points
                    if scope_key in {None, point.payload.get(SCOPE_KEY)}
                )
            )

    def retrieve(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        del as_search
        with self._failing("retrieve"):
            check_ids(point_ids)
            points = self.points(collection)
            return known_points(
                StoredPoint(
                    point_id=point_id,
                    payload=dict(points[point_id].payload),
                    vectors=dict(points[point_id].vectors) if with_vectors else {},
                )
                for point_id in dict.fromkeys(point_ids)
                if point_id in points
            )

    def index_texts(self, collection: str) -> None:
        with self._failing("index_texts"):
            if collection in self._collections:
                self._collections[collection].has_words = True

    def complete(
        self,
        collection: str,
        typed: str,
        *,
        scope_keys: Sequence[str],
        entity_types: Sequence[str],
        limit: int,
    ) -> list[StoredPoint]:
        with self._failing("complete"):
            held = self._collections.get(collection)
            if held is None or not held.has_words:
                return []
            return known_points(
                StoredPoint(point_id=point_id, payload=dict(point.payload))
                for point_id, point in held.points.items()
                if point.payload.get(SCOPE_KEY) in scope_keys
                and point.payload.get(ENTITY_TYPE) in entity_types
                and begins_as_typed(str(point.payload[TEXT]), typed)
            )[:limit]

    def query_batch(
        self, collection: str, queries: Sequence[SearchQuery]
    ) -> list[list[tuple[float, StoredPoint]]]:
        return [self.query(collection, query) for query in queries]

    def query(self, collection: str, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        with self._failing("query"):
            held = self._existing(collection)
            check_query(query, schema=held.schema)
            if finds_nothing(query):
                return []
            in_scope = {
                point_id: point
                for point_id, point in held.points.items()
                if point.payload.get(SCOPE_KEY) in query.scope_keys
            }
            visible = {
                point_id: point
                for point_id, point in in_scope.items()
                if meets(point.payload, query.filters)
            }
            rankings = {view: _by_meaning(visible, view, query) for view in query.vectors}
            if query.sparse is not None and has_words(query):
                rankings[BM25_VECTOR] = _by_words(visible, query.sparse, corpus=in_scope)
            scores = _fuse(rankings, query) if len(rankings) > 1 else next(iter(rankings.values()))
            best = [] if collection in self.finds_nothing_in else _ranked(scores)
            return known_hits(
                (score, StoredPoint(point_id=point_id, payload=dict(visible[point_id].payload)))
                for point_id, score in best[: query.limit]
            )

    def optimize(self, collection: str) -> bool:
        with self._failing("optimize"):
            held = self._collections.get(collection)
            if held is None or not self.capabilities.explicit_optimize:
                return False
            was_due, held.is_due = held.is_due, False
            return was_due

    def _has(self, collection: str) -> bool:
        return collection in self._collections

    def _existing(self, collection: str) -> _Collection:
        held = self._collections.get(collection)
        if held is None:
            raise CollectionMissingError(collection=collection, store="the fake store")
        return held

    def _failing(self, method: str) -> AbstractContextManager[None]:
        waiting = self._failures.get(method)
        return nullcontext() if not waiting else _Failing(*waiting.pop(0))


class _Failing:
    """Raises on the way in, or on the way out."""

    def __init__(self, error: Exception, is_applied: bool) -> None:  # noqa: FBT001 - a pair
        self._error = error
        self._is_applied = is_applied

    def __enter__(self) -> None:
        if not self._is_applied:
            raise self._error

    def __exit__(self, *_: object) -> None:
        raise self._error


def _stored(payload: Payload) -> Payload:
    """The payload as JSON gives it back."""
    copied: Payload = json.loads(json.dumps(payload))
    return copied


def _is_newer(point: Point | None, *, than: Payload) -> bool:
    revision = revision_of(than)
    stored = None if point is None else revision_of(point.payload)
    return revision is not None and stored is not None and stored > revision


def _by_meaning(points: Mapping[str, Point], view: str, query: SearchQuery) -> Scores:
    return {
        point_id: float(np.max(np.dot(point.vectors[view], query.vectors[view])))
        for point_id, point in points.items()
        if view in point.vectors
    }


def _by_words(
    points: Mapping[str, Point], query: SparseVector, *, corpus: Mapping[str, Point]
) -> Scores:
    frequency = Counter(index for point in corpus.values() for index in point.sparse.indices)
    scores: Scores = {}
    for point_id, point in points.items():
        weights = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
        shared = [index for index in query.indices if index in weights]
        if shared:
            wanted = dict(zip(query.indices, query.values, strict=True))
            scores[point_id] = sum(
                wanted[index] * weights[index] * _idf(frequency[index], len(corpus))
                for index in shared
            )
    return scores


def _idf(holding: int, documents: int) -> float:
    return math.log((documents - holding + 0.5) / (holding + 0.5) + 1)


def _fuse(rankings: Mapping[str, Scores], query: SearchQuery) -> Scores:
    fusion, fused = query.fusion, dict[str, float]()
    for ranking in fusion.weighted(rankings):
        handed = _ranked(ranking)[: fusion.candidates_for(query.limit)]
        if fusion.method == "rrf":
            worth = [1 / (place + fusion.rrf_k - 1) for place in range(1, len(handed) + 1)]
        else:
            worth = _normalised([score for _, score in handed])
        for (point_id, _), share in zip(handed, worth, strict=True):
            fused[point_id] = fused.get(point_id, 0) + share
    return fused


def _normalised(scores: Sequence[float]) -> list[float]:
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    if not deviation:
        return [0.5] * len(scores)
    low = float(np.mean(scores)) - 3 * deviation
    return [(score - low) / (6 * deviation) for score in scores]


def _ranked(scores: Scores) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda entry: -entry[1])
