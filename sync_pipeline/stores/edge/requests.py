"""Points, filters and searches in the words of Qdrant Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import qdrant_edge as edge

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
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import ENTITY_TYPE, REVISION, SCOPE_KEY, TEXT
from sync_pipeline.core.point import (
    BM25_VECTOR,
    Point,
    SearchQuery,
    Vector,
)
from sync_pipeline.stores.checks import VectorSchema, VectorShape
from sync_pipeline.stores.stored import has_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sync_pipeline.core.fusion import Fusion


PAYLOAD_INDEXES: Final = {
    SCOPE_KEY: edge.KeywordIndexParams(is_tenant=True),
    # Without it a filter on the entity reads the payload of every point: 20 % more for a scan
    # of 60,000 points, a search takes 25 ms instead of 5. It needs no links in the search graph.
    ENTITY_TYPE: edge.KeywordIndexParams(enable_hnsw=False),
}
"""Per payload field its index."""

TEXT_INDEX: Final = edge.TextIndexParams(
    tokenizer=edge.TokenizerType.Word, lowercase=True, min_token_len=1, enable_hnsw=False
)
"""Of the field ``text``, for ``complete``: whole words, see ``words``."""


_FULL_SCAN_KB: Final = 10_000
"""Fewer vectors than this are all compared, also those that a filter leaves; the engine's own."""


def shard_config(schema: VectorSchema, options: IndexOptions | None) -> edge.EdgeConfig:
    """One dense vector per view, cosine, and the sparse one with IDF.

    A shard that is opened with one takes it over, and the next ``optimize`` builds it, all tried
    with Edge 0.9. What is left out stays as the shard has it, so that whatever was ever asked for
    is said in full. Quantization is said per vector, where none takes it away; for the whole
    shard there would be no way to say none.

    Args:
        schema: The dense vectors.
        options: None leaves everything to the engine.
    """
    return edge.EdgeConfig(
        vectors={view: _vector_params(shape, options) for view, shape in schema.items()},
        sparse_vectors={BM25_VECTOR: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        hnsw_config=None if options is None else _hnsw_config(options),
    )


def _vector_params(shape: VectorShape, options: IndexOptions | None) -> edge.EdgeVectorParams:
    """How one dense vector is kept.

    Several per point are compared one by one: a search graph over them loses a third of the hits
    and is slower (decision 0016).
    """
    passages: dict[str, Any] = {}
    if shape.is_multi:
        passages = {
            "multivector_config": edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            "hnsw_config": edge.HnswIndexConfig(
                m=0,
                ef_construct=IndexOptions().hnsw_ef_construct,
                full_scan_threshold=_FULL_SCAN_KB,
            ),
        }
    if options is None:
        return edge.EdgeVectorParams(
            size=shape.dimension, distance=edge.Distance.Cosine, **passages
        )
    return edge.EdgeVectorParams(
        size=shape.dimension,
        distance=edge.Distance.Cosine,
        on_disk=options.vectors_on_disk,
        quantization_config=_quantization_config(options),
        **passages,
    )


def _quantization_config(options: IndexOptions) -> edge.QuantizationConfigType | None:
    in_ram = options.quantization_always_ram
    match options.quantization:
        case "none":
            return None
        case "scalar":
            return edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, always_ram=in_ram)
        case "binary":
            return edge.BinaryQuantizationConfig(always_ram=in_ram)


def _hnsw_config(options: IndexOptions) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(
        m=options.hnsw_m,
        ef_construct=options.hnsw_ef_construct,
        full_scan_threshold=_FULL_SCAN_KB,
        on_disk=options.hnsw_on_disk,
    )


def edge_point(point: Point) -> edge.Point:
    """Convert a point.

    Measured for 384 dimensions and 16 payload fields: 85 microseconds, of which the
    payload costs 65 (4 per text) and the vector 10, made a list first; handed over as
    the numpy array it would cost 20.
    """
    vectors: dict[str, list[float] | list[list[float]] | edge.SparseVector] = {
        view: np.asarray(vector, dtype=np.float32).tolist()
        for view, vector in point.vectors.items()
    }
    vectors[BM25_VECTOR] = edge.SparseVector(list(point.sparse.indices), list(point.sparse.values))
    return edge.Point(point.point_id, cast("edge.Vector", vectors), dict(point.payload))


def unless_newer(revision: int) -> edge.Filter:
    """Points that a write of this revision may overwrite."""
    return edge.Filter(
        should=[
            edge.FieldCondition(key=REVISION, range=edge.RangeFloat(lte=float(revision))),
            edge.IsEmptyCondition(REVISION),
        ]
    )


def one_point(point_id: str, *, revision: int | None) -> edge.Filter:
    """One point by id, unless it is newer."""
    conditions: list[edge.ConditionType] = [edge.HasIdCondition({point_id})]
    if revision is not None:
        conditions.append(unless_newer(revision))
    return edge.Filter(must=conditions)


def scope_filter(
    scope_keys: Sequence[str], *, entity_types: Sequence[str] | None = None
) -> edge.Filter:
    """Points of these scopes and of no other, and of these entities where they are named."""
    if not scope_keys:
        raise ValueError("an empty filter would match every tenant's points")
    conditions = [_any_text(SCOPE_KEY, scope_keys)]
    if entity_types is not None:
        conditions.append(_any_text(ENTITY_TYPE, entity_types))
    return edge.Filter(must=list(conditions))


