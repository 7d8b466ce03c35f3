"""How a collection is made on a Qdrant server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from qdrant_client import models

from sync_pipeline.core.cluster_options import ClusterOptions
from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.hashing import RENDERING_VERSION
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import ENTITY_TYPE, SCOPE_KEY
from sync_pipeline.core.point import BM25_VECTOR, MAX_PREFIX, CollectionSpec
from sync_pipeline.stores.checks import VectorSchema, VectorShape, vector_schema
from sync_pipeline.stores.server.cluster import made_with, noted

MAX_PAGE: Final = 100_000
"""Most points of a page and most scopes of one count; strict mode refuses more."""
MAX_BATCH: Final = 10_000
"""Most points of one write, by number; strict mode refuses more."""
_MAX_CONDITIONS: Final = 500
_DESCRIPTION: Final = "description"
_OPTIONS: Final = "index_options"

PAYLOAD_INDEXES: Final = {
    # The points of a scope lie together on disk.
    SCOPE_KEY: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    # For filters and counts by entity; the search graph needs no links for it.
    ENTITY_TYPE: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=False),
}
"""Per payload field its index."""

TEXT_INDEX: Final = models.TextIndexParams(
    type=models.TextIndexType.TEXT,
    tokenizer=models.TokenizerType.PREFIX,
    lowercase=True,
    min_token_len=1,
    max_token_len=MAX_PREFIX,
)
"""Of the field ``text``, for ``complete``."""


def creation(spec: CollectionSpec, cluster: ClusterOptions | None = None) -> dict[str, Any]:
    """Arguments of ``create_collection``.

    Qdrant's advice for many tenants is ``m=0`` with ``payload_m=16``: a graph per
    tenant and none over all. It is not followed. A search here is for two keys at
    once, ``global`` and a tenant; their graphs would not be connected, and a search
    that enters one of them never reaches the other. So the graph over all points
    stays, and ``payload_m`` adds links inside each scope, so that a filtered search
    finds its way.

    Strict mode refuses absurd requests on the server too. Filters on fields without
    an index stay allowed: callers filter on any payload field inside a scope, and
    writes are conditional on ``source_revision``.

    Points are spread over shards by their ids, never by tenant: see decision 0018.
    """
    cluster = cluster or ClusterOptions()
    return {
        "vectors_config": {
            view: _vector_params(shape) for view, shape in vector_schema(spec).items()
        },
        "sparse_vectors_config": {
            BM25_VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)
        },
        "hnsw_config": models.HnswConfigDiff(m=16, payload_m=16),
        "on_disk_payload": True,
        **made_with(cluster),
        "strict_mode_config": models.StrictModeConfig(
            enabled=True,
            max_query_limit=MAX_PAGE,
            upsert_max_batchsize=MAX_BATCH,
            filter_max_conditions=_MAX_CONDITIONS,
            condition_max_size=MAX_BATCH,
            unindexed_filtering_retrieve=True,
            unindexed_filtering_update=True,
        ),
        "metadata": {
            "model_id": spec.model_id,
            "sparse_id": spec.sparse_id,
            "rendering_version": RENDERING_VERSION,
            _DESCRIPTION: spec.describe(),
            **noted(cluster),
        },
    }


def _vector_params(shape: VectorShape) -> models.VectorParams:
    """How one dense vector is kept.

    Several per point are compared one by one: a search graph over them loses a third of the hits
    and is slower (decision 0016).
    """
    if not shape.is_multi:
        return models.VectorParams(size=shape.dimension, distance=models.Distance.COSINE)
    return models.VectorParams(
        size=shape.dimension,
        distance=models.Distance.COSINE,
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
    )


def option_changes(
    info: models.CollectionInfo, options: IndexOptions, *, views: Sequence[str]
) -> dict[str, Any]:
    """Arguments of ``update_collection`` that give a collection other options, or none.

    The server builds what has to be built anew by itself, and answers searches meanwhile. What
    was asked for last stands in the collection's metadata: compared with that, and not with how
    the collection is, settings that nobody touched leave alone what the server's operator chose.

    Args:
        info: How the collection is.
        options: What is asked for now.
        views: Its dense vectors.
    """
    noted = (info.config.metadata or {}).get(_OPTIONS, IndexOptions().built)
    # Metadata is merged: what a newer release noted besides is still there.
    if options.built.items() <= noted.items():
        return {}
    return {
        "vectors_config": {
            view: models.VectorParamsDiff(on_disk=options.vectors_on_disk) for view in views
        },
        "hnsw_config": models.HnswConfigDiff(
            m=options.hnsw_m,
            payload_m=options.hnsw_m,
            ef_construct=options.hnsw_ef_construct,
            on_disk=options.hnsw_on_disk,
        ),
        "quantization_config": _quantization(options),
        "metadata": {_OPTIONS: options.built},
    }


def _quantization(options: IndexOptions) -> models.QuantizationConfigDiff:
    in_ram = options.quantization_always_ram
    match options.quantization:
        case "none":
            return models.Disabled.DISABLED
        case "scalar":
            return models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, always_ram=in_ram
                )
            )
        case "binary":
            return models.BinaryQuantization(
                binary=models.BinaryQuantizationConfig(always_ram=in_ram)
            )


def schema_of(info: models.CollectionInfo, *, collection: str, address: str) -> VectorSchema:
    """The dense vectors of a collection.

    Raises:
        PermanentError: it was not made by this program.
    """
    vectors = info.config.params.vectors
    if not isinstance(vectors, dict) or not vectors:
        raise PermanentError(
            f"collection {collection!r} in {address} has no named vectors: something else made it.",
            remedy="Set `index.alias` to a name of its own.",
        )
    return {
        view: VectorShape(params.size, is_multi=params.multivector_config is not None)
        for view, params in sorted(vectors.items())
    }
