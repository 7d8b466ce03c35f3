"""What a landing is: which records become which rows of which table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.json_path import Step

Path: TypeAlias = tuple[Step, ...]
"""Where a value is in a record."""

LandingMode: TypeAlias = Literal["full", "incremental"]
"""``full``: every record of the origin. ``incremental``: those that changed since."""

OWN_COLUMNS: Final[Mapping[str, str]] = {
    "id": "text",
    "tenant_id": "text",
    "is_global": "boolean",
    "source_key": "text",
    "source_modified_at": "timestamptz",
    "updated_at": "timestamptz",
}
"""Columns that every landing table has, and their types; no mapped column is called so."""


def split_table(table: str) -> tuple[str, str]:
    """Schema and name of a table or view; where no schema is named it is ``public``."""
    schema, _, name = table.rpartition(".")
    return schema or "public", name


class ColumnType(StrEnum):
    """What a column of a landing table holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    """A moment; texts without a zone need the column's ``timezone``."""
    EPOCH_SECONDS = "epoch_seconds"
    """A moment, given as a number."""
    EPOCH_MILLISECONDS = "epoch_milliseconds"
    JSONB = "jsonb"

    @property
    def sql(self) -> str:
        """Its type in PostgreSQL."""
        return _SQL_TYPES.get(self, self.value)


_SQL_TYPES: Final = {
    ColumnType.INTEGER: "bigint",
    ColumnType.TIMESTAMP: "timestamptz",
    ColumnType.EPOCH_SECONDS: "timestamptz",
    ColumnType.EPOCH_MILLISECONDS: "timestamptz",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """How one column is filled."""

    name: str
    fields: tuple[Path, ...]
    """Where its value is; of several it is one JSON object, by their last keys."""
    type: ColumnType = ColumnType.TEXT
    join: str | None = None
    """Stands between the elements of a list that becomes a text."""
    decimal: str = "."
    """The sign before the fraction of a number that is given as a text."""
    timezone: str | None = None
    """Of times that are given without one."""
    is_optional: bool = False
    """Whether the origin may leave the field out of every record."""
    is_object: bool = False
    """Whether the fields make an object, even where it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose the rows are: everybody's, one tenant's, or the tenant's that a field names."""

    tenant_id: str | None = None
    tenant_field: Path | None = None

    @property
    def is_global(self) -> bool:
        """Whether every tenant sees them."""
        return self.tenant_id is None and self.tenant_field is None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTest:
    """A field, and values that say something; a field that is missing is None."""

    field: Path
    accepted: tuple[str | int | bool | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfChange:
    """When the origin last changed a record."""

    field: Path
    type: ColumnType = ColumnType.TIMESTAMP
    timezone: str | None = None


class Confirmation(StrEnum):
    """What has to be seen, beyond a complete pass, before a row without a record is deleted."""

    NONE = "none"
    LOOKUP = "lookup"
    """The origin is asked for the record and does not have it."""
    SECOND_PASS = "second_pass"  # noqa: S105 - no password
    """A second complete pass running does not have it either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionRules:
    """When rows go whose record is gone."""

    confirm: Confirmation = Confirmation.SECOND_PASS
    policy: CleanupPolicy = field(default_factory=CleanupPolicy)
    max_lookups: int = 500
    """Most records that one pass asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """Records of one kind, of one origin, and the table that they land in."""

    name: str
    connection: str
    """Name of the connection; for the table of another loader its own name."""
    table: str
    id: tuple[Path, ...]
    key: Path | None = None
    """What the origin itself calls a record by, where that is not ``id``; kept as
    ``source_key``."""
    owner: Owner
    columns: tuple[ColumnRule, ...]
    required: tuple[Path, ...] = ()
    where: tuple[FieldTest, ...] = ()
    """What a record has to meet; one that does not is as good as deleted."""
    gone_when: FieldTest | None = None
    """What the origin marks a deleted record with."""
    changed: TimeOfChange | None = None
    overlap_seconds: float = 600.0
    """How much further back an incremental pass asks."""
    deletions: DeletionRules = field(default_factory=DeletionRules)
    max_pass_age_seconds: float = 21_600.0
    """An older pass is begun anew: what it fetched first is too old to be landed."""
    max_rejected_fraction: float = 0.1
    """Share of records without an id or with a value of another type above which nothing of a
    pass is landed."""
    fresh_seconds: float = 172_800.0
    """A last complete pass that began earlier is old."""
    request_digest: str = ""
    """Of how the origin is asked; a pass that was begun otherwise is not gone on with."""

    @property
    def mapping_digest(self) -> str:
        """Of everything that decides which row a record becomes; another one: land it all again."""
        mapping = {
            "table": self.table,
            "id": self.id,
            "key": self.key,
            "owner": asdict(self.owner),
            "columns": [asdict(rule) for rule in self.columns],
            "where": [asdict(test) for test in self.where],
            "gone_when": None if self.gone_when is None else asdict(self.gone_when),
            "changed": None if self.changed is None else asdict(self.changed),
        }
        return digest(json.dumps(mapping, sort_keys=True, ensure_ascii=False))

    @property
    def column_types(self) -> Mapping[str, str]:
        """The mapped columns and their types in PostgreSQL."""
        return {rule.name: rule.type.sql for rule in self.columns}
