"""The last successful syncs: tables ``scope_entity_state`` and its sums, ``scope_state``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Text,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert, aggregate_order_by, insert
from sqlalchemy.sql.elements import CollectionAggregate

from sync_pipeline.core.ports import (
    EntityResult,
    EntitySnapshot,
    Fence,
    ScopeSnapshot,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


class PostgresScopeStates:
    """``ScopeStates`` of one collection in PostgreSQL.

    ``last_success_at`` is when a sync was recorded, by the database's clock;
    ``last_full_at`` is the snapshot of the last full one: what it left unchanged
    was last seen then.
    """

    def __init__(
        self,
        engine: Engine,
        schema: str = DEFAULT_SCHEMA,
        *,
        collection: str,
        retries: Retries | None = None,
    ) -> None:
        self._collection = collection
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._state = table(schema, "scope_state")
        self._entity = table(schema, "scope_entity_state")
        # Made once: every search asks for its scopes, and making it takes as long as the answer.
        self._of_all = self._select_entities()
        self._of_scopes = self._of_all.where(
            self._entity.c.scope_key == any_(bindparam("keys", type_=ARRAY(Text)))
        )

    def get(self, *, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""
        states = self._select(self._state.c.scope_key == scope.key)
        return states[0] if states else None

    def list_all(self) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""
        return self._select()

    def list_entities(self, *, scopes: Sequence[Scope] | None = None) -> list[EntitySnapshot]:
        """What is recorded of each entity, by scope key and name."""
        if scopes is None:
            return self._entities(self._of_all)
        keys = [scope.key for scope in scopes]
        return self._entities(self._of_scopes, keys=keys)

    def note_writing(self, fence: Fence, *, entity_types: Sequence[str], over_others: bool) -> None:
        """Note that a run writes the index: until it succeeds, our record may be wrong about it."""
        columns = self._entity.c
        note = columns.writing_token
        statement = (
            update(self._entity)
            .where(
                columns.collection == self._collection,
                columns.scope_key == fence.scope_key,
                columns.entity_type == _one_of(entity_types),
                note.is_distinct_from(fence.token) if over_others else note.is_(None),
            )
            .values(writing_token=fence.token)
        )
        self._database.run("noting that a scope is written", lambda it: it.execute(statement))

    def record_success(
        self,
        fence: Fence,
        *,
        entities: Sequence[EntityResult],
        snapshot_at: datetime,
        is_full: bool,
    ) -> None:
        """Record that the index was measured to equal the snapshot, of these entities."""
        if not entities:
            return
        scope_key = fence.scope_key
        common = {
            "source_snapshot_at": snapshot_at,
            "last_success_at": func.now(),
            "updated_at": func.now(),
        }
        rows = [
            {
                "collection": self._collection,
                "scope_key": scope_key,
                "entity_type": entity.entity_type,
                "rows": entity.rows,
                "documents": entity.documents,
                "quarantined": entity.quarantined,
                "failed": entity.failed,
                "digest": entity.digest,
                **(
                    {"feed_epoch": entity.feed_epoch, "last_full_at": snapshot_at}
                    if is_full
                    else {}
                ),
                **common,
            }
            # Two writers lock common rows in the same order.
            for entity in sorted(entities, key=lambda entity: entity.entity_type)
        ]
        statement = insert(self._entity).values(rows)
        columns, keys = self._entity.c, ("collection", "scope_key", "entity_type")
        note = columns.writing_token
        statement = statement.on_conflict_do_update(
            index_elements=keys,
            set_={
                **{name: statement.excluded[name] for name in rows[0] if name not in keys},
                "writing_token": case((note != fence.token, note)),
            },
            where=or_(
                columns.source_snapshot_at.is_(None), columns.source_snapshot_at <= snapshot_at
            ),
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)
            connection.execute(self._sum_up([scope_key]))

        self._database.run("recording a successful sync", work)

    def mark_vanished(
        self, *, scope_keys: Sequence[str], entity_types: Sequence[str]
    ) -> list[EntitySnapshot]:
        """Note which recorded scopes have no rows of these entities any more."""
        columns = self._entity.c
        is_gone = columns.scope_key == _one_of(scope_keys)
        is_marked = columns.vanished_at.is_not(None)
        is_meant = columns.entity_type == _one_of(entity_types)
        statement = (
            update(self._entity)
            .where(columns.collection == self._collection, is_meant, is_gone != is_marked)
            .values(vanished_at=case((is_gone, func.now()), else_=null()), updated_at=func.now())
            .returning(columns.scope_key)
        )

        def work(connection: Connection) -> None:
            changed = sorted(set(connection.scalars(statement)))
            if changed:
                connection.execute(self._sum_up(changed))

        self._database.run("noting vanished scopes", work)
        query = self._of_all.where(is_meant, is_marked)
        return self._entities(query)

    def forget(self, *, scope: Scope, entity_types: Sequence[str] | None = None) -> None:
        """Remove the record of a scope, or of entities of it; its lease keeps its token."""
        state, entity = self._state.c, self._entity.c
        statement = delete(self._entity).where(
            entity.collection == self._collection, entity.scope_key == scope.key
        )
        if entity_types is not None:
            statement = statement.where(entity.entity_type == _one_of(entity_types))
        is_recorded = exists().where(
            entity.collection == self._collection, entity.scope_key == scope.key
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)
            connection.execute(self._sum_up([scope.key]))
            connection.execute(
                delete(self._state).where(
                    state.collection == self._collection, state.scope_key == scope.key, ~is_recorded
                )
            )

        self._database.run("forgetting a scope", work)

    def clear(self) -> None:
        """Remove the record of every scope of the collection."""
        statements = [
            delete(recorded).where(recorded.c.collection == self._collection)
            for recorded in (self._entity, self._state)
        ]

        def work(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        self._database.run("forgetting the scopes of a dropped collection", work)

    def _sum_up(self, scope_keys: Sequence[str]) -> Insert:
        """Write what the entities of scopes come to into ``scope_state``."""
        columns = self._entity.c
        values: dict[str, ColumnElement[Any]] = {
            "collection": columns.collection,
            "scope_key": columns.scope_key,
            **{
                name: func.sum(columns[name]).label(name)
                for name in ("rows", "documents", "quarantined", "failed")
            },
            "digest": _unless_unknown(
                columns.digest,
                func.string_agg(
                    columns.digest, aggregate_order_by(literal(" "), columns.entity_type)
                ),
            ),
            **{
                name: _unless_unknown(columns[name], func.min(columns[name]))
                for name in ("source_snapshot_at", "last_success_at", "last_full_at")
            },
            "vanished_at": _unless_unknown(columns.vanished_at, func.max(columns.vanished_at)),
            "updated_at": func.now(),
        }
        sums = (
            select(*(value.label(name) for name, value in values.items()))
            .where(columns.collection == self._collection, columns.scope_key == _one_of(scope_keys))
            .group_by(columns.collection, columns.scope_key)
        )
        statement = insert(self._state).from_select(list(values), sums)
        return statement.on_conflict_do_update(
            index_elements=["collection", "scope_key"],
            set_={name: statement.excluded[name] for name in list(values)[2:]},
        )

    def _select_entities(self) -> Select[*tuple[Any, ...]]:
        columns = self._entity.c
        return (
            select(*(columns[column.name] for column in fields(EntitySnapshot)))
            .where(columns.collection == self._collection)
            .order_by(columns.scope_key, columns.entity_type)
        )

    def _entities(
        self, query: Select[*tuple[Any, ...]], **parameters: object
    ) -> list[EntitySnapshot]:
        rows = self._database.read_named("reading recorded entities", query, parameters)
        return [EntitySnapshot(**row) for row in rows]

    def _select(self, *conditions: ColumnElement[bool]) -> list[ScopeSnapshot]:
        columns = self._state.c
        query = (
            select(
                columns.scope_key,
                columns.rows,
                columns.documents,
                columns.quarantined,
                columns.failed,
                columns.digest,
                columns.source_snapshot_at,
                columns.last_success_at,
                columns.last_full_at,
                columns.vanished_at,
            )
            .where(columns.collection == self._collection, *conditions)
            .order_by(columns.scope_key)
        )
        rows = self._database.read_named("reading recorded scopes", query)
        return [ScopeSnapshot(**row) for row in rows]


def _one_of(values: Sequence[str]) -> CollectionAggregate[bool]:
    return any_(literal(list(values), ARRAY(Text)))


def _unless_unknown(column: ColumnElement[Any], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """An aggregate, NULL where the column is NULL in any row."""
    return case((func.bool_and(column.is_not(None)), value))
