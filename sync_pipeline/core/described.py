"""What a database looks like to somebody who has never seen it: its catalogue and a few rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TableKind = Literal["table", "partitioned table", "view", "materialized view", "foreign table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedColumn:
    """One column, and what stands in it."""

    name: str
    type_name: str
    """Its declared type, for people."""
    base_type: str
    """Its type's name after following domains: ``text``, ``bool``, ``int8``."""
    is_enum: bool = False
    element_type: str | None = None
    """The type of an array's elements; None where it is no array."""
    is_readable: bool = True
    is_not_null: bool = False
    references: str | None = None
    """The table whose key it alone refers to."""
    values: tuple[str | None, ...] = ()
    """Of sampled rows, in the order of these rows: words as a view would read them, cut."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that are not NULL."""
        return tuple(value for value in self.values if value is not None)

    @property
    def has_nulls(self) -> bool:
        """Whether a sampled row has none."""
        return None in self.values


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTable:
    """A table, a view or what else can be read like one."""

    name: str
    """As the settings name it: with its schema where the search path does not find it."""
    kind: TableKind = "table"
    columns: tuple[DescribedColumn, ...]
    primary_key: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    """Columns of each other unique index that covers every row and has no NULL."""
    reads: tuple[str, ...] = ()
    """Tables that a view reads."""
    estimated_rows: int | None = None
    role: str = ""
    """Who reads it."""
    is_reachable: bool = True
    hides_rows: bool = False
    is_partition: bool = False
    fault: str | None = None
    """Why no row of it was looked at."""

    @property
    def sampled_rows(self) -> int:
        """How many rows were looked at."""
        return max((len(column.values) for column in self.columns), default=0)

    def column(self, name: str) -> DescribedColumn | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedDatabase:
    """All that can be read there."""

    name: str
    """Host, port and database for messages; never a password."""
    encoding: str
    tables: tuple[DescribedTable, ...]
