"""How fast each model was when it was last used, table ``embedding_rate``."""

from __future__ import annotations

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


class PostgresEmbeddingRates:
    """``EmbeddingRates`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "embedding_rate")

    def record(self, *, model_id: str, texts: int, seconds: float) -> None:
        """Keep the last measurement of a model; one of no time says nothing."""
        if seconds <= 0:
            return
        measured = {"texts_per_second": texts / seconds, "measured_at": func.now()}
        statement = (
            insert(self._table)
            .values(model_id=model_id, **measured)
            .on_conflict_do_update(index_elements=["model_id"], set_=measured)
        )
        self._database.run("recording an embedding rate", lambda it: it.execute(statement))

    def texts_per_second(self, *, model_id: str) -> float | None:
        """The last measurement; None where the model was never used."""
        columns = self._table.c
        query = select(columns.texts_per_second).where(columns.model_id == model_id)
        return self._database.run("reading an embedding rate", lambda it: it.scalar(query))
