"""Which texts are in which batch, tables ``embedding_batch`` and ``embedding_batch_text``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipeline.core.ports import OpenBatch
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import KEY, table

_FORGOTTEN_AFTER: Final = timedelta(days=14)
"""A batch is over after a day; one that nobody collects for so long had texts that are no more."""


class PostgresEmbeddingBatches:
    """``EmbeddingBatches`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._batch = table(schema, "embedding_batch")
        self._text = table(schema, "embedding_batch_text")

    def plan(self, *, name: str, cache_key: str, text_hashes: Sequence[str]) -> set[str]:
        """Keep texts for a batch; an attempt that was thought lost finds its own again."""
        texts = self._text.c
        # Two that plan the same texts wait for each other, without deadlock.
        rows = [
            {"cache_key": cache_key, "text_hash": text_hash, "batch": name}
            for text_hash in sorted(text_hashes)
        ]

        def work(connection: Connection) -> set[str]:
            self._forget(connection)
            connection.execute(insert(self._batch).values(name=name).on_conflict_do_nothing())
            connection.execute(insert(self._text).on_conflict_do_nothing(), rows)
            planned = set(connection.scalars(select(texts.text_hash).where(texts.batch == name)))
            if not planned:
                connection.execute(delete(self._batch).where(self._batch.c.name == name))
            return planned

        return self._database.run("planning a batch", work) if rows else set()

    def note(self, *, name: str, batch_id: str) -> None:
        """Note what the service calls a batch."""
        statement = update(self._batch).where(self._batch.c.name == name).values(batch_id=batch_id)
        self._database.run("noting a batch", lambda it: it.execute(statement))

    def list_open(self, *, cache_key: str, text_hashes: Sequence[str]) -> list[OpenBatch]:
        """Batches that have any of the texts, with all of theirs."""
        batches, texts = self._batch.c, self._text.c
        asked = select(texts.batch).where(
            texts.cache_key == cache_key,
            texts.text_hash == func.any(bindparam("asked", type_=ARRAY(KEY))),
        )
        age = func.extract("epoch", func.clock_timestamp() - batches.planned_at)
        query = (
            select(
                batches.name,
                batches.batch_id,
                age,
                func.array_agg(texts.text_hash, type_=ARRAY(KEY)),
            )
            .join(self._text, texts.batch == batches.name)
            .where(batches.name.in_(asked))
            .group_by(batches.name)
            .order_by(batches.planned_at, batches.name)
        )
        found = self._database.read("looking for batches", query, {"asked": list(text_hashes)})
        return [
            OpenBatch(
                name=name,
                batch_id=batch_id,
                text_hashes=frozenset(all_hashes),
                age_seconds=float(age_seconds),
            )
            for name, batch_id, age_seconds, all_hashes in found
        ]

    def close(self, *, name: str) -> None:
        """Forget a batch and its texts."""

        def work(connection: Connection) -> None:
            connection.execute(delete(self._text).where(self._text.c.batch == name))
            connection.execute(delete(self._batch).where(self._batch.c.name == name))

        self._database.run("closing a batch", work)

    def _forget(self, connection: Connection) -> None:
        """Those that nobody collects any more."""
        batches = self._batch.c
        old = select(batches.name).where(
            batches.planned_at < func.now() - literal(_FORGOTTEN_AFTER)
        )
        connection.execute(delete(self._text).where(self._text.c.batch.in_(old)))
        connection.execute(delete(self._batch).where(batches.name.in_(old)))
