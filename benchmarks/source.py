"""The source database of a benchmark: loading it by COPY, and changing a known number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.catalogue import WORK_EVERY, CatalogueSize, SourceRow, iter_catalogue
from sync_pipeline.database.urls import driver_url
from sync_pipeline.sample.schema import create_source_tables

_COLUMNS: Final = {
    "materials": (
        "id", "tenant_id", "is_global", "name", "category", "supplier", "unit", "price",
    ),
    "works": ("id", "tenant_id", "is_global", "name", "category", "unit", "price"),
}  # fmt: skip

# Which rows depends on the round and the id alone, so that every contender sees the same change.
_CHOSEN: Final = sql.SQL(
    "SELECT id FROM {table} ORDER BY md5(id::text || {round}::text) LIMIT {count}"
)


def load_source(url: str, size: CatalogueSize) -> None:
    """Create the source tables and fill them, and let the database count what it has."""
    engine = sa.create_engine(driver_url(url, "psycopg"))
    create_source_tables(engine)
    engine.dispose()
    with psycopg.connect(driver_url(url, "libpq"), autocommit=True) as connection:
        with connection.transaction():
            _copy_rows(connection, iter_catalogue(size))
        connection.execute("VACUUM ANALYZE")


def count_rows(url: str) -> int:
    """Rows of both tables."""
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM materials) + (SELECT count(*) FROM works)"
        ).fetchone()
    assert counted is not None
    return int(counted[0])


def change_texts(url: str, *, count: int, round_: int) -> None:
    """Give rows of both tables a text that nothing had before."""
    change = sql.SQL(
        "UPDATE {table} SET name = name || {word}, updated_at = now() WHERE id IN ({chosen})"
    )
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        for table, share in _shares(count).items():
            chosen = _chosen(table, count=share, round_=round_)
            word = sql.Literal(f" revision {round_}")
            connection.execute(change.format(table=sql.Identifier(table), word=word, chosen=chosen))


def change_prices(url: str, *, count: int, round_: int) -> None:
    """Change a payload field of materials; their texts stay."""
    change = sql.SQL("UPDATE materials SET price = price + 1, updated_at = now() WHERE id IN ({})")
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        connection.execute(change.format(_chosen("materials", count=count, round_=round_)))


def delete_rows(url: str, *, count: int, round_: int) -> None:
    """Delete rows of both tables."""
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        for table, share in _shares(count).items():
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE id IN ({})").format(
                    sql.Identifier(table), _chosen(table, count=share, round_=round_)
                )
            )


def insert_rows(url: str, *, count: int, round_: int, size: CatalogueSize) -> None:
    """Insert rows of another catalogue of the same kind, spread over its scopes."""
    other = replace(size, seed=size.seed + round_)
    step = size.rows // count
    rows = islice(iter_catalogue(other), 0, step * count, step)
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        _copy_rows(connection, rows)


def _copy_rows(connection: psycopg.Connection, rows: Iterable[SourceRow]) -> None:
    """Write rows of both tables; works wait for the end, for one COPY fills one table."""
    works: list[SourceRow] = []
    with connection.cursor() as cursor, cursor.copy(_copy("materials")) as copy:
        for row in rows:
            if row.entity == "work":
                works.append(row)
                continue
            owner = (row.id, row.tenant_id, row.tenant_id is None)
            copy.write_row((*owner, row.name, row.category, row.supplier, row.unit, row.price))
    with connection.cursor() as cursor, cursor.copy(_copy("works")) as copy:
        for row in works:
            owner = (row.id, row.tenant_id, row.tenant_id is None)
            copy.write_row((*owner, row.name, row.category, row.unit, row.price))


def _copy(table: str) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS[table]))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)


def _chosen(table: str, *, count: int, round_: int) -> sql.Composed:
    return _CHOSEN.format(
        table=sql.Identifier(table), round=sql.Literal(round_), count=sql.Literal(count)
    )


def _shares(count: int) -> dict[str, int]:
    """How many of the rows are of each table."""
    works = count // WORK_EVERY
    return {"materials": count - works, "works": works}
