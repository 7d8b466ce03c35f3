"""What the contenders share: the same source query, engine, model and batch size.

So that only their design differs, they write to the same embedded Qdrant Edge,
take the same vectors and run the model in the configuration that was the fastest.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

DIMENSION: Final = 384
BATCH: Final = 500
VIEW: Final = "text"

QUERY: Final = """
SELECT 'material' AS type, id::text AS "dbId", tenant_id, is_global,
       concat_ws(' ', name, category, supplier, unit) AS text,
       category AS "categoryId", supplier AS "supplierId", unit, price::float8 AS price
FROM materials
UNION ALL
SELECT 'work', id::text, tenant_id, is_global, concat_ws(' ', name, category, unit),
       category, NULL, unit, NULL
FROM works
"""

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def parse() -> argparse.Namespace:
    """The options of every contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True, help="libpq URL")
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--provider", required=True, choices=["hashing", "sentence-transformers"])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def make_encoder(options: argparse.Namespace) -> Encode:
    """The function from texts to vectors, with the model loaded."""
    if options.provider == "hashing":
        from sync_pipeline.embedding.hashing import HashingEmbedder  # noqa: PLC0415 - numpy only

        return HashingEmbedder(dimension=DIMENSION).embed
    import torch  # noqa: PLC0415 - seconds, and only here
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - as above

    from sync_pipeline.embedding.model_folder import BUNDLED, find_model  # noqa: PLC0415

    torch.set_num_threads(options.threads)
    model = SentenceTransformer(
        str(find_model(BUNDLED, revision=None)),
        local_files_only=True,
        model_kwargs={"dtype": getattr(torch, options.dtype)},
    )

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = model.encode(
            list(texts),
            batch_size=options.batch_size,
            show_progress_bar=False,
            normalize_embeddings=True,
        )
        return np.asarray(vectors, dtype=np.float32)

    return encode


def open_shard(folder: Path) -> edge.EdgeShard:
    """Open the index, or make it where there is none."""
    if (folder / "edge_config.json").is_file():
        return edge.EdgeShard.load(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    vectors = {VIEW: edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine)}
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    shard.update(
        edge.UpdateOperation.create_field_index(
            "tenant_id", edge.KeywordIndexParams(is_tenant=True)
        )
    )
    return shard


def upsert(
    shard: edge.EdgeShard,
    *,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    payloads: Sequence[Mapping[str, Any]],
) -> None:
    """Write points in batches."""
    for start in range(0, len(ids), BATCH):
        chosen = slice(start, start + BATCH)
        rows = zip(ids[chosen], vectors[chosen], payloads[chosen], strict=True)
        points = [
            edge.Point(point_id, {VIEW: vector.tolist()}, dict(payload))
            for point_id, vector, payload in rows
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))


def delete(shard: edge.EdgeShard, ids: Sequence[str]) -> None:
    """Delete points."""
    if ids:
        shard.update(edge.UpdateOperation.delete_points(list(ids)))


def iter_ids(shard: edge.EdgeShard) -> list[str]:
    """Every id of the index."""
    ids: list[str] = []
    offset = None
    while True:
        request = edge.ScrollRequest(
            offset=offset, limit=5000, with_payload=False, with_vector=False
        )
        records, offset = shard.scroll(request)
        ids += [str(record.id) for record in records]
        if offset is None:
            return ids


def be_quiet() -> None:
    """Leave out warnings that would go to a cron mail."""
    warnings.simplefilter("ignore")
