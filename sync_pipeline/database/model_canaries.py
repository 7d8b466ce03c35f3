"""Canary vectors of models, table ``model_canary``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from sqlalchemy import Connection, Engine, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.canaries import Canaries, find_same_model
from sync_pipeline.core.point import Vector
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.embedding_cache import STORED
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

UNKNOWN_FOR_SECONDS: Final = 5.0
"""How long it is remembered that a model is not recorded: every search asks."""

_LOCK: Final = "sync_pipeline.model_canary"


class PostgresModelCanaries:
    """``ModelCanaries`` in PostgreSQL.

    Remembers under which id a model is known, which never changes, so that asking for it costs
    one statement per process; and for a few seconds that a model is not known.

    Args:
        engine: Of the state database.
        schema: Of the tables.
        retries: How often to try.
        seconds: A clock that only goes forward; tests replace it.
    """

    def __init__(
        self,
        engine: Engine,
        schema: str = DEFAULT_SCHEMA,
        *,
        retries: Retries | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "model_canary")
        self._cache = table(schema, "embedding_cache")
        self._generation = table(schema, "generation")
        self._lock = f"{_LOCK}:{schema}"
        self._known: dict[str, str] = {}
        self._unknown_at: dict[str, float] = {}
        self._seconds = seconds

    def known_as(self, *, model_id: str) -> str | None:
        """The id under which the vectors of a model are kept."""
        if model_id in self._known:
            return self._known[model_id]
        now = self._seconds()
        if now - self._unknown_at.get(model_id, float("-inf")) < UNKNOWN_FOR_SECONDS:
            return None
        known = self._database.run(
            "looking for a model", lambda it: self._known_as(it, model_id=model_id)
        )
        if known is None:
            self._unknown_at[model_id] = now
        else:
            self._known[model_id] = known
        return known

    def names_of(self, *, model_id: str) -> list[str]:
        """Other ids that were recognised as this model."""
        columns = self._table.c
        query = (
            select(columns.model_id)
            .where(columns.same_as == model_id)
            .distinct()
            .order_by(columns.model_id)
        )
        rows = self._database.read("looking for a model", query)
        return [row[0] for row in rows]

    def reference(self, *, model_id: str) -> Canaries:
        """Canary vectors as they were recorded; read-only arrays."""
        columns = self._table.c
        query = select(columns.text_hash, columns.vector).where(columns.model_id == model_id)
        rows = self._database.read("reading canary vectors", query)
        return {text_hash: _decoded(vector) for text_hash, vector in rows}

    def is_worth_comparing(self, *, model_id: str, dimension: int) -> bool:
        """Whether a model may be one that is known under another id."""
        if model_id in self._known:
            return False

        def work(connection: Connection) -> bool:
            known = self._known_as(connection, model_id=model_id)
            if known is not None:
                self._known[model_id] = known
                return False
            if self._has_its_own(connection, model_id=model_id):
                return False
            columns = self._table.c
            other = select(columns.model_id).where(
                columns.dimension == dimension, columns.same_as.is_(None)
            )
            return connection.scalar(other.limit(1)) is not None

        return self._database.run("looking for a model", work)

    def record(self, *, model_id: str, canaries: Canaries) -> str:
        """Record a model, as another one under a new name where their canaries agree."""

        def work(connection: Connection) -> str:
            # What is decided here depends on every model recorded before.
            lock = func.pg_advisory_xact_lock(func.hashtextextended(self._lock, 0))
            connection.execute(select(lock))
            known = self._known_as(connection, model_id=model_id)
            if known is not None:
                return known
            same_as = None
            if not self._has_its_own(connection, model_id=model_id):
                same_as = find_same_model(canaries, self._models(connection, like=canaries))
            rows = _rows(canaries, model_id=model_id, same_as=same_as)
            connection.execute(insert(self._table).values(rows))
            return same_as or model_id

        known = self._database.run("recording a model", work)
        self._known[model_id] = known
        return known

    def replace(self, *, model_id: str, canaries: Canaries) -> None:
        """Put these vectors in the place of those recorded, or beside them."""
        if not canaries:
            return

        def work(connection: Connection) -> None:
            columns = self._table.c
            same_as = connection.scalar(
                select(columns.same_as).where(columns.model_id == model_id).limit(1)
            )
            statement = insert(self._table).values(
                _rows(canaries, model_id=model_id, same_as=same_as)
            )
            given = statement.excluded
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["model_id", "text_hash"],
                    set_={
                        "vector": given.vector,
                        "dimension": given.dimension,
                        "recorded_at": func.now(),
                    },
                )
            )

        self._database.run("recording a model", work)

    def _known_as(self, connection: Connection, *, model_id: str) -> str | None:
        columns = self._table.c
        known = func.coalesce(columns.same_as, columns.model_id)
        query = select(known).where(columns.model_id == model_id).limit(1)
        found: str | None = connection.scalar(query)
        return found

    def _has_its_own(self, connection: Connection, *, model_id: str) -> bool:
        """Whether there are vectors or a collection under this id."""
        key = self._cache.c.model_id
        first, behind_last = f"{model_id} for ", f"{model_id} for!"
        kept = select(key).where(
            or_(key == model_id, and_(key >= first, key < behind_last))  # as `is_key_of`
        )
        built = select(self._generation.c.model_id).where(self._generation.c.model_id == model_id)
        return any(connection.scalar(query.limit(1)) is not None for query in (kept, built))

    def _models(self, connection: Connection, *, like: Canaries) -> Mapping[str, Canaries]:
        """Canaries of the models that stand for themselves and have vectors as long."""
        columns = self._table.c
        (dimension,) = {len(vector) for vector in like.values()}
        query = select(columns.model_id, columns.text_hash, columns.vector).where(
            columns.dimension == dimension, columns.same_as.is_(None)
        )
        models: dict[str, dict[str, Vector]] = {}
        for model_id, text_hash, vector in connection.execute(query):
            models.setdefault(model_id, {})[text_hash] = _decoded(vector)
        return models


def _rows(canaries: Canaries, *, model_id: str, same_as: str | None) -> list[dict[str, object]]:
    return [
        {
            "model_id": model_id,
            "text_hash": text_hash,
            "vector": vector.astype(STORED, copy=False).tobytes(),
            "dimension": len(vector),
            "same_as": same_as,
        }
        for text_hash, vector in sorted(canaries.items())
    ]


def _decoded(vector: bytes) -> Vector:
    return np.frombuffer(vector, dtype=STORED)
