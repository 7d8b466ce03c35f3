"""Physical collections, what each was made with and when it served, table ``generation``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from sqlalchemy import Connection, Engine, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import GenerationRecord
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


class PostgresGenerations:
    """``Generations`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._table = table(schema, "generation")

    def record(self, spec: CollectionSpec, *, recipe: Mapping[str, object]) -> None:
        """Note a collection and its recipe; writes nothing where that is recorded already."""
        kept = dict(recipe)
        note = insert(self._table).values(
            collection=spec.collection,
            alias=spec.alias,
            model_id=spec.model_id,
            dimension=spec.dimension,
            views=list(spec.views),
            sparse_id=spec.sparse_id,
            description=spec.describe(),
            is_active=False,
            recipe=kept,
            view_models={view.name: view.model_id for view in spec.special} or null(),
        )
        note = note.on_conflict_do_update(
            index_elements=["collection"],
            set_={"recipe": note.excluded.recipe},
            where=self._table.c.recipe.is_distinct_from(note.excluded.recipe),
        )
        self._database.run("recording a collection", lambda it: it.execute(note))

    def note_serving(self, *, alias: str, collection: str) -> None:
        """Note that the alias points at a collection: the one before it is retired now."""
        columns = self._table.c
        is_of_alias = columns.alias == alias
        serve = (
            update(self._table)
            .where(
                is_of_alias,
                columns.collection == collection,
                or_(~columns.is_active, columns.served_at.is_(None)),
            )
            .values(
                is_active=True,
                served_at=func.coalesce(columns.served_at, func.now()),
                retired_at=null(),
                refusal=null(),
            )
        )
        retire = (
            update(self._table)
            .where(is_of_alias, columns.collection != collection, columns.is_active)
            .values(is_active=False, retired_at=func.now())
        )

        def work(connection: Connection) -> None:
            connection.execute(retire)
            connection.execute(serve)

        self._database.run("recording which collection serves", work)

    def note_refusal(self, *, collection: str, reason: str | None) -> None:
        """Note why a collection did not go live."""
        columns = self._table.c
        note = (
            update(self._table)
            .where(columns.collection == collection, columns.refusal.is_distinct_from(reason))
            .values(refusal=reason)
        )
        self._database.run("recording why a collection is not live", lambda it: it.execute(note))

    def forget(self, *, collection: str) -> None:
        """Remove a collection's record."""
        statement = delete(self._table).where(self._table.c.collection == collection)
        self._database.run("forgetting a collection", lambda it: it.execute(statement))

    def describe(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` says it, if known."""
        columns = self._table.c
        query = select(columns.description).where(columns.collection == collection)
        return self._database.run("looking up a collection", lambda it: it.scalar(query))

    def list_all(self, *, alias: str) -> list[GenerationRecord]:
        """Those of one alias, oldest first."""
        columns = self._table.c
        query = (
            select(*(columns[field.name] for field in fields(GenerationRecord)))
            .where(columns.alias == alias)
            .order_by(columns.created_at, columns.collection)
        )
        rows = self._database.read_named("listing collections", query)
        return [
            GenerationRecord(
                **{
                    **row,
                    "views": tuple(row["views"]),
                    "view_models": row["view_models"] or {},
                }
            )
            for row in rows
        ]
