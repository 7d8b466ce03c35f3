"""What the source database has: tables, columns, types, privileges, as its catalogue says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

_TABLES: Final = sa.text("""
SELECT c.oid, n.nspname AS schema, c.relname AS name,
       pg_table_is_visible(c.oid) AS is_visible,
       c.relkind::text = 'r' AND c.relhassubclass AS has_children,
       has_schema_privilege(n.oid, 'USAGE') AS is_reachable,
       row_security_active(c.oid) AS hides_rows, current_user::text AS role
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND c.relname = ANY(:names)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
""")

_COLUMNS: Final = sa.text("""
WITH RECURSIVE types AS (
    SELECT oid AS declared, oid, typtype, typbasetype, typelem, false AS is_element FROM pg_type
    WHERE oid IN (SELECT atttypid FROM pg_attribute WHERE attrelid = ANY(:tables))
    UNION ALL
    SELECT types.declared, b.oid, b.typtype, b.typbasetype, b.typelem,
           is_element OR types.typtype <> 'd'
    FROM types
    JOIN pg_type b ON b.oid = CASE types.typtype WHEN 'd' THEN types.typbasetype
                                                 ELSE types.typelem END
    -- Elements of int2vector and point are no elements of an array.
    WHERE types.typtype = 'd' OR b.typarray = types.oid AND NOT is_element
)
SELECT a.attrelid AS table_oid, a.attname AS name, format_type(a.atttypid, -1) AS type_name,
       base.typname AS base_type, base.typtype::text = 'e' AS is_enum,
       base.typtype::text AS kind,
       element.typname AS element_type, element.typtype::text AS element_kind,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS is_readable
FROM pg_attribute a
JOIN types ON types.declared = a.atttypid AND types.typtype <> 'd' AND NOT types.is_element
JOIN pg_type base ON base.oid = types.oid
LEFT JOIN types elements
    ON elements.declared = a.atttypid AND elements.typtype <> 'd' AND elements.is_element
LEFT JOIN pg_type element ON element.oid = elements.oid
WHERE a.attrelid = ANY(:tables) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
""")

# Of plain columns, without a condition; what is included beside the key does not matter.
_KEYS: Final = sa.text("""
SELECT i.indrelid AS table_oid, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) AS key (attnum)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
WHERE i.indrelid = ANY(:tables) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
GROUP BY i.indexrelid, i.indrelid HAVING count(a.attname) = count(*)
ORDER BY i.indexrelid
""")

_NAMES: Final = sa.text("""
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname
            ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  -- Our own tables and Dagster's are nobody's entity.
  AND NOT EXISTS (
      SELECT FROM pg_class own
      WHERE own.relnamespace = n.oid AND own.relname IN ('scope_lease', 'event_logs')
  )
ORDER BY 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a source table."""

    name: str
    type_name: str
    """Its declared type, quoted by the server where that is needed, without a length."""
    base_type: str
    """Its type's name after following domains: ``text``, ``bool``, ``int8``."""
    is_enum: bool
    kind: str
    """How it is made, as ``pg_type.typtype`` says: ``b`` base, ``c`` composite, ``e`` enum,
    ``r`` range, ``m`` multirange."""
    element_type: str | None
    """The type of an array's elements, after following domains; None where it is no array."""
    element_kind: str | None
    is_readable: bool
    """Whether this role may select it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, view, materialised view, foreign or partitioned table."""

    schema: str
    name: str
    columns: Mapping[str, Column]
    role: str
    """Who reads it."""
    is_reachable: bool
    """Whether this role may use its schema."""
    hides_rows: bool
    """Whether a row security policy filters what this role sees."""
    has_children: bool
    """Whether other tables inherit from it, which its unique indexes do not cover."""
    keys: tuple[frozenset[str], ...] = ()
    """Columns of each unique index that covers every row."""

    def is_unique(self, columns: Collection[str]) -> bool:
        """Whether the database rules out two rows with the same values in these columns."""
        return not self.has_children and any(key.issubset(columns) for key in self.keys)


def split_name(table: str) -> tuple[str | None, str]:
    """Schema, None for the search path, and name of ``table`` or ``schema.table``."""
    schema, dot, name = table.partition(".")
    return (schema, name) if dot else (None, table)


def read_tables(connection: sa.Connection, *, tables: Iterable[str]) -> dict[str, Table]:
    """Look tables up in the catalogue, by the names given; missing ones are left out."""
    split_names = {table: split_name(table) for table in tables}
    names = sorted({name for _, name in split_names.values()})
    rows = connection.execute(_TABLES, {"names": names}).all()
    columns: dict[int, dict[str, Column]] = {row.oid: {} for row in rows}
    for row in connection.execute(_COLUMNS, {"tables": list(columns)}).mappings():
        described = {key: value for key, value in row.items() if key != "table_oid"}
        columns[row["table_oid"]][row["name"]] = Column(**described)
    keys: dict[int, list[frozenset[str]]] = {row.oid: [] for row in rows}
    for table_oid, key in connection.execute(_KEYS, {"tables": list(keys)}):
        keys[table_oid].append(frozenset(key))
    return {
        table: Table(
            schema=row.schema,
            name=row.name,
            columns=columns[row.oid],
            role=row.role,
            is_reachable=row.is_reachable,
            hides_rows=row.hides_rows,
            has_children=row.has_children,
            keys=tuple(keys[row.oid]),
        )
        for table, (schema, name) in split_names.items()
        for row in rows
        if row.name == name and (row.is_visible if schema is None else row.schema == schema)
    }


def list_table_names(connection: sa.Connection) -> list[str]:
    """Name every table but ours, with its schema where the search path does not find it."""
    return list(connection.scalars(_NAMES))
