"""What a database has, for somebody who has never seen it; it is only read, and not for long."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.described import DescribedColumn, DescribedDatabase, DescribedTable
from sync_pipeline.core.undecodable import is_undecodable, with_escapes
from sync_pipeline.sources.columns import text_of
from sync_pipeline.sources.encoding import encoding_of, fetch
from sync_pipeline.sources.errors import describe_url, reason_of, source_errors
from sync_pipeline.sources.layout import Column, Table, read_tables
from sync_pipeline.sources.postgres import SESSION_SETTINGS

SAMPLED_ROWS: Final = 200
SAMPLED_CHARACTERS: Final = 2_000
"""Of a value: enough to tell a long text by."""
SPREAD_FROM_PAGES: Final = 200
"""Of larger tables the rows are taken from all over them, for the first are of the first years."""
SAMPLED_PAGES: Final = 100
"""Pages that rows of such a table are taken from."""
SPREAD_FROM_ROWS: Final = 20_000
"""The same of a partitioned table, which has no pages itself."""
STATEMENT_SECONDS: Final = 5
"""For one statement: a view that takes longer is not looked at."""
MOST_SECONDS: Final = 60.0
"""For all tables together; those that are left are not looked at."""

_SKIPPED_TYPES: Final = frozenset({"bytea", "tsvector", "tsquery"})
"""Types whose values tell nothing."""

_OPEN: Final = sa.text("""
SELECT count(set_config(name, wanted ->> name, true))
FROM (SELECT CAST(:wanted AS jsonb) AS wanted) AS settings, pg_settings
WHERE wanted ? name
""")

_LISTING: Final = sa.text("""
SELECT c.oid, n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS is_visible,
       c.relkind::text AS kind, c.reltuples::bigint AS rows,
       CASE WHEN c.relkind IN ('r', 'm')
            THEN pg_relation_size(c.oid) / current_setting('block_size')::int ELSE 0 END AS pages,
       c.relispartition OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS is_partition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  -- What an extension has made is the extension's.
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
  -- Our own tables and Dagster's are nobody's entity.
  AND NOT EXISTS (
      SELECT FROM pg_class own
      WHERE own.relnamespace = n.oid AND own.relname IN ('scope_lease', 'event_logs')
  )
ORDER BY NOT pg_table_is_visible(c.oid), n.nspname, c.relname
""")

_NOT_NULL: Final = sa.text("""
SELECT attrelid AS table_oid, attname::text AS name FROM pg_attribute
WHERE attrelid = ANY(:tables) AND attnum > 0 AND NOT attisdropped AND attnotnull
""")

# Of plain columns without NULL, in the order of the key.
_KEYS: Final = sa.text("""
SELECT i.indrelid AS table_oid, i.indisprimary AS is_primary,
       array_agg(a.attname::text ORDER BY key.position) AS columns
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1])
    WITH ORDINALITY AS key (attnum, position)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum AND a.attnotnull
