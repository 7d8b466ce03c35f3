"""Points, filters and searches in the words of qdrant-client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from qdrant_client import models

from sync_pipeline.core.conditions import (
    AnyInteger,
    AnyText,
    Condition,
    Group,
    IsFlag,
    Moments,
    NoValue,
    Numbers,
    plan_conditions,
)
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import ENTITY_TYPE, REVISION, SCOPE_KEY, TEXT, revision_of
from sync_pipeline.core.point import (
    BM25_VECTOR,
    Point,
    SearchQuery,
    StoredPoint,
    Vector,
)
from sync_pipeline.stores.checks import VectorSchema, VectorShape, payload_bytes
from sync_pipeline.stores.stored import has_words

_BYTES_PER_NUMBER: Final = 22
"""A float32 as JSON: up to 20 digits, a separator and a blank."""
_BYTES_PER_POINT: Final = 300
"""Id, names, braces and the condition on the revision."""


def point_bytes(point: Point) -> int:
    """About how many bytes a point takes in a request; rather too many."""
    numbers = sum(np.size(vector) for vector in point.vectors.values()) + 2 * len(
        point.sparse.indices
    )
    return _BYTES_PER_POINT + _BYTES_PER_NUMBER * numbers + payload_bytes(point.payload)


def item_bytes(item: tuple[str, Mapping[str, object]]) -> int:
    """About how many bytes a payload write takes in a request."""
    return _BYTES_PER_POINT + payload_bytes(item[1])


def point_struct(point: Point) -> models.PointStruct:
    """Convert a point."""
    vectors: dict[str, models.Vector] = {
        view: np.asarray(vector, dtype=np.float32).tolist()
        for view, vector in point.vectors.items()
    }
    vectors[BM25_VECTOR] = models.SparseVector(
        indices=list(point.sparse.indices), values=list(point.sparse.values)
    )
    return models.PointStruct(id=point.point_id, vector=vectors, payload=dict(point.payload))


def payload_operation(
    point_id: str, payload: Mapping[str, object]
) -> models.OverwritePayloadOperation:
    """Replace the payload of one point, unless it is missing or newer.

    By filter: given a list of ids, Qdrant answers 404 for a missing point.
    """
    conditions: list[models.Condition] = [models.HasIdCondition(has_id=[point_id])]
    revision = revision_of(payload)
    if revision is not None:
        conditions.append(unless_newer(revision))
    return models.OverwritePayloadOperation(
        overwrite_payload=models.SetPayload(
            payload=dict(payload), filter=models.Filter(must=conditions)
        )
    )


def unless_newer(revision: int) -> models.Filter:
    """Points that a write of this revision may overwrite, and a delete remove."""
    return models.Filter(
        should=[
            models.FieldCondition(key=REVISION, range=models.Range(lte=float(revision))),
            models.IsEmptyCondition(is_empty=models.PayloadField(key=REVISION)),
        ]
    )


def owned_points(
    point_ids: Sequence[str], *, scope_key: str, up_to_revision: int | None
) -> models.Filter:
    """Those of the points that carry the scope key and are not newer than the revision."""
    conditions: list[models.Condition] = [
        models.HasIdCondition(has_id=list(point_ids)),
        scope_filter([scope_key]),
    ]
    if up_to_revision is not None:
        conditions.append(unless_newer(up_to_revision))
    return models.Filter(must=conditions)


def scope_filter(
    scope_keys: Sequence[str], *, entity_types: Sequence[str] | None = None
) -> models.Filter:
    """Points of these scopes and of no other, and of these entities where they are named."""
    if not scope_keys:
        raise ValueError("an empty filter would match every tenant's points")
    conditions: list[models.Condition] = [_any_text(SCOPE_KEY, scope_keys)]
    if entity_types is not None:
        conditions.append(_any_text(ENTITY_TYPE, entity_types))
    return models.Filter(must=conditions)


def entity_filter(entity_type: str) -> models.Filter:
    """Points of one entity, of whatever scope."""
    return models.Filter(must=[_any_text(ENTITY_TYPE, [entity_type])])


def search_filter(query: SearchQuery) -> models.Filter:
    """The one filter of a search: the scope, and inside it what the caller asks for."""
    conditions = plan_conditions(query.filters) or ()
    return models.Filter(must=[scope_filter(query.scope_keys), *map(_condition, conditions)])


def completion_filter(
    typed: str, *, scope_keys: Sequence[str], entity_types: Sequence[str]
) -> models.Filter:
    """Points of these scopes and entities with words that begin as typed."""
    words = models.FieldCondition(key=TEXT, match=models.MatchText(text=typed))
    return models.Filter(must=[scope_filter(scope_keys, entity_types=entity_types), words])


def query_arguments(
    query: SearchQuery, options: IndexOptions, *, schema: VectorSchema
) -> dict[str, Any]:
    """Arguments of ``query_points``: one ranking as it is, several by fusion."""
    common = {
        "query_filter": search_filter(query),
        "limit": query.limit,
        "with_payload": True,
    }
    rankings = _prefetches(query, options, schema=schema)
    if len(rankings) > 1:
        return {
            **common,
            "prefetch": list(query.fusion.weighted(rankings)),
            "query": _fusion(query.fusion),
        }
    (only,) = rankings.values()
    return {**common, "query": only.query, "using": only.using, "search_params": only.params}


def query_request(
    query: SearchQuery, options: IndexOptions, *, schema: VectorSchema
) -> models.QueryRequest:
    """The same as one of several requests."""
    asked = query_arguments(query, options, schema=schema)
    return models.QueryRequest(
        filter=asked["query_filter"],
        limit=asked["limit"],
        with_payload=asked["with_payload"],
        prefetch=asked.get("prefetch"),
        query=asked["query"],
        using=asked.get("using"),
        params=asked.get("search_params"),
    )


def stored_point(record: models.Record | models.ScoredPoint) -> StoredPoint:
    """Convert a point that was read."""
    return StoredPoint(
        point_id=str(record.id),
        payload=record.payload or {},
        vectors=_dense_vectors(record.vector),
    )


def _dense_vectors(vectors: models.VectorStructOutput | None) -> dict[str, Vector]:
    if not isinstance(vectors, dict):
        return {}
    return {
        name: np.array(vector, dtype=np.float32)
        for name, vector in vectors.items()
        if isinstance(vector, list)
    }


def _fusion(fusion: Fusion) -> models.FusionQuery | models.RrfQuery:
    if fusion.method == "dbsf":
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    return models.RrfQuery(rrf=models.Rrf(k=fusion.rrf_k))


def _prefetches(
    query: SearchQuery, options: IndexOptions, *, schema: VectorSchema
) -> dict[str, models.Prefetch]:
    """The rankings of a search, each inside the one filter; by view, or ``bm25`` for words."""
    visible, candidates = search_filter(query), query.fusion.candidates_for(query.limit)
    params = models.SearchParams(exact=True) if query.exact else _search_params(options)
    rankings = {
        view: models.Prefetch(
            query=_dense_query(vector, schema[view]),
            using=view,
            filter=visible,
            limit=candidates,
            params=params,
        )
        for view, vector in query.vectors.items()
    }
    if query.sparse is not None and has_words(query):
        rankings[BM25_VECTOR] = models.Prefetch(
            query=models.SparseVector(
                indices=list(query.sparse.indices), values=list(query.sparse.values)
            ),
            using=BM25_VECTOR,
            filter=visible,
            limit=candidates,
            # How rare a term is, is counted in the visible scopes only: otherwise
            # another tenant's texts would move these scores.
            params=models.SearchParams(
                idf=models.IdfCorpusParams(corpus=scope_filter(query.scope_keys))
            ),
        )
    return rankings


def _dense_query(vector: Vector, shape: VectorShape) -> list[float] | list[list[float]]:
    numbers: list[float] = np.asarray(vector, dtype=np.float32).tolist()
    return [numbers] if shape.is_multi else numbers


def _search_params(options: IndexOptions) -> models.SearchParams | None:
    """How the dense vectors are searched."""
    quantization = None
    if options.quantization != "none":
        quantization = models.QuantizationSearchParams(
            rescore=options.quantization_rescore, oversampling=options.oversampling
        )
    if options.hnsw_ef is None and quantization is None:
        return None
    return models.SearchParams(hnsw_ef=options.hnsw_ef, quantization=quantization)


def _condition(condition: Condition) -> models.Condition:
    match condition:
        case AnyText(path, texts):
            return _any_text(path, texts)
        case AnyInteger(path, numbers):
            return models.FieldCondition(key=path, match=models.MatchAny(any=list(numbers)))
        case IsFlag(path, flag):
            return models.FieldCondition(key=path, match=models.MatchValue(value=flag))
        case Numbers(path, gt, gte, lt, lte):
            inside = models.Range(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.FieldCondition(key=path, range=inside)
        case Moments(path):
            return models.FieldCondition(key=path, range=models.DatetimeRange(**condition.bounds))
        case NoValue(path):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=path))
        case Group():
            return models.Filter(
                must=_conditions(condition.must),
                should=_conditions(condition.should),
                must_not=_conditions(condition.must_not),
            )


def _conditions(conditions: Sequence[Condition]) -> list[models.Condition] | None:
    return [_condition(condition) for condition in conditions] or None


def _any_text(path: str, texts: Sequence[str]) -> models.FieldCondition:
    return models.FieldCondition(key=path, match=models.MatchAny(any=list(texts)))