def entity_filter(entity_type: str) -> edge.Filter:
    """Points of one entity, of whatever scope."""
    return edge.Filter(must=[_any_text(ENTITY_TYPE, [entity_type])])


def search_filter(query: SearchQuery) -> edge.Filter:
    """The one filter of a search: the scope, and inside it what the caller asks for."""
    conditions = plan_conditions(query.filters) or ()
    return edge.Filter(must=[scope_filter(query.scope_keys), *map(_condition, conditions)])


def completion_request(
    words: Sequence[Sequence[str]],
    *,
    scope_keys: Sequence[str],
    entity_types: Sequence[str],
    limit: int,
) -> edge.ScrollRequest:
    """Points of these scopes and entities with one word of each of these groups."""
    visible = scope_filter(scope_keys, entity_types=entity_types)
    typed = [
        edge.FieldCondition(key=TEXT, match=edge.MatchTextAny(text_any=" ".join(group)))
        for group in words
    ]
    return edge.ScrollRequest(
        limit=limit,
        filter=edge.Filter(must=[visible, *typed]),
        with_payload=True,
        with_vector=False,
    )


def query_request(query: SearchQuery, options: IndexOptions) -> edge.QueryRequest:
    """One ranking as it is, several by fusion; the filter stands in each."""
    visible = search_filter(query)
    rankings = _rankings(query, options)
    if len(rankings) == 1:
        ((ranking, params),) = rankings.values()
        return edge.QueryRequest(
            limit=query.limit,
            query=ranking,
            params=params,
            filter=visible,
            with_payload=True,
        )
    candidates = query.fusion.candidates_for(query.limit)
    return edge.QueryRequest(
        limit=query.limit,
        query=_fusion(query.fusion),
        prefetches=[
            edge.Prefetch(limit=candidates, query=ranking, params=params, filter=visible)
            for ranking, params in query.fusion.weighted(rankings)
        ],
        filter=visible,
        with_payload=True,
    )


def dense_vectors(vectors: edge.Vector | None) -> dict[str, Vector]:
    """The dense ones of a point's named vectors."""
    named = cast("Mapping[str, object]", vectors or {})
    return {
        name: np.array(vector, dtype=np.float32)
        for name, vector in named.items()
        if isinstance(vector, list)
    }


def _fusion(fusion: Fusion) -> edge.Fusion:
    if fusion.method == "dbsf":
        return cast("edge.Fusion", edge.Fusion.Dbsf())
    return cast("edge.Fusion", edge.Fusion.Rrf(k=fusion.rrf_k))


def _rankings(
    query: SearchQuery, options: IndexOptions
) -> dict[str, tuple[edge.Query, edge.SearchParams | None]]:
    """By view, or ``bm25`` for the ranking by words."""
    params = edge.SearchParams(exact=True) if query.exact else _search_params(options)
    rankings: dict[str, tuple[edge.Query, edge.SearchParams | None]] = {
        view: (
            edge.Query.Nearest(np.asarray(vector, dtype=np.float32).tolist(), using=view),
            params,
        )
        for view, vector in query.vectors.items()
    }
    if query.sparse is not None and has_words(query):
        weights = edge.SparseVector(list(query.sparse.indices), list(query.sparse.values))
        # How rare a term is, is counted in the visible scopes only: otherwise another
        # tenant's texts would move these scores. Measured: 6 ms more for 20,000 points.
        corpus = edge.IdfParams(corpus=scope_filter(query.scope_keys))
        rankings[BM25_VECTOR] = (
            edge.Query.Nearest(weights, using=BM25_VECTOR),
            edge.SearchParams(idf=corpus),
        )
    return rankings


def _search_params(options: IndexOptions) -> edge.SearchParams | None:
    """How the dense vectors are searched."""
    quantization = None
    if options.quantization != "none":
        quantization = edge.QuantizationSearchParams(
            rescore=options.quantization_rescore, oversampling=options.oversampling
        )
    if options.hnsw_ef is None and quantization is None:
        return None
    return edge.SearchParams(hnsw_ef=options.hnsw_ef, quantization=quantization)


def _condition(condition: Condition) -> edge.ConditionType:
    match condition:
        case AnyText(path, texts):
            return _any_text(path, texts)
        case AnyInteger(path, numbers):
            return edge.FieldCondition(key=path, match=edge.MatchAny(any=list(numbers)))
        case IsFlag(path, flag):
            # Edge 0.9 reads a Python bool as the integer 0 or 1, which matches no boolean;
            # numpy's bool is no integer, so it arrives as what it is.
            value = cast("bool", np.bool_(flag))
            return edge.FieldCondition(key=path, match=edge.MatchValue(value=value))
        case Numbers(path, gt, gte, lt, lte):
            inside = edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte)
            return edge.FieldCondition(key=path, range=inside)
        case Moments(path):
            moments = edge.RangeDateTime(
                **{name: moment.isoformat() for name, moment in condition.bounds.items()}
            )
            return edge.FieldCondition(key=path, range=moments)
        case NoValue(path):
            return edge.IsEmptyCondition(path)
        case Group():
            return edge.Filter(
                must=_conditions(condition.must),
                should=_conditions(condition.should),
                must_not=_conditions(condition.must_not),
            )


def _conditions(conditions: Sequence[Condition]) -> list[edge.ConditionType] | None:
    return [_condition(condition) for condition in conditions] or None


def _any_text(field: str, texts: Sequence[str]) -> edge.FieldCondition:
    return edge.FieldCondition(key=field, match=edge.MatchAny(any=list(texts)))
