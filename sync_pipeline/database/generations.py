"""Physical collections and which one an alias serves, table ``generation``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One recorded collection."""

    collection: str
    alias: str
    description: str
    is_active: bool
    created_at: datetime


class PostgresGenerations:
    """``Generations`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "generation")

    def record(self, spec: CollectionSpec, *, is_active: bool) -> None:
        """Note a collection; an active one makes the others of its alias inactive.

        Writes nothing where that is recorded already.
        """
        columns = self._table.c
        note = (
            insert(self._table)
            .values(
                collection=spec.collection,
                alias=spec.alias,
                model_id=spec.model_id,
                dimension=spec.dimension,
                views=list(spec.views),
                sparse_id=spec.sparse_id,
                description=spec.describe(),
                is_active=is_active,
            )
            .on_conflict_do_update(
                index_elements=["collection"],
                set_={"is_active": is_active},
                where=columns.is_active != is_active,
            )
        )
        retire = (
            update(self._table)
            .where(
                columns.alias == spec.alias,
                columns.collection != spec.collection,
                columns.is_active,
            )
            .values(is_active=False)
        )

        def work(connection: Connection) -> None:
            if is_active:
                connection.execute(retire)
            connection.execute(note)

        self._database.run("recording a collection", work)

    def describe(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` says it, if known."""
        columns = self._table.c
        query = select(columns.description).where(columns.collection == collection)
        return self._database.run("looking up a collection", lambda it: it.scalar(query))

    def list_all(self) -> list[Generation]:
        """Every recorded collection, oldest first."""
        columns = self._table.c
        query = select(
            columns.collection,
            columns.alias,
            columns.description,
            columns.is_active,
            columns.created_at,
        ).order_by(columns.created_at, columns.collection)
        rows = self._database.run(
            "listing collections", lambda it: it.execute(query).mappings().all()
        )
        return [Generation(**row) for row in rows]
