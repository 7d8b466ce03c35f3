"""Vectors by model and text, table ``embedding_cache``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, Engine

from sync_pipeline.core.batching import batched
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, psycopg_of

HASHES_PER_STATEMENT: Final = 5000

STORED: Final = np.dtype("<f4")
"""Vectors are stored as little-endian float32, whatever the machine."""

_KNOWN: Final = sql.SQL("""
SELECT text_hash FROM {table} WHERE model_id = %s AND text_hash = ANY(%b::text[])
""")
_GET: Final = sql.SQL("""
SELECT text_hash, vector FROM {table} WHERE model_id = %s AND text_hash = ANY(%b::text[])
""")
_PUT: Final = sql.SQL("""
INSERT INTO {table} (model_id, text_hash, vector, dimension)
SELECT %s, given.text_hash, given.vector, %s
FROM unnest(%b::text[], %b::bytea[]) AS given (text_hash, vector)
ORDER BY given.text_hash -- two writers of the same texts wait for each other, without deadlock
ON CONFLICT (model_id, text_hash) DO NOTHING
""")


_PURGE_MODEL: Final = sql.SQL("""
DELETE FROM {table} WHERE model_id = %(model_id)s
""")
_PURGE_UNUSED: Final = sql.SQL("""
DELETE FROM {table} AS kept
WHERE (%(is_everything)s OR kept.text_hash = ANY(%(text_hashes)b::text[]))
  AND kept.created_at <= now() - make_interval(secs => %(min_age_seconds)s)
  AND NOT EXISTS (
    SELECT FROM {index_state} AS document, jsonb_each_text(document.embed_hashes) AS view
    WHERE view.value = kept.text_hash
  )
""")


class PostgresEmbeddingCache:
    """``EmbeddingCache`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        table = sql.Identifier(schema, "embedding_cache")
        self._known = _KNOWN.format(table=table)
        self._get = _GET.format(table=table)
        self._put = _PUT.format(table=table)
        self._purge_model = _PURGE_MODEL.format(table=table)
        self._purge_unused = _PURGE_UNUSED.format(
            table=table, index_state=sql.Identifier(schema, "index_state")
        )

    def missing(self, *, model_id: str, text_hashes: Sequence[str]) -> set[str]:
        """Those of the texts that have no vector yet."""
        absent = set(text_hashes)
        for hashes in batched(text_hashes, HASHES_PER_STATEMENT):
            absent.difference_update(
                row[0] for row in self._read("looking for vectors", self._known, model_id, hashes)
            )
        return absent

    def get(self, *, model_id: str, text_hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the texts that have one; read-only arrays."""
        return {
            text_hash: np.frombuffer(vector, dtype=STORED)
            for hashes in batched(text_hashes, HASHES_PER_STATEMENT)
            for text_hash, vector in self._read("reading vectors", self._get, model_id, hashes)
        }

    def put(
        self, *, model_id: str, text_hashes: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Keep vectors, durably; those already there stay."""
        stored = vectors.astype(STORED, copy=False)
        pairs = zip(text_hashes, stored, strict=True)
        for chosen in batched(pairs, HASHES_PER_STATEMENT):
            hashes = [text_hash for text_hash, _ in chosen]
            self._write(model_id, hashes, [vector.tobytes() for _, vector in chosen])

    def purge_model(self, *, model_id: str) -> int:
        """Forget all vectors of a model; how many there were."""
        return self._purge(self._purge_model, {"model_id": model_id})

    def purge_unused(
        self, *, text_hashes: Sequence[str] | None = None, min_age_seconds: float = 0.0
    ) -> int:
        """Forget vectors of texts that no document has; how many there were."""
        values = {
            "is_everything": text_hashes is None,
            "text_hashes": list(text_hashes or ()),
            "min_age_seconds": min_age_seconds,
        }
        return self._purge(self._purge_unused, values)

    def _purge(self, statement: sql.Composed, values: Mapping[str, object]) -> int:
        return self._database.run(
            "purging vectors", lambda it: psycopg_of(it).execute(statement, values).rowcount
        )

    def _read(
        self, doing: str, query: sql.Composed, model_id: str, hashes: list[str]
    ) -> list[tuple[Any, ...]]:
        def work(connection: Connection) -> list[tuple[Any, ...]]:
            return psycopg_of(connection).execute(query, (model_id, hashes), binary=True).fetchall()

        return self._database.run(doing, work)

    def _write(self, model_id: str, hashes: list[str], vectors: list[bytes]) -> None:
        dimension = len(vectors[0]) // STORED.itemsize
        values = (model_id, dimension, hashes, vectors)
        self._database.run("keeping vectors", lambda it: psycopg_of(it).execute(self._put, values))
