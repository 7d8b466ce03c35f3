"""Reading the configured tables from PostgreSQL, in one snapshot, streamed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.batching import batched
from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.doubles import Doubled
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.ports import Weakness
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, why_not_a_tenant_id
from sync_pipeline.core.undecodable import is_undecodable
from sync_pipeline.sources.check import find_mistakes
from sync_pipeline.sources.digests import (
    NO_ROWS,
    digests_by_owner,
    digests_of_global,
    fold_digests,
    unusable_owners,
)
from sync_pipeline.sources.encoding import fetch, holdable, stream
from sync_pipeline.sources.errors import describe_url, reason_of, source_errors
from sync_pipeline.sources.layout import list_table_names, read_tables
from sync_pipeline.sources.locks import READER_IDLE, TableHold
from sync_pipeline.sources.statements import TableStatements

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    # A policy that would hide rows is an error instead of a smaller result.
    "row_security": "off",
    # The engine may take its time between two batches, and all batches together theirs.
    "idle_in_transaction_session_timeout": READER_IDLE,
    "transaction_timeout": "0",
    # Every row is read, so plans that are quick to start are not worth it.
    "cursor_tuple_fraction": "1",
    # Measured: compiling takes longer than a query over the few rows of one tenant.
    "jit": "off",
    # Values as text must not depend on the role or the client.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
}

IDS_PER_STATEMENT: Final = 5_000
"""Most ids that one query is given."""

# The join leaves out what an older server does not know (transaction_timeout is of version 17).
# After the locks this is the first statement of its transaction, so it takes the snapshot.
_OPEN: Final = sa.text("""
SELECT statement_timestamp() AS taken_at, count(set_config(name, wanted ->> name, true))
FROM (SELECT CAST(:wanted AS jsonb) AS wanted) AS settings, pg_settings
WHERE wanted ? name
""")


class PostgresSnapshot:
    """The source as of one instant, inside one open transaction (``core.ports.SourceSnapshot``)."""

    def __init__(self, connection: sa.Connection, *, database: str, taken_at: datetime) -> None:
        self.taken_at = taken_at
        """When the statement that took the snapshot reached the server: never after it."""
        self._connection = connection
        self._database = database
        self._statements: dict[Entity, TableStatements] = {}
        self._conditions: dict[tuple[Entity, Scope], sa.ColumnElement[bool] | None] = {}
        self._unusable: dict[Entity, list[str]] = {}
        """Per entity the texts in its tenant column that cannot be tenant ids."""

    def find_doubled(
        self, *, entity: Entity, scope: Scope, ids: Sequence[str] | None = None
    ) -> dict[str, Doubled]:
        """Find ids that are not unique, unless a unique index rules that out."""
        with source_errors(self._database):
            statements = self._of(entity)
            if statements.has_unique_ids or self._condition(entity, scope=scope) is None:
                return {}
            held = None if ids is None else holdable(self._connection, ids)
            rows = [
                row
                for chosen in _chosen(held)
                for row in fetch(self._connection, statements.doubled(scope=scope, ids=chosen))
            ]
        counts: dict[str, Counter[str]] = {}
        for row_id, tenant, count in rows:
            key = GLOBAL_KEY if scope.is_global else tenant
            if scope.is_global or why_not_a_tenant_id(tenant) is None:
                counts.setdefault(row_id, Counter())[key] += count
        return {
            row_id: Doubled(dict(by_scope))
            for row_id, by_scope in counts.items()
            if by_scope.total() > 1
        }

    def has_rows(self, *, entity: Entity, scope: Scope) -> bool:
        """Whether the scope has a row; an index on the tenant column serves."""
        with source_errors(self._database):
            condition = self._condition(entity, scope=scope)
            if condition is None:
                return False
            statement = self._of(entity).any_row(condition)
            return self._connection.execute(statement).first() is not None

    def iter_rows(
        self,
        *,
        entity: Entity,
        scope: Scope,
        ids: Sequence[str] | None = None,
        batch_size: int = 4096,
    ) -> Iterator[list[Sequence[object]]]:
        """Yield the scope's rows in batches, through a cursor on the server."""
        with source_errors(self._database):
            condition = self._condition(entity, scope=scope)
            if condition is None:
                return
            statements = self._of(entity)
            held = None if ids is None else holdable(self._connection, ids)
            for chosen in _chosen(held):
                only = condition if chosen is None else sa.and_(condition, statements.among(chosen))
                statement = statements.rows(only, now=self.taken_at, is_ranked=True)
                for batch in self._stream(statement, batch_size=batch_size):
                    yield list[Sequence[object]](batch)

    def list_owners(self, *, entity: Entity, row_id: str) -> list[Scope]:
        """Scopes with which ``iter_rows`` yields a row of this id."""
        with source_errors(self._database):
            if not holdable(self._connection, [row_id]):
                return []
            owners = fetch(self._connection, self._of(entity).owners(row_id))
        keys = {GLOBAL_KEY if is_global else _owner_key(tenant) for is_global, tenant, _ in owners}
        return sorted(map(Scope.from_key, keys), key=lambda scope: (not scope.is_global, scope.key))

    def iter_ids(
        self, *, entity: Entity, scope: Scope, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        """Yield the ids of the rows that the scope owns."""
        with source_errors(self._database):
            if self._condition(entity, scope=scope) is not None:
                statement = self._of(entity).ids(scope=scope)
                for batch in self._stream(statement, batch_size=batch_size):
                    yield [row_id for (row_id,) in batch if not is_undecodable(row_id)]

    def iter_changed_ids(
        self, *, entity: Entity, scope: Scope, since: datetime, batch_size: int = 50_000
    ) -> Iterator[list[str]]:
        """Yield ids of rows changed at ``since`` or later, by their own time column."""
        if entity.updated_at is None:
            raise ValueError(f"entity {entity.name!r} has no column that says when rows changed")
        with source_errors(self._database):
            condition = self._condition(entity, scope=scope)
            if condition is not None:
                self._measure_times(entity, condition)
                statement = self._of(entity).changed_ids(condition, since=since)
                for batch in self._stream(statement, batch_size=batch_size):
                    yield [
                        row_id
                        for (row_id,) in batch
                        if row_id is not None and not is_undecodable(row_id)
                    ]

    def digest(self, *, entities: Sequence[Entity], scope: Scope) -> dict[str, EntityDigest]:
        """Survey the scope as this snapshot sees it; an index on the tenant column serves."""
        digests: dict[str, EntityDigest] = {}
        with source_errors(self._database):
            for entity in entities:
                statement = self._survey(entity, scope=scope)
                if statement is not None:
                    rows = fetch(self._connection, statement)
                    if scope.is_global:
                        self._unusable[entity] = unusable_owners(rows)
                    digests[entity.name] = fold_digests(rows).get(scope.key, NO_ROWS)
        return {name: digest for name, digest in digests.items() if digest.rows}

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        """Digest every scope as this snapshot sees it."""
        self.check_schema(entities)
        digests: dict[str, dict[str, EntityDigest]] = {}
        with source_errors(self._database):
            for entity in entities:
                rows = fetch(
                    self._connection,
                    digests_by_owner(self._of(entity), sa.true(), now=self.taken_at),
                )
                for key, digest in fold_digests(rows).items():
                    digests.setdefault(key, {})[entity.name] = digest
        return digests

    def check_schema(self, entities: Sequence[Entity]) -> None:
        """Compare entities with the catalogue, once, and keep what was found for the queries.

        Raises:
            SourceSchemaError: naming every mistake.
        """
        unknown = [entity for entity in entities if entity not in self._statements]
        if not unknown:
            return
        with source_errors(self._database):
            entity_tables = {entity.table for entity in unknown}
            tables = read_tables(self._connection, tables=entity_tables)
            names = list_table_names(self._connection) if entity_tables - tables.keys() else []
            mistakes = find_mistakes(unknown, tables=tables, table_names=names)
            self._refuse(mistakes)
            made = {
                entity: TableStatements(entity=entity, table=tables[entity.table])
                for entity in unknown
            }
            self._refuse([*chain.from_iterable(map(self._condition_mistakes, made.values()))])
            self._statements |= made

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        """Rows per scope key, global always among them."""
        counts = Counter({GLOBAL_KEY: 0})
        for scope_counts in self.count_by_entity(entities).values():
            counts.update(scope_counts)
        return dict(counts)

    def count_by_entity(self, entities: Sequence[Entity]) -> dict[str, dict[str, int]]:
        """Rows per entity and scope key."""
        # All at once, so that every mistake is named, not only the first table's.
        self.check_schema(entities)
        counts: dict[str, dict[str, int]] = {}
        with source_errors(self._database):
            for entity in entities:
                scope_counts: Counter[str] = Counter()
                for is_global, tenant, rows in fetch(self._connection, self._of(entity).owners()):
                    scope_counts[GLOBAL_KEY if is_global else _owner_key(tenant)] += rows
                counts[entity.name] = dict(scope_counts)
        return counts

    def newest_by_scope(self, entities: Sequence[Entity]) -> dict[str, float]:
        """The newest time of change of each scope, of the entities that have one."""
        self.check_schema(entities)
        newest: dict[str, float] = {}
        with source_errors(self._database):
            for entity in entities:
                if entity.updated_at is None:
                    continue
                statement = self._of(entity).newest_by_owner()
                for is_global, tenant, seconds in fetch(self._connection, statement):
                    key = GLOBAL_KEY if is_global else _owner_key(tenant)
                    newest[key] = max(seconds, newest.get(key, seconds))
        return newest

    def measure_times(self, entities: Sequence[Entity]) -> None:
        """Look at the newest times of change of whole tables, where their type leaves them open.

        Raises:
            SourceSchemaError: a column does not hold what the settings say.
        """
        self.check_schema(entities)
        with source_errors(self._database):
            for entity in entities:
                if entity.updated_at is not None:
                    self._measure_times(entity, sa.true())

    def weaknesses(self, entities: Sequence[Entity]) -> list[Weakness]:
        """Name ids that are not unique, or need not stay so: one scan where no key vouches."""
        self.check_schema(entities)
        with source_errors(self._database):
            return list(filter(None, map(self._weakness, entities)))

    def _weakness(self, entity: Entity) -> Weakness | None:
        statements = self._of(entity)
        if statements.has_unique_ids:
            return None
        [(example, count)] = fetch(self._connection, statements.all_doubled())
        if count:
            key = statements.weakness()
            return Weakness(
                entity.name,
                f"entity {entity.name!r}: {count} ids stand in several rows of {entity.table!r} "
                f"each, e.g. {example!r}; such rows are set aside",
                "write as id the columns that are unique together, id: [...], or mend the rows"
                if key is None
                else key.fix,
            )
        return statements.weakness()

    def _of(self, entity: Entity) -> TableStatements:
        """Queries over the entity's table as this snapshot sees it."""
        if entity not in self._statements:
            self.check_schema([entity])
        return self._statements[entity]

    def _condition(self, entity: Entity, *, scope: Scope) -> sa.ColumnElement[bool] | None:
        """Which rows the scope has; None where it can have none. Worked out once."""
        key = (entity, scope)
        if key not in self._conditions:
            self._conditions[key] = self._work_out(entity, scope=scope)
        return self._conditions[key]

    def _work_out(self, entity: Entity, *, scope: Scope) -> sa.ColumnElement[bool] | None:
        statements = self._of(entity)
        if scope.tenant_id is None:
            return statements.in_scope(scope, unusable=self._unusable_owners(entity))
        if not holdable(self._connection, [scope.tenant_id]):
            return None
        cast = statements.tenant_cast(scope.tenant_id)
        if cast is not None and self._why_not(cast) is not None:
            return None
        return statements.in_scope(scope)

    def _why_not(self, statement: sa.Select[Any]) -> str | None:
        """What the server says against values that come from outside; None where it takes them."""
        try:
            # A savepoint: a failed cast must not end the transaction.
            with self._connection.begin_nested():
                self._connection.execute(statement)
        except (sa.exc.DataError, sa.exc.IntegrityError, sa.exc.ProgrammingError) as error:
            return reason_of(error.orig)
        return None

    def _condition_mistakes(self, statements: TableStatements) -> Iterator[str]:
        for setting, probe in statements.condition_probes().items():
            reason = self._why_not(probe)
            if reason is not None:
                yield (
                    f"entity {statements.entity.name!r}: `{setting}` cannot be asked of the table: "
                    f"{reason}"
                )

    def _refuse(self, mistakes: Sequence[str]) -> None:
        if mistakes:
            raise SourceSchemaError(database=self._database, mistakes=mistakes)

    def _measure_times(self, entity: Entity, condition: sa.ColumnElement[bool]) -> None:
        statements = self._of(entity)
        if not statements.must_measure_times:
            return
        newest = self._connection.scalar(statements.newest_change(condition))
        fault = statements.why_not_plausible(newest, now=self.taken_at)
        if fault is not None:
            self._refuse([f"entity {entity.name!r}: {fault}"])

    def _survey(self, entity: Entity, *, scope: Scope) -> sa.Select[Any] | None:
        """Digests by owner; None where the scope can have no row."""
        statements = self._of(entity)
        if scope.is_global and statements.has_unusable_owners:
            return digests_of_global(statements, now=self.taken_at)
        condition = self._condition(entity, scope=scope)
        return (
            None
            if condition is None
            else digests_by_owner(statements, condition, now=self.taken_at)
        )

    def _unusable_owners(self, entity: Entity) -> list[str]:
        """Texts in the tenant column that cannot be tenant ids: a scan, unless surveyed."""
        statements = self._of(entity)
        if not statements.has_unusable_owners:
            return []
        if entity not in self._unusable:
            self._unusable[entity] = unusable_owners(fetch(self._connection, statements.owners()))
        return self._unusable[entity]

    def _stream(self, statement: sa.Select[Any], *, batch_size: int) -> Iterator[Sequence[Any]]:
        yield from stream(self._connection, statement, batch_size=batch_size)


class PostgresRowSource:
    """Reads the configured tables; never writes (``core.ports.RowSource``).

    Args:
        engine: ``postgresql+psycopg``; this class neither makes nor disposes of it.
        statement_timeout_seconds: Most time for one statement, which is one batch
            where rows are streamed; a timeout is a ``SourceUnavailableError``.
        lock_timeout_seconds: How long a table that is being replaced is waited for.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        statement_timeout_seconds: float = 3600,
        lock_timeout_seconds: float = 30,
    ) -> None:
        self.database = describe_url(engine.url)
        """Host, port and database name for messages; never a password."""
        self._engine = engine
        self._lock_timeout_seconds = lock_timeout_seconds
        self._settings = {
            **SESSION_SETTINGS,
            "statement_timeout": str(round(statement_timeout_seconds * 1000)),
        }

    def check_schema(self, entities: Sequence[Entity]) -> None:
        """Compare entities with the catalogue: names, types, privileges, row security."""
        with self.open_snapshot(entities):
            pass

    def find_weaknesses(self, entities: Sequence[Entity]) -> list[Weakness]:
        """Look at the values of times of change, and at keys."""
        with self.open_snapshot(entities) as snapshot:
            snapshot.measure_times(entities)
            return snapshot.weaknesses(entities)

    def list_scopes(self, entities: Sequence[Entity]) -> list[Scope]:
        """Global first, then every tenant that owns a row, by key."""
        keys = self.count_by_scope(entities).keys() - {GLOBAL_KEY}
        return [GLOBAL, *map(Scope, sorted(keys))]

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        """Digest every scope, in one snapshot."""
        with self.open_snapshot(entities) as snapshot:
            return snapshot.digest_by_scope(entities)

    def newest_by_scope(self, entities: Sequence[Entity]) -> dict[str, float]:
        """When a row of each scope was last changed, in seconds since 1970, in one snapshot."""
        with self.open_snapshot(entities) as snapshot:
            return snapshot.newest_by_scope(entities)

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        """Rows per scope key, of all entities together, global always among them."""
        with self.open_snapshot(entities) as snapshot:
            return snapshot.count_by_scope(entities)

    def count_by_entity(self, entities: Sequence[Entity]) -> dict[str, dict[str, int]]:
        """Rows per entity name and scope key, in one snapshot."""
        with self.open_snapshot(entities) as snapshot:
            return snapshot.count_by_entity(entities)

    @contextmanager
    def open_snapshot(self, entities: Sequence[Entity]) -> Iterator[PostgresSnapshot]:
        """Open one REPEATABLE READ, READ ONLY transaction with ``row_security = off``."""
        tables = list(dict.fromkeys(entity.table for entity in entities))
        parameters = {"wanted": json.dumps(self._settings)}
        with ExitStack() as stack:
            with source_errors(self.database):
                connection = self._engine.connect()
                stack.callback(_close, connection)
                hold = TableHold(connection, timeout_seconds=self._lock_timeout_seconds)
                hold.take(tables)
                taken_at = connection.execute(_OPEN, parameters).scalar_one()
                hold.check()
            snapshot = PostgresSnapshot(
                connection, database=self.database, taken_at=taken_at.astimezone(UTC)
            )
            snapshot.check_schema(entities)
            yield snapshot


def _close(connection: sa.Connection) -> None:
    """Give a connection back; one that was lost after the last answer did no harm."""
    with suppress(sa.exc.DBAPIError):
        connection.close()


def _owner_key(tenant: str | None) -> str:
    """The scope that names a row without ``is_global``: global for those nobody can own."""
    return GLOBAL_KEY if tenant is None or why_not_a_tenant_id(tenant) else tenant


def _chosen(ids: Sequence[str] | None) -> Iterable[Sequence[str] | None]:
    """Ids in pieces that fit one statement; a single None asks for every row."""
    return [None] if ids is None else batched(ids, IDS_PER_STATEMENT)