WHERE i.indrelid = ANY(:tables) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
GROUP BY i.indexrelid, i.indrelid, i.indisprimary HAVING count(a.attname) = count(*)
ORDER BY i.indexrelid
""")

_REFERENCES: Final = sa.text("""
SELECT k.conrelid AS table_oid, a.attname::text AS name, k.confrelid AS other
FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.conrelid = ANY(:tables) AND k.contype = 'f' AND cardinality(k.conkey) = 1
""")

_READS: Final = sa.text("""
SELECT DISTINCT r.ev_class AS table_oid, d.refobjid AS other
FROM pg_rewrite r
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
WHERE r.ev_class = ANY(:tables)
""")

_KINDS: Final[Mapping[str, Any]] = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


def describe_database(
    engine: sa.Engine,
    *,
    tables: Sequence[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DescribedDatabase:
    """Look at catalogue and rows in one READ ONLY transaction.

    Args:
        engine: ``postgresql+psycopg``.
        tables: Only these, by their names in the settings; None for all.
        clock: Tells seconds.

    Raises:
        SourceUnavailableError: the database cannot be reached.
        ConfigurationError: not with this address.
    """
    name = describe_url(engine.url)
    settings = {
        **SESSION_SETTINGS,
        "statement_timeout": str(STATEMENT_SECONDS * 1000),
        "lock_timeout": "2000",
    }
    with source_errors(name), engine.connect() as connection:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        connection.execute(_OPEN, {"wanted": json.dumps(settings)})
        described = _Description(connection, until=clock() + MOST_SECONDS, clock=clock)
        return DescribedDatabase(
            name=name,
            encoding=encoding_of(connection),
            tables=tuple(described.tables(tables)),
        )


class _Description:
    """One look at a database, inside an open transaction."""

    def __init__(
        self, connection: sa.Connection, *, until: float, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._until = until
        self._clock = clock

    def tables(self, wanted: Sequence[str] | None) -> list[DescribedTable]:
        """Every table, or those that are wanted."""
        listed = self._connection.execute(_LISTING).all()
        names = {
            row.oid: row.name if row.is_visible else f"{row.schema}.{row.name}" for row in listed
        }
        chosen = [
            row
            for row in listed
            if wanted is None or names[row.oid] in wanted or f"{row.schema}.{row.name}" in wanted
        ]
        oids = [row.oid for row in chosen]
        layouts = read_tables(
            self._connection, tables=[f"{row.schema}.{row.name}" for row in chosen]
        )
        keys = self._keys(oids)
        not_null = self._pairs(_NOT_NULL, oids)
        references = {
            (row.table_oid, row.name): names.get(row.other)
            for row in self._connection.execute(_REFERENCES, {"tables": oids})
        }
        reads: dict[int, list[str]] = {}
        for row in self._connection.execute(_READS, {"tables": oids}):
            if row.other in names:
                reads.setdefault(row.table_oid, []).append(names[row.other])
        return [
            self._table(
                row,
                name=names[row.oid],
                layout=layouts[f"{row.schema}.{row.name}"],
                keys=keys.get(row.oid, []),
                not_null=not_null.get(row.oid, set()),
                references={
                    column: other for (oid, column), other in references.items() if oid == row.oid
                },
                reads=sorted(reads.get(row.oid, [])),
            )
            for row in chosen
            # The name of a schema or table with a dot in it cannot be looked up by name.
            if f"{row.schema}.{row.name}" in layouts
        ]

    def _keys(self, oids: Sequence[int]) -> dict[int, list[tuple[bool, tuple[str, ...]]]]:
        keys: dict[int, list[tuple[bool, tuple[str, ...]]]] = {}
        for row in self._connection.execute(_KEYS, {"tables": oids}):
            keys.setdefault(row.table_oid, []).append((row.is_primary, tuple(row.columns)))
        return keys

    def _pairs(self, statement: sa.TextClause, oids: Sequence[int]) -> dict[int, set[str]]:
        pairs: dict[int, set[str]] = {}
        for row in self._connection.execute(statement, {"tables": oids}):
            pairs.setdefault(row.table_oid, set()).add(row.name)
        return pairs

    def _table(
        self,
        row: Any,
        *,
        name: str,
        layout: Table,
        keys: Sequence[tuple[bool, tuple[str, ...]]],
        not_null: set[str],
        references: Mapping[str, str | None],
        reads: Sequence[str],
    ) -> DescribedTable:
        # An inherited row is in the parent too, and no index of the parent covers it.
        keys = [] if layout.has_children else keys
        values, fault = self._sample(row, layout=layout)
        return DescribedTable(
            name=name,
            kind=_KINDS[row.kind],
            columns=tuple(
                DescribedColumn(
                    name=column.name,
                    type_name=column.type_name,
                    base_type=column.base_type,
                    is_enum=column.is_enum,
                    element_type=column.element_type,
                    is_readable=column.is_readable,
                    is_not_null=column.name in not_null,
                    references=references.get(column.name),
                    values=values.get(column.name, ()),
                )
                for column in layout.columns.values()
            ),
            primary_key=next((key for is_primary, key in keys if is_primary), ()),
            keys=tuple(key for is_primary, key in keys if not is_primary),
            reads=tuple(reads),
            estimated_rows=None if row.rows < 0 else row.rows,
            role=layout.role,
            is_reachable=layout.is_reachable,
            hides_rows=layout.hides_rows,
            is_partition=row.is_partition,
            fault=fault,
        )

    def _sample(
        self, row: Any, *, layout: Table
    ) -> tuple[dict[str, tuple[str | None, ...]], str | None]:
        """Values per column of some rows, or why there are none."""
        columns = [
            column
            for column in layout.columns.values()
            if column.is_readable and column.base_type not in _SKIPPED_TYPES
        ]
        if not columns or row.is_partition or layout.hides_rows or not layout.is_reachable:
            return {}, None
        if self._clock() > self._until:
            return {}, "there are too many; name those that count with --table"
        try:
            with self._connection.begin_nested():
                rows = self._rows(row, columns)
        except sa.exc.DBAPIError as error:
            return {}, reason_of(error.orig)
        return {
            column.name: tuple(_shown(one[number]) for one in rows)
            for number, column in enumerate(columns)
        }, None

    def _rows(self, row: Any, columns: Sequence[Column]) -> Sequence[Any]:
        table = sa.table(row.name, *(sa.column(it.name) for it in columns), schema=row.schema)
        percent = _percent(rows=row.rows, pages=row.pages)
        if percent is not None and row.kind in ("r", "p", "m"):
            pages = sa.tablesample(table, sa.func.system(percent), seed=sa.literal_column("1"))
            # The same rows whenever it is asked.
            self._connection.execute(sa.select(sa.func.setseed(0)))
            spread = self._read(pages, columns, order=[sa.func.random()])
            if len(spread) >= SAMPLED_ROWS // 2:
                return spread
        return self._read(table, columns)

    def _read(
        self, table: Any, columns: Sequence[Column], *, order: Sequence[Any] = ()
    ) -> Sequence[Any]:
        read = sa.select(*(table.c[it.name] for it in columns)).order_by(*order)
        some = read.limit(SAMPLED_ROWS).subquery()
        texts = (
            text_of(some.c[it.name], it, longest=SAMPLED_CHARACTERS).label(f"c{number}")
            for number, it in enumerate(columns)
        )
        return fetch(self._connection, sa.select(*texts))


def _percent(*, rows: int, pages: int) -> float | None:
    """How much of a table is looked at; None where it is small enough to be read from its start.

    By its size where it has one: of rows nobody may have kept count.
    """
    if pages >= SPREAD_FROM_PAGES:
        return 100.0 * SAMPLED_PAGES / pages
    if not pages and rows >= SPREAD_FROM_ROWS:
        return min(100.0, 100.0 * 10 * SAMPLED_ROWS / rows)
    return None


def _shown(value: object) -> str | None:
    """A value as text, its undecodable bytes escaped."""
    if value is None:
        return None
    text = str(value)[:SAMPLED_CHARACTERS]
    return with_escapes(text) if is_undecodable(text) else text
