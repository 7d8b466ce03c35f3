"""Points to store: deterministic vectors, payloads as the pipeline writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.hashing import digest, point_id
from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    SearchQuery,
    SparseVector,
    StoredPoint,
    Vector,
)
from sync_pipeline.core.ports import VectorStore

DIMENSION = 8
SPEC = CollectionSpec(
    alias="sync_pipeline_test",
    model_id="hashing-8",
    dimension=DIMENSION,
    views=("text",),
    sparse_id="bm25-russian",
)
COLLECTION = SPEC.collection


def vector(seed: int) -> Vector:
    """A unit vector; neighbouring seeds are close to each other."""
    raw = np.cos(np.arange(DIMENSION) * (1 + seed / 100)) + 0.1
    return np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)


def make_point(
    number: int,
    *,
    scope_key: str = "acme",
    words: Mapping[int, float] | None = None,
    revision: int | None = None,
    vectors: Mapping[str, Vector] | None = None,
    **fields: object,
) -> Point:
    """Point ``number``: the same number is the same document, whatever it says."""
    document_id = f"tenant-material-{number}"
    payload: dict[str, object] = {
        "document_id": document_id,
        "scope_key": scope_key,
        "text": f"Штукатурка {number} кг",
        "embed_hash": {"text": digest("text", str(number))},
        "payload_hash": digest("payload", str(number)),
        **fields,
    }
    if revision is not None:
        payload["source_revision"] = revision
    weights = {1: 1.0, 100 + number: 2.0} if words is None else words
    return Point(
        point_id=point_id(document_id),
        vectors={"text": vector(number)} if vectors is None else vectors,
        sparse=SparseVector(tuple(weights), tuple(weights.values())),
        payload=payload,
    )


def ids_of(points: Iterable[Point]) -> list[str]:
    """Point ids, sorted."""
    return sorted(point.point_id for point in points)


def stored(store: VectorStore, *points: Point) -> dict[str, StoredPoint]:
    """What the store holds of these points, by id, with vectors."""
    found = store.retrieve(COLLECTION, [point.point_id for point in points], with_vectors=True)
    return {point.point_id: point for point in found}


def digest_ids(
    store: VectorStore,
    *,
    scope_key: str = "acme",
    entity_types: Sequence[str] | None = None,
    start: str | None = None,
    stop: str | None = None,
    batch_size: int = 5000,
) -> list[str]:
    """Point ids that ``iter_digests`` yields, in its order."""
    batches = store.iter_digests(
        COLLECTION,
        scope_key=scope_key,
        views=SPEC.views,
        entity_types=entity_types,
        start=start,
        stop=stop,
        batch_size=batch_size,
    )
    return [one.decode() for batch in batches for one in batch.point_ids.tolist()]


def search(
    *,
    scope_keys: Sequence[str] = ("acme",),
    seed: int | None = 0,
    words: Mapping[int, float] | None = None,
    limit: int = 10,
    equals: Mapping[str, Sequence[str | int | bool]] | None = None,
    fusion: Fusion | None = None,
) -> SearchQuery:
    """A search by meaning (``seed``), by words, or both."""
    return SearchQuery(
        scope_keys=tuple(scope_keys),
        vectors={} if seed is None else {"text": vector(seed)},
        sparse=None if words is None else SparseVector(tuple(words), tuple(words.values())),
        limit=limit,
        equals=equals or {},
        fusion=fusion or Fusion(),
    )


def found_ids(store: VectorStore, query: SearchQuery) -> list[str]:
    """Ids of the hits, best first."""
    return [point.point_id for _, point in store.query(COLLECTION, query)]
