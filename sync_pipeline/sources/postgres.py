"""Reading the configured tables from PostgreSQL, in one snapshot, streamed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.batching import batched
from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.document import document_id
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import DuplicateDocumentError, SourceSchemaError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, why_not_a_tenant_id
from sync_pipeline.core.undecodable import is_undecodable
from sync_pipeline.sources.check import find_mistakes
from sync_pipeline.sources.digests import digest_scope, digest_scopes
from sync_pipeline.sources.encoding import fetch, holdable, stream
from sync_pipeline.sources.errors import describe_url, source_errors
from sync_pipeline.sources.layout import list_table_names, read_tables
from sync_pipeline.sources.statements import TableStatements

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    # A policy that would hide rows is an error instead of a smaller result.
    "row_security": "off",
    # The engine may take its time between two batches.
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    # Every row is read, so plans that are quick to start are not worth it.
    "cursor_tuple_fraction": "1",
    # Values as text must not depend on the role or the client.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

IDS_PER_STATEMENT: Final = 5_000
"""Most ids that one query is given."""

# The join leaves out what an older server does not know (transaction_timeout is of version 17).
# This is the first statement of its transaction, so it takes the snapshot.
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
        self._unusable: dict[Entity, list[str]] = {}

    def count_rows(self, *, entity: Entity, scope: Scope) -> int:
        """Count the rows that ``iter_rows`` with the same arguments will yield.

        Raises:
            DuplicateDocumentError: two rows of the scope would be the same document.
        """
        with source_errors(self._database):
            condition = self._condition(entity, scope=scope)
            if condition is None:
                return 0
            self._refuse_duplicates(entity, scope=scope)
            statement = self._of(entity).count(condition)
            return int(self._connection.execute(statement).scalar_one())

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
                statement = statements.rows(only)
                for batch in self._stream(statement, batch_size=batch_size):
                    yield list[Sequence[object]](batch)

    def list_owners(self, *, entity: Entity, row_id: str) -> list[Scope]:
        """Scopes with which ``iter_rows`` yields a row of this id."""
        if "\0" in row_id:
            return []
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
                statement = self._of(entity).changed_ids(condition, since=since)
                for batch in self._stream(statement, batch_size=batch_size):
                    yield [
                        row_id
                        for (row_id,) in batch
                        if row_id is not None and not is_undecodable(row_id)
                    ]

    def digest(self, *, entities: Sequence[Entity], scope: Scope) -> dict[str, EntityDigest]:
        """Digest the scope as this snapshot sees it."""
        return digest_scope(self._connection, entities, scope)

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        """Digest every scope as this snapshot sees it."""
        return digest_scopes(self._connection, entities)

    def check_schema(self, entities: Sequence[Entity]) -> None:
        """Compare entities with the catalogue, and keep what was found for the queries.

        Raises:
            SourceSchemaError: naming every mistake.
        """
        with source_errors(self._database):
            wanted = {entity.table for entity in entities}
            tables = read_tables(self._connection, tables=wanted)
            names = list_table_names(self._connection) if wanted - tables.keys() else []
            mistakes = find_mistakes(entities, tables=tables, table_names=names)
            if mistakes:
                raise SourceSchemaError(database=self._database, mistakes=mistakes)
            for entity in entities:
                self._statements[entity] = TableStatements(
                    entity=entity, table=tables[entity.table]
                )

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        """Rows per scope key, global always among them."""
        counts = Counter({GLOBAL_KEY: 0})
        # All at once, so that every mistake is named, not only the first table's.
        self.check_schema(entities)
        with source_errors(self._database):
            for entity in entities:
                owners = fetch(self._connection, self._of(entity).owners())
                for is_global, tenant, rows in owners:
                    counts[GLOBAL_KEY if is_global else _owner_key(tenant)] += rows
        return dict(counts)

    def _of(self, entity: Entity) -> TableStatements:
        """Queries over the entity's table as this snapshot sees it."""
        if entity not in self._statements:
            self.check_schema([entity])
        return self._statements[entity]

    def _condition(self, entity: Entity, *, scope: Scope) -> sa.ColumnElement[bool] | None:
        """Which rows the scope has; None where its key cannot stand in the tenant column."""
        statements = self._of(entity)
        if scope.tenant_id is None:
            return statements.in_scope(scope, unusable=self._unusable_tenants(entity))
        try:
            # A savepoint: the failed cast must not end the transaction.
            with self._connection.begin_nested():
                self._connection.execute(statements.tenant_cast(scope.tenant_id))
        except (sa.exc.DataError, sa.exc.IntegrityError):
            return None
        return statements.in_scope(scope)

    def _unusable_tenants(self, entity: Entity) -> list[str]:
        """Texts in the tenant column that cannot be tenant ids, looked up once per snapshot."""
        if entity not in self._unusable:
            owners = fetch(self._connection, self._of(entity).owners())
            self._unusable[entity] = [
                tenant
                for _, tenant, _ in owners
                if tenant is not None and why_not_a_tenant_id(tenant) is not None
            ]
        return self._unusable[entity]

    def _refuse_duplicates(self, entity: Entity, *, scope: Scope) -> None:
        """Look for ids that occur twice, unless a unique index rules that out."""
        statements = self._of(entity)
        if statements.has_unique_ids:
            return
        ids = [row_id for (row_id,) in fetch(self._connection, statements.duplicates(scope=scope))]
        if ids:
            documents = [
                document_id(scope=scope, entity_type=entity.name, row_id=row_id) for row_id in ids
            ]
            raise DuplicateDocumentError(scope_key=scope.key, document_ids=documents)

    def _stream(self, statement: sa.Select[Any], *, batch_size: int) -> Iterator[Sequence[Any]]:
        yield from stream(self._connection, statement, batch_size=batch_size)


