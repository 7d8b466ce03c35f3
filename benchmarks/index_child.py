"""One index of the pipeline in a process of its own, so that its memory can be told.

``python -m benchmarks.index_child write FOLDER VECTORS ROWS`` writes a catalogue with its vectors;
``build FOLDER OPTIONS`` gives the index other options and builds it; ``ask FOLDER OPTIONS QUERIES``
opens it, searches as a tenant and prints what that took. OPTIONS are those of ``IndexOptions`` as
JSON, VECTORS and QUERIES arrays of numpy.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from benchmarks.catalogue import CatalogueSize, iter_catalogue, tenant_name
from benchmarks.child import own_bytes
from sync_pipeline.core.batching import batched
from sync_pipeline.core.hashing import digest, point_id
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.point import CollectionSpec, Point, SearchQuery
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.stores.edge.store import lease_edge_store

SPEC: Final = CollectionSpec(
    alias="documents", model_id="bundled", dimension=384, views=("text",), sparse_id="bm25-mixed"
)
COLLECTION: Final = SPEC.collection
LIMIT: Final = 10
SCOPE_KEYS: Final = (GLOBAL_KEY, tenant_name(1))
"""Whose documents are searched."""
_ROW: Final = "row"


def main() -> None:
    action, folder, *words = sys.argv[1:]
    if action == "write":
        _write(Path(folder), np.load(words[0]), CatalogueSize(rows=int(words[1])))
        return
    options = IndexOptions(**json.loads(words[0]))
    told = (
        _build(Path(folder), options)
        if action == "build"
        else _ask(Path(folder), options, np.load(words[1]))
    )
    print(json.dumps(told))


def _write(folder: Path, vectors: np.ndarray[Any, Any], size: CatalogueSize) -> None:
    with lease_edge_store(folder)() as store:
        store.ensure_collection(SPEC)
        for points in batched(_points(vectors, size), 500):
            store.upsert(COLLECTION, points)


def _points(vectors: np.ndarray[Any, Any], size: CatalogueSize) -> Iterator[Point]:
    bm25 = Bm25Encoder("mixed")
    for number, (row, vector) in enumerate(zip(iter_catalogue(size), vectors, strict=True)):
        document_id = f"{'tenant' if row.tenant_id else GLOBAL_KEY}-{row.entity}-{row.id}"
        yield Point(
            point_id=point_id(document_id),
            vectors={"text": vector},
            sparse=bm25.encode_documents([row.text])[0],
            payload={
                "document_id": document_id,
                "scope_key": row.tenant_id or GLOBAL_KEY,
                "type": row.entity,
                "text": row.text,
                "embed_hash": {"text": digest(row.text)},
                "payload_hash": digest(row.price),
                "price": float(row.price),
                _ROW: number,
            },
        )


def _build(folder: Path, options: IndexOptions) -> dict[str, float]:
    began = time.perf_counter()
    with lease_edge_store(folder, options=options)() as store:
        store.ensure_collection(SPEC)
        store.optimize(COLLECTION)
    return {"seconds": time.perf_counter() - began}


def _ask(folder: Path, options: IndexOptions, queries: np.ndarray[Any, Any]) -> dict[str, Any]:
    _drop_from_cache(folder)
    this = psutil.Process()
    before = this.memory_info().rss, own_bytes(this)
    began = time.perf_counter()
    with lease_edge_store(folder, options=options)() as store:
        store.count(COLLECTION)
        opened = time.perf_counter() - began
        after_opening = _grown(this, before)
        first, hits = _search_all(store, queries)
        again, _ = _search_all(store, queries)
        after_searches = _grown(this, before)
    return {
        "open_seconds": opened,
        "opened": after_opening,
        "searched": after_searches,
        "first_ms": first,
        "again_ms": again,
        "hits": hits,
    }


def _search_all(
    store: VectorStore, queries: np.ndarray[Any, Any]
) -> tuple[list[float], list[list[int]]]:
    """Milliseconds of each search, and the rows that it found."""
    took: list[float] = []
    found: list[list[int]] = []
    for vector in queries:
        query = SearchQuery(
            scope_keys=SCOPE_KEYS, vectors={"text": vector}, sparse=None, limit=LIMIT
        )
        began = time.perf_counter()
        hits = store.query(COLLECTION, query)
        took.append((time.perf_counter() - began) * 1000)
        found.append([int(str(point.payload[_ROW])) for _, point in hits])
    return took, found


def _grown(process: psutil.Process, before: tuple[int, int]) -> dict[str, int]:
    """What the index added: all resident memory, and what of it is no page of a file."""
    return {
        "resident_bytes": process.memory_info().rss - before[0],
        "own_bytes": own_bytes(process) - before[1],
    }


def _drop_from_cache(folder: Path) -> None:
    """Have the system forget what it keeps of the files, as after a start of the machine."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


if __name__ == "__main__":
    main()
