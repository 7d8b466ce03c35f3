"""Writing the rows of a catalogue into the source tables, again and again with the same result."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.batching import batched
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.sample.schema import create_tables
from sync_pipeline.sources.errors import describe_url, source_errors

ROW_NAMESPACE: Final = uuid.UUID("0b1f6f5e-3a36-5d0b-8f4e-2f3a5d6c7b81")
"""Namespace of the ids of all sample rows."""

MAX_EXAMPLES: Final = 5
BATCH_ROWS: Final = 5000

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Rows of a catalogue that were not loaded, all for one reason."""

    reason: str
    rows: int
    examples: tuple[str, ...]
    """A few of them, by their own key or place in the file."""


@dataclass(slots=True)
class Catalogue:
    """What was read of one catalogue: rows to load, and those left out."""

    name: str
    rows: dict[sa.Table, dict[object, Row]] = field(default_factory=dict)
    """Per table the rows by id."""
    skipped: dict[str, list[str]] = field(default_factory=dict)
    """Per reason the keys of the rows left out."""

    def add(self, table: sa.Table, row: Row, *, key: str) -> None:
        """Keep a row, unless an earlier one has its id.

        Args:
            table: Where it goes.
            row: Its columns, ``id`` among them.
            key: How the catalogue names it.
        """
        rows = self.rows.setdefault(table, {})
        if row["id"] in rows:
            self.skip("same key as an earlier row", key=key)
        else:
            rows[row["id"]] = row

    def skip(self, reason: str, *, key: str) -> None:
        """Note that a row is left out."""
        self.skipped.setdefault(reason, []).append(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What loading one catalogue did."""

    catalogue: str
    rows: Mapping[str, Mapping[str, int]]
    """Rows of the catalogue per scope key and table."""
    written: int
    """Rows that were new or had changed."""
    skipped: tuple[Skipped, ...]


def row_id(*, catalogue: str, scope_key: str, article: str) -> uuid.UUID:
    """The id of a row: the same whenever and wherever it is loaded."""
    return uuid.uuid5(ROW_NAMESPACE, f"{catalogue}|{scope_key}|{article}")


def owner(scope_key: str) -> dict[str, object]:
    """The columns that say whose row it is."""
    is_global = scope_key == GLOBAL_KEY
    return {"tenant_id": None if is_global else scope_key, "is_global": is_global}


def load(engine: sa.Engine, catalogue: Catalogue) -> LoadReport:
    """Write a catalogue in one transaction, creating its tables where they are absent.

    Rows that are there and equal stay untouched, ``updated_at`` too. Rows that
    the catalogue does not have stay.

    Raises:
        ConfigurationError: a table exists that is not one of a sample.
        SourceUnavailableError: no connection.
    """
    create_tables(engine, tables=tuple(catalogue.rows))
    with source_errors(describe_url(engine.url)), engine.begin() as connection:
        written = sum(
            _upsert(connection, table=table, rows=rows.values())
            for table, rows in catalogue.rows.items()
        )
    return LoadReport(
        catalogue=catalogue.name,
        rows=_count(catalogue),
        written=written,
        skipped=tuple(
            Skipped(reason=reason, rows=len(keys), examples=tuple(keys[:MAX_EXAMPLES]))
            for reason, keys in catalogue.skipped.items()
        ),
    )


def _upsert(connection: sa.Connection, *, table: sa.Table, rows: Iterable[Row]) -> int:
    """Insert new rows and update those that differ; how many that were."""
    statement = insert(table)
    columns = [column for column in table.c if column.name not in {"id", "updated_at"}]
    new = [statement.excluded[column.name] for column in columns]
    statement = statement.on_conflict_do_update(
        index_elements=[table.c["id"]],
        set_={
            **{column.name: value for column, value in zip(columns, new, strict=True)},
            "updated_at": sa.func.now(),
        },
        where=sa.or_(
            *(column.is_distinct_from(value) for column, value in zip(columns, new, strict=True))
        ),
    )
    # Without the option, SQLAlchemy does not count the rows of an insert.
    options = {"preserve_rowcount": True}
    return sum(
        connection.execute(statement, batch, execution_options=options).rowcount
        for batch in _batches(rows)
    )


def _batches(rows: Iterable[Row]) -> Iterable[Sequence[dict[str, object]]]:
    return batched(map(dict, rows), BATCH_ROWS)


def _count(catalogue: Catalogue) -> dict[str, dict[str, int]]:
    """Rows per scope key and table, global first."""
    counts: dict[str, Counter[str]] = {}
    for table, rows in catalogue.rows.items():
        for row in rows.values():
            scope_key = GLOBAL_KEY if row["is_global"] else str(row["tenant_id"])
            counts.setdefault(scope_key, Counter())[table.name] += 1
    ordered = sorted(counts, key=lambda key: (key != GLOBAL_KEY, key))
    return {key: dict(counts[key]) for key in ordered}
