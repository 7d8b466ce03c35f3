"""Vectors by model and text, table ``embedding_cache``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor, sql
from sqlalchemy import Connection, Engine

from sync_pipeline.core.batching import batched
from sync_pipeline.core.cache_keys import is_key_of, split_cache_key
from sync_pipeline.core.ports import (
    LONGEST_USE_SECONDS,
    CachedVectors,
    CacheSlice,
    CacheUse,
    ExpectedHits,
    MarkFence,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database import embedding_cache_statements as statements
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, psycopg_of

HASHES_PER_STATEMENT: Final = 5000

STORED: Final = np.dtype("<f4")
"""Vectors are stored as little-endian float32, whatever the machine."""

T = TypeVar("T")
_Values = Mapping[str, object] | Sequence[object]


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of the cache, taken apart."""

    key: str
    model_id: str
    scope_key: str | None
    collections: tuple[str, ...]

    def slice(self, vectors: int, size_bytes: int) -> CacheSlice:
        """So many vectors of it."""
        return CacheSlice(
            model_id=self.model_id,
            scope_key=self.scope_key,
            vectors=vectors,
            size_bytes=size_bytes,
        )


class PostgresEmbeddingCache:
    """``EmbeddingCache`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        names = statements.names(schema)
        self._known = statements.KNOWN.format(**names)
        self._get = statements.GET.format(**names)
        self._put = statements.PUT.format(**names)
        self._names = names

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

    def claim(
        self, *, model_id: str, text_hashes: Sequence[str], scope: Scope, owner: str
    ) -> set[str]:
        """Those of the texts that have no vector; the vectors of the others stay."""
        if not text_hashes:
            return set()
        # In a transaction of its own: whoever marks vectors after it has to see the use, and
        # whatever was marked before it is seen below.
        self._execute("noting a use of the cache", statements.BEGIN_USE, (scope.key, owner))
        absent = set(text_hashes)
        for hashes in batched(text_hashes, HASHES_PER_STATEMENT):
            values = {"model_id": model_id, "text_hashes": hashes}
            found = self._rows("looking for vectors", statements.CLAIM, values)
            absent.difference_update(row[0] for row in found)
        return absent

    def release(self, *, scope: Scope, owner: str) -> None:
        """End a use; one that another run has taken over stays."""
        self._execute("ending a use of the cache", statements.END_USE, (scope.key, owner))

    def list_uses(self) -> list[CacheUse]:
        """Uses that have not ended, the oldest first."""
        rows = self._rows(
            "looking who uses the cache", statements.LIST_USES, (LONGEST_USE_SECONDS,)
        )
        return [CacheUse(*row) for row in rows]

    def purge_model(self, *, model_id: str) -> int:
        """Forget all vectors of a model; how many there were."""
        return self._execute("purging vectors", statements.PURGE_MODEL, {"model_id": model_id})

    def purge_unused(
        self, *, text_hashes: Sequence[str] | None = None, min_age_seconds: float = 0.0
    ) -> int:
        """Forget vectors of texts that no document has; how many there were."""
        values = {
            "is_everything": text_hashes is None,
            "text_hashes": list(text_hashes or ()),
            "min_age_seconds": min_age_seconds,
        }
        return self._execute("purging vectors", statements.PURGE_UNUSED, values)

    def measure(self) -> list[CachedVectors]:
        """What there is under each key, by key."""
        measured: list[CachedVectors] = []
        for key in self._keys():
            values = {"key": key.key, "scope_key": key.scope_key}
            ((vectors, size_bytes, oldest_at, newest_at, used),) = self._rows(
                "measuring the cache", statements.MEASURE, values, before=statements.PLAIN
            )
            if vectors:
                measured.append(
                    CachedVectors(
                        model_id=key.model_id,
                        scope_key=key.scope_key,
                        vectors=vectors,
                        size_bytes=size_bytes,
                        oldest_at=oldest_at,
                        newest_at=newest_at,
                        used=used,
                        collections=key.collections,
                    )
                )
        return measured

    def size_bytes(self) -> int:
        """What the table takes on disk."""
        ((size,),) = self._rows("measuring the cache", statements.SIZE, ())
        return int(size)

    def expected_hits(self, *, model_id: str, collection: str, shares: bool) -> ExpectedHits:
        """How many texts of a collection's documents have a vector."""
        values = {"model_id": model_id, "collection": collection, "shares": shares}
        ((texts, cached),) = self._rows(
            "measuring the cache", statements.EXPECTED_HITS, values, before=statements.PLAIN
        )
        return ExpectedHits(texts=texts, cached=cached)

    def count_unused(self, *, min_age_seconds: float) -> list[CacheSlice]:
        """Vectors that no document uses, per key that has some, by key."""
        slices: list[CacheSlice] = []
        for key in self._keys():
            values = _unused_values(key, min_age_seconds=min_age_seconds)
            rows = self._rows(
                "looking for unused vectors",
                statements.COUNT_UNUSED,
                values,
                before=statements.PLAIN,
            )
            slices += [key.slice(*row) for row in rows]
        return [some for some in slices if some.vectors]

    def mark_unused(self, *, min_age_seconds: float) -> Iterator[int]:
        """Mark unused vectors batch by batch."""
        for key in self._keys():
            values = _unused_values(key, min_age_seconds=min_age_seconds)
            for found in self._found(statements.UNUSED, values):
                given = (key.key, [text_hash for (text_hash,) in found])
                yield self._execute(
                    "marking vectors", statements.MARK, given, before=statements.MARKING
                )

    def fence_marks(self) -> MarkFence:
        """Wait for marks that are being set, and name the uses that may not have seen them."""
        ((at,),) = self._rows(
            "looking who uses the cache", statements.NOW, (), before=statements.FENCE
        )
        # Those that begin between the two statements are waited for without need.
        return MarkFence(at, tuple(self.list_uses()))

    def delete_marked(self, *, min_age_seconds: float, marked_by: datetime) -> Iterator[CacheSlice]:
        """Delete marked vectors that nobody can need any more, batch by batch."""
        for key in self._keys():
            values = _unused_values(key, min_age_seconds=min_age_seconds)
            for found in self._found(statements.MARKED, {**values, "marked_by": marked_by}):
                hashes, marks = zip(*found, strict=True)
                given = (list(hashes), list(marks), key.key)
                (row,) = self._rows("deleting vectors", statements.DELETE_MARKED, given)
                yield key.slice(*row)

    def delete_model(self, *, model_id: str) -> Iterator[CacheSlice]:
        """Delete all vectors of a model batch by batch."""
        for key in self._keys():
            if not is_key_of(key.key, model_id):
                continue
            values = {"key": key.key, "limit": HASHES_PER_STATEMENT}
            vectors = HASHES_PER_STATEMENT
            while vectors == HASHES_PER_STATEMENT:
                ((vectors, size_bytes),) = self._rows(
                    "deleting vectors", statements.DELETE_SOME, values
                )
                yield key.slice(vectors, size_bytes)

    def _keys(self) -> list[_Key]:
        """Every key there is, in order."""
        models = {
            model: tuple(collections or ())
            for model, collections in self._rows("listing models", statements.MODELS, ())
        }
        keys = [row[0] for row in self._rows("listing models", statements.KEYS, ())]
        split = [(key, *split_cache_key(key, models=models)) for key in keys]
        return [
            _Key(key, model_id, scope_key, models.get(model_id, ()))
            for key, model_id, scope_key in split
        ]

    def _found(
        self, query: sql.SQL, values: Mapping[str, object]
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Vectors that a query finds in one snapshot, batch by batch."""
        batches = self._database.stream(
            "looking for unused vectors",
            query.format(**self._names),
            values,
            batch_size=HASHES_PER_STATEMENT,
            before=statements.PLAIN,
        )
        with closing(batches):
            yield from batches

    def _execute(
        self, doing: str, statement: sql.SQL, values: _Values, *, before: sql.SQL | None = None
    ) -> int:
        """How many rows a statement has changed."""
        return self._in_turn(doing, statement, values, before, lambda cursor: cursor.rowcount)

    def _rows(
        self, doing: str, query: sql.SQL, values: _Values, *, before: sql.SQL | None = None
    ) -> list[tuple[Any, ...]]:
        """What a statement returns."""
        return self._in_turn(doing, query, values, before, lambda cursor: cursor.fetchall())

    def _in_turn(
        self,
        doing: str,
        statement: sql.SQL,
        values: _Values,
        before: sql.SQL | None,
        take: Callable[[Cursor[tuple[Any, ...]]], T],
    ) -> T:
        """Execute a statement, in its transaction another one before it."""
        first = None if before is None else before.format(**self._names)
        composed = statement.format(**self._names)

        def work(connection: Connection) -> T:
            driver = psycopg_of(connection)
            if first is not None:
                driver.execute(first)
            return take(driver.execute(composed, values))

        run = self._database.run_alone if first is None else self._database.run
        return run(doing, work)

    def _read(
        self, doing: str, query: sql.Composed, model_id: str, hashes: list[str]
    ) -> list[tuple[Any, ...]]:
        def work(connection: Connection) -> list[tuple[Any, ...]]:
            return psycopg_of(connection).execute(query, (model_id, hashes), binary=True).fetchall()

        return self._database.run_alone(doing, work)

    def _write(self, model_id: str, hashes: list[str], vectors: list[bytes]) -> None:
        dimension = len(vectors[0]) // STORED.itemsize
        values = (model_id, dimension, hashes, vectors)
        self._database.run_alone(
            "keeping vectors", lambda it: psycopg_of(it).execute(self._put, values)
        )


def _unused_values(key: _Key, *, min_age_seconds: float) -> dict[str, object]:
    return {
        "key": key.key,
        "scope_key": key.scope_key,
        "min_age_seconds": min_age_seconds,
    }
