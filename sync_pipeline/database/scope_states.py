"""Leases and the last successful syncs.

Tables ``scope_lease``, ``scope_entity_state`` and its sums ``scope_state``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
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

from sync_pipeline.core.errors import ScopeBusyError, SupersededError
from sync_pipeline.core.ports import (
    MAX_LEASE_SECONDS,
    EntityResult,
    EntitySnapshot,
    Fence,
    LeaseHolder,
    ScopeSnapshot,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


class PostgresScopeStates:
    """``ScopeStates`` in PostgreSQL.

    ``last_success_at`` is when a sync was recorded, by the database's clock;
    ``last_full_at`` is the snapshot of the last full one: what it left unchanged
    was last seen then.
    """

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._state = table(schema, "scope_state")
        self._entity = table(schema, "scope_entity_state")
        self._lease = table(schema, "scope_lease")
        # Made once: every search asks for its scopes, and making it takes as long as the answer.
        self._of_collection = self._select_entities()
        self._of_scopes = self._of_collection.where(
            self._entity.c.scope_key == any_(bindparam("keys", type_=ARRAY(Text)))
        )

    def get(self, *, collection: str, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""
        states = self._select(collection, self._state.c.scope_key == scope.key)
        return states[0] if states else None

    def list_all(self, *, collection: str) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""
        return self._select(collection)

    def list_entities(
        self, *, collection: str, scopes: Sequence[Scope] | None = None
    ) -> list[EntitySnapshot]:
        """What is recorded of each entity, by scope key and name."""
        if scopes is None:
            return self._entities(self._of_collection, collection=collection)
        keys = [scope.key for scope in scopes]
        return self._entities(self._of_scopes, collection=collection, keys=keys)

    def note_writing(
        self, fence: Fence, *, collection: str, entity_types: Sequence[str], over_others: bool
    ) -> None:
        """Note that a run writes the index: until it succeeds, our record may be wrong about it."""
        columns = self._entity.c
        note = columns.writing_token
        statement = (
            update(self._entity)
            .where(
                columns.collection == collection,
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
        collection: str,
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
                "collection": collection,
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
            connection.execute(self._sum_up(collection, [scope_key]))

        self._database.run("recording a successful sync", work)

    def mark_vanished(
        self, *, collection: str, scope_keys: Sequence[str], entity_types: Sequence[str]
    ) -> list[EntitySnapshot]:
        """Note which recorded scopes have no rows of these entities any more."""
        columns = self._entity.c
        is_gone = columns.scope_key == _one_of(scope_keys)
        is_marked = columns.vanished_at.is_not(None)
        is_meant = columns.entity_type == _one_of(entity_types)
        statement = (
            update(self._entity)
            .where(columns.collection == collection, is_meant, is_gone != is_marked)
            .values(vanished_at=case((is_gone, func.now()), else_=null()), updated_at=func.now())
            .returning(columns.scope_key)
        )

        def work(connection: Connection) -> None:
            changed = sorted(set(connection.scalars(statement)))
            if changed:
                connection.execute(self._sum_up(collection, changed))

        self._database.run("noting vanished scopes", work)
        query = self._of_collection.where(is_meant, is_marked)
        return self._entities(query, collection=collection)

    def forget(
        self, *, collection: str, scope: Scope, entity_types: Sequence[str] | None = None
    ) -> None:
        """Remove the record of a scope, or of entities of it; its lease keeps its token."""
        state, entity = self._state.c, self._entity.c
        statement = delete(self._entity).where(
            entity.collection == collection, entity.scope_key == scope.key
        )
        if entity_types is not None:
            statement = statement.where(entity.entity_type == _one_of(entity_types))
        is_recorded = exists().where(entity.collection == collection, entity.scope_key == scope.key)

        def work(connection: Connection) -> None:
            connection.execute(statement)
            connection.execute(self._sum_up(collection, [scope.key]))
            connection.execute(
                delete(self._state).where(
                    state.collection == collection, state.scope_key == scope.key, ~is_recorded
                )
            )

        self._database.run("forgetting a scope", work)

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        """Who holds the lease of a scope now, by the database's clock."""
        owner, seconds_left = self._holder(scope.key)
        return LeaseHolder(owner, seconds_left) if seconds_left else None

    def acquire(self, *, scope: Scope, owner: str, ttl_seconds: float) -> Fence:
        """Take or renew the lease of a scope, by the database's clock."""
        lease = self._lease.c
        expires_at = _after(ttl_seconds)
        statement = (
            insert(self._lease)
            .values(scope_key=scope.key, owner=owner, token=1, expires_at=expires_at)
            .on_conflict_do_update(
                index_elements=["scope_key"],
                set_={
                    "owner": owner,
                    "token": lease.token + case((lease.owner == owner, 0), else_=1),
                    "expires_at": expires_at,
                },
                where=or_(
                    lease.owner == owner,
                    lease.expires_at <= func.clock_timestamp(),
                    lease.expires_at > _after(MAX_LEASE_SECONDS),
                ),
            )
            .returning(lease.token)
        )
        token = self._database.run("taking a lease", lambda it: it.scalar(statement))
        if token is None:
            holder, seconds_left = self._holder(scope.key)
            raise ScopeBusyError(scope_key=scope.key, owner=holder, seconds_left=seconds_left)
        return Fence(scope_key=scope.key, owner=owner, token=token)

    def check(self, fence: Fence, *, ttl_seconds: float) -> None:
        """Renew a lease before a write."""
        statement = (
            update(self._lease)
            .where(self._is_held(fence))
            .values(expires_at=_after(ttl_seconds))
            .returning(self._lease.c.token)
        )
        token = self._database.run("renewing a lease", lambda it: it.scalar(statement))
        if token is None:
            holder, _ = self._holder(fence.scope_key)
            raise SupersededError(
                scope_key=fence.scope_key, detail=f"its lease went from {fence.owner} to {holder}"
            )

    def release(self, fence: Fence) -> None:
        """Give a lease back; the row stays, so that the token can only rise."""
        statement = (
            update(self._lease)
            .where(self._is_held(fence))
            .values(expires_at=func.clock_timestamp())
        )
        self._database.run("giving a lease back", lambda it: it.execute(statement))

    def release_dead(self, *, owner: str) -> int:
        """End the leases of an owner that is known to be dead; how many it held."""
        lease = self._lease.c
        now = func.clock_timestamp()
        statement = (
            update(self._lease)
            .where(lease.owner == owner, lease.expires_at > now)
            .values(expires_at=now)
        )
        return self._database.run(
            "ending the lease of a dead run", lambda it: it.execute(statement).rowcount
        )

    def _is_held(self, fence: Fence) -> ColumnElement[bool]:
        lease = self._lease.c
        return (
            (lease.scope_key == fence.scope_key)
            & (lease.owner == fence.owner)
            & (lease.token == fence.token)
        )

    def _holder(self, scope_key: str) -> tuple[str, float]:
        """Who has a lease, and for how many seconds more."""
        lease = self._lease.c
        left = func.extract("epoch", lease.expires_at - func.clock_timestamp())
        shown = case((left > MAX_LEASE_SECONDS, 0), else_=func.greatest(left, 0))
        query = select(lease.owner, shown).where(lease.scope_key == scope_key)
        holder = self._database.look_up(
            "looking at a lease", lambda it: it.execute(query).first(), nothing=None
        )
        return ("nobody", 0.0) if holder is None else (holder[0], float(holder[1]))

    def _sum_up(self, collection: str, scope_keys: Sequence[str]) -> Insert:
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
            .where(columns.collection == collection, columns.scope_key == _one_of(scope_keys))
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
            .where(columns.collection == bindparam("collection"))
            .order_by(columns.scope_key, columns.entity_type)
        )

    def _entities(
        self, query: Select[*tuple[Any, ...]], **parameters: object
    ) -> list[EntitySnapshot]:
        rows = self._database.read_named("reading recorded entities", query, parameters)
        return [EntitySnapshot(**row) for row in rows]

    def _select(self, collection: str, *conditions: ColumnElement[bool]) -> list[ScopeSnapshot]:
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
            .where(columns.collection == collection, *conditions)
            .order_by(columns.scope_key)
        )
        rows = self._database.read_named("reading recorded scopes", query)
        return [ScopeSnapshot(**row) for row in rows]


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + literal(timedelta(seconds=seconds))


def _one_of(values: Sequence[str]) -> CollectionAggregate[bool]:
    return any_(literal(list(values), ARRAY(Text)))


def _unless_unknown(column: ColumnElement[Any], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """An aggregate, NULL where the column is NULL in any row."""
    return case((func.bool_and(column.is_not(None)), value))
