"""Digests of whole scopes: one grouped query per entity tells which scopes changed.

A row's hash is taken over exactly what the reader yields of it (text cut where
the reader cuts it), written out as text, which works for every column type.
Hashes are joined by exclusive or, so the order of rows does not matter.

A digest tells accidents apart, not forgeries: anybody can compute its hash.
PostgreSQL may hash differently in another major version; then every scope
differs once from what was recorded, and is synced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.changes import EntityDigest, owner_key
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.sources.check import find_mistakes
from sync_pipeline.sources.encoding import fetch
from sync_pipeline.sources.errors import describe_url, source_errors
from sync_pipeline.sources.layout import list_table_names, read_tables
from sync_pipeline.sources.statements import TableStatements

NO_ROWS: Final = EntityDigest(rows=0, xor=0)

# What decides how a value is written out, and whether every row is seen: the reader's values.
_SETTINGS: Final[Mapping[str, str]] = {
    "row_security": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
_SET_LOCALLY: Final = sa.text(
    "SELECT count(set_config(key, value, true)) FROM json_each_text(CAST(:wanted AS json))"
)


def digest_scopes(
    connection: sa.Connection, entities: Sequence[Entity]
) -> dict[str, dict[str, EntityDigest]]:
    """Digest every scope: per scope key and entity name; without entities that have no rows.

    Args:
        connection: In a transaction; one REPEATABLE READ snapshot, if the entities
            shall be digested as of the same instant.
        entities: Tables to read; each is read once.

    Raises:
        SourceSchemaError: tables or columns do not exist.
        SourceUnavailableError: the connection was lost.
    """
    found: dict[str, dict[str, EntityDigest]] = {}
    with source_errors(describe_url(connection.engine.url)):
        for entity, statements in _prepare(connection, entities).items():
            rows = fetch(connection, _by_owner(statements, sa.true()))
            for key, digest in _fold(rows).items():
                found.setdefault(key, {})[entity.name] = digest
    return found


def digest_scope(
    connection: sa.Connection, entities: Sequence[Entity], scope: Scope
) -> dict[str, EntityDigest]:
    """Digest one scope, by entity name: what ``digest_scopes`` says of it in the same snapshot.

    An index on the tenant column serves. The global scope costs a scan more, to
    find the rows that nobody can own.

    Raises:
        SourceSchemaError: tables or columns do not exist.
        SourceUnavailableError: the connection was lost.
    """
    found: dict[str, EntityDigest] = {}
    with source_errors(describe_url(connection.engine.url)):
        for entity, statements in _prepare(connection, entities).items():
            condition = _condition(connection, statements=statements, scope=scope)
            if condition is not None:
                rows = fetch(connection, _by_owner(statements, condition))
                found[entity.name] = _fold(rows).get(scope.key, NO_ROWS)
    return {name: digest for name, digest in found.items() if digest.rows}


def _prepare(
    connection: sa.Connection, entities: Sequence[Entity]
) -> dict[Entity, TableStatements]:
    """Fix how values are written out for this transaction, and check the tables."""
    connection.execute(_SET_LOCALLY, {"wanted": json.dumps(dict(_SETTINGS))})
    wanted = {entity.table for entity in entities}
    tables = read_tables(connection, tables=wanted)
    names = list_table_names(connection) if wanted - tables.keys() else []
    mistakes = find_mistakes(entities, tables=tables, table_names=names)
    if mistakes:
        database = describe_url(connection.engine.url)
        raise SourceSchemaError(database=database, mistakes=mistakes)
    return {
        entity: TableStatements(entity=entity, table=tables[entity.table]) for entity in entities
    }


def _by_owner(statements: TableStatements, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """``(is_global, tenant, rows, xor)`` per owner; the tenant of global rows is NULL."""
    read = statements.rows(condition).subquery()
    _, tenant, is_global, *_ = read.c
    written = sa.collate(sa.cast(sa.func.row(*read.c), sa.Text), "C")
    owner = sa.case((is_global, sa.null()), else_=tenant)
    return sa.select(
        is_global.label("is_global"),
        owner.label("tenant"),
        sa.func.count().label("rows"),
        sa.func.bit_xor(sa.func.hashtextextended(written, 0)).label("xor"),
    ).group_by(sa.text("1"), sa.text("2"))


def _fold(rows: Iterable[sa.Row[Any]]) -> dict[str, EntityDigest]:
    """Join the owners of each scope: those that no tenant can be belong to global."""
    found: dict[str, EntityDigest] = {}
    for row in rows:
        is_ownerless = row.is_global or row.tenant is None
        key = GLOBAL_KEY if is_ownerless else owner_key(row.tenant)
        known = found.get(key, NO_ROWS)
        found[key] = EntityDigest(rows=known.rows + row.rows, xor=known.xor ^ row.xor)
    return found


def _condition(
    connection: sa.Connection, *, statements: TableStatements, scope: Scope
) -> sa.ColumnElement[bool] | None:
    """Which rows the scope has; None where its key cannot stand in the tenant column."""
    if scope.tenant_id is None:
        owners = fetch(connection, statements.owners())
        tenants = (tenant for _, tenant, _ in owners if tenant is not None)
        unusable = [tenant for tenant in tenants if owner_key(tenant) == GLOBAL_KEY]
        return statements.in_scope(scope, unusable=unusable)
    try:
        # A savepoint: the failed cast must not end the transaction.
        with connection.begin_nested():
            connection.execute(statements.tenant_cast(scope.tenant_id))
    except (sa.exc.DataError, sa.exc.IntegrityError):
        return None
    return statements.in_scope(scope)
