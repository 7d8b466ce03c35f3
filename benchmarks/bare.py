"""The parts of a first sync with nothing around them: what any program would have to do.

``python -m benchmarks.bare --database URL --index FOLDER`` reads every row, makes
the same points with the same payloads, upserts them into a new Qdrant Edge shard
and, with ``--with-state``, copies what the pipeline records of them into a table.
It prints the seconds of each part as JSON. Without state it is the shortest
script that could fill the index: it knows nothing of changes, crashes or deletes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import psycopg
import qdrant_edge as edge
from numpy.typing import NDArray

from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.embedding.hashing import HashingEmbedder

BATCH: Final = 500
NAMESPACE: Final = uuid.UUID(int=1)

READ: Final = """
SELECT 'material', id::text, tenant_id, is_global, name, category, supplier, unit, price::float8
FROM materials
UNION ALL
SELECT 'work', id::text, tenant_id, is_global, name, category, NULL, unit, NULL
FROM works
"""

# Columns and primary key of the pipeline's own table.
STATE: Final = """
CREATE TABLE bare_state (
    collection text COLLATE "C", document_id text COLLATE "C", point_id uuid, scope text,
    scope_key text COLLATE "C", tenant_id text COLLATE "C", entity_type text COLLATE "C",
    db_id text COLLATE "C", embed_hashes jsonb, payload_hash text, status text,
    last_synced_at timestamptz DEFAULT now(), vector_version text, source_snapshot_at timestamptz
    DEFAULT now(), PRIMARY KEY (collection, document_id)
);
CREATE INDEX ON bare_state (collection, scope_key, point_id)
"""

Payload = dict[str, Any]


def main() -> None:
    options = _parse()
    seconds: dict[str, float] = {}
    with _timed(seconds, "read"), psycopg.connect(options.database) as connection:
        rows = connection.execute(READ).fetchall()
    with _timed(seconds, "hash"):
        payloads = [make_payload(row) for row in rows]
    with _timed(seconds, "embed"):
        vectors = embed([payload["text"] for payload in payloads])
    if options.with_state:
        with _timed(seconds, "state"):
            copy_state(options.database, payloads)
    with _timed(seconds, "upsert"):
        upsert(options.index, payloads=payloads, vectors=vectors)
    print(json.dumps({"documents": len(payloads), "seconds": seconds}))


def make_payload(row: Sequence[Any]) -> Payload:
    """The payload that the pipeline writes for a row, with the two hashes."""
    entity, row_id, tenant, is_global, name, category, supplier, unit, price = row
    text = " ".join(part for part in (name, category, supplier, unit) if part)
    kind = "global" if is_global else "tenant"
    payload: Payload = {
        "categoryId": category,
        "unit": unit,
        "tenantId": tenant,
        "type": entity,
        "isGlobal": is_global,
        "scope": kind,
        "scope_key": "global" if is_global else tenant,
        "schema_version": 1,
        "dbId": row_id,
        "document_id": f"{kind}-{entity}-{row_id}",
        "text": text,
    }
    if entity == "material":
        payload |= {"supplierId": supplier, "price": price}
    payload["payload_hash"] = _hash(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS))
    payload["embed_hash"] = {"text": _hash(text.encode())}
    payload["synced_at"] = "2026-01-01T00:00:00+00:00"
    payload["source_revision"] = 1_767_225_600_000_000
    return payload


def embed(texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Hashing vectors of the distinct texts, by text."""
    embedder = HashingEmbedder()
    distinct = list(dict.fromkeys(texts))
    found: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(distinct), embedder.max_batch):
        chunk = distinct[start : start + embedder.max_batch]
        found.update(zip(chunk, embedder.embed(chunk).vectors, strict=True))
    return found


def copy_state(url: str, payloads: Sequence[Payload]) -> None:
    """One row per document, by one COPY."""
    columns = (
        "collection, document_id, point_id, scope, scope_key, tenant_id, entity_type, db_id, "
        "embed_hashes, payload_hash, status, vector_version"
    )
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_state")
        cursor.execute(STATE)
        with cursor.copy(f"COPY bare_state ({columns}) FROM STDIN") as copy:
            for payload in payloads:
                copy.write_row(
                    (
                        "documents",
                        payload["document_id"],
                        _point_id(payload),
                        payload["scope"],
                        payload["scope_key"],
                        payload["tenantId"],
                        payload["type"],
                        payload["dbId"],
                        json.dumps(payload["embed_hash"]),
                        payload["payload_hash"],
                        "synced",
                        "hashing",
                    )
                )


def upsert(
    folder: Path, *, payloads: Sequence[Payload], vectors: Mapping[str, NDArray[np.float32]]
) -> None:
    """Make a shard like the pipeline's and write every point with its BM25 weights."""
    sparse = Bm25Encoder()
    dimension = len(next(iter(vectors.values())))
    folder.mkdir(parents=True)
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={"text": edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        ),
    )
    shard.update(
        edge.UpdateOperation.create_field_index(
            "scope_key", edge.KeywordIndexParams(is_tenant=True)
        )
    )
    for start in range(0, len(payloads), BATCH):
        chunk = payloads[start : start + BATCH]
        weights = sparse.encode_documents([payload["text"] for payload in chunk])
        points = [
            edge.Point(
                _point_id(payload),
                {
                    "text": vectors[payload["text"]].tolist(),
                    "bm25": edge.SparseVector(list(terms.indices), list(terms.values)),
                },
                payload,
            )
            for payload, terms in zip(chunk, weights, strict=True)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()


def _point_id(payload: Payload) -> str:
    return str(uuid.uuid5(NAMESPACE, payload["document_id"]))


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="libpq URL")
    parser.add_argument("--index", required=True, type=Path, help="a folder that is made")
    parser.add_argument("--with-state", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