class PostgresRowSource:
    """Reads the configured tables; never writes (``core.ports.RowSource``).

    Args:
        engine: ``postgresql+psycopg``; this class neither makes nor disposes of it.
        statement_timeout_seconds: Most time for one statement, which is one batch
            where rows are streamed; a timeout is a ``SourceUnavailableError``.
    """

    def __init__(self, engine: sa.Engine, *, statement_timeout_seconds: float = 3600) -> None:
        self.database = describe_url(engine.url)
        """Host, port and database name for messages; never a password."""
        self._engine = engine
        self._settings = {
            **SESSION_SETTINGS,
            "statement_timeout": str(round(statement_timeout_seconds * 1000)),
        }

    def check_schema(self, entities: Sequence[Entity]) -> None:
        """Compare entities with the catalogue: names, types, privileges, row security."""
        with self.open_snapshot() as snapshot:
            snapshot.check_schema(entities)

    def list_scopes(self, entities: Sequence[Entity]) -> list[Scope]:
        """Global first, then every tenant that owns a row, by key."""
        keys = self.count_by_scope(entities).keys() - {GLOBAL_KEY}
        return [GLOBAL, *map(Scope, sorted(keys))]

    def digest_by_scope(self, entities: Sequence[Entity]) -> dict[str, dict[str, EntityDigest]]:
        """Digest every scope, in one snapshot."""
        with self.open_snapshot() as snapshot:
            return snapshot.digest_by_scope(entities)

    def count_by_scope(self, entities: Sequence[Entity]) -> dict[str, int]:
        """Rows per scope key, of all entities together, global always among them."""
        with self.open_snapshot() as snapshot:
            return snapshot.count_by_scope(entities)

    @contextmanager
    def open_snapshot(self) -> Iterator[PostgresSnapshot]:
        """Open one REPEATABLE READ, READ ONLY transaction with ``row_security = off``."""
        with ExitStack() as stack:
            with source_errors(self.database):
                connection = stack.enter_context(self._engine.connect()).execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                wanted = {"wanted": json.dumps(self._settings)}
                taken_at = connection.execute(_OPEN, wanted).scalar_one()
            yield PostgresSnapshot(
                connection, database=self.database, taken_at=taken_at.astimezone(UTC)
            )


def _owner_key(tenant: str | None) -> str:
    """The scope that names a row without ``is_global``: global for those nobody can own."""
    return GLOBAL_KEY if tenant is None or why_not_a_tenant_id(tenant) else tenant


def _chosen(ids: Sequence[str] | None) -> Iterable[Sequence[str] | None]:
    """Ids in pieces that fit one statement; a single None asks for every row."""
    return [None] if ids is None else batched(ids, IDS_PER_STATEMENT)
