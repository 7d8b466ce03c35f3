"""A configured source table and how its rows become documents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""SQL identifiers that a settings file may name; everything else is refused."""

Literals = str | int | bool | None
"""What a settings file can compare a column with."""

Markup = Literal["none", "html"]
"""How the texts of a table are written."""


class Sharing(Enum):
    """Which rows every tenant shares, where no column says so."""

    ALL = "true"
    NONE = "false"
    WITHOUT_TENANT = "tenant_is_null"
    """Those whose tenant is NULL."""


class TimeKind(Enum):
    """What a time of change counts, where its type leaves that open."""

    BY_TYPE = "by_type"
    """Whatever its type says; whole numbers are told apart by their size."""
    LOCAL = "local"
    """A time without zone, or a day, of the zone that the settings name."""
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value in the settings that stands for a column."""

    value: str


def _written(value: Literals) -> str:
    """As a settings file has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Condition:
    """Only rows whose column has one of these values count; None stands for NULL."""

    column: str
    accepted: tuple[Literals, ...]

    def __str__(self) -> str:
        return f"{self.column} is {' or '.join(map(_written, self.accepted))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Rows whose documents keep text and payload and lose their vectors: old ones of some kind."""

    when: tuple[Condition, ...]
    """Every condition has to be met."""
    older_than_days: int
    """Since the last change of the row, by ``Entity.updated_at``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What comes first of a scope: rows that meet conditions, or one end of a column's values.

    Exactly one of ``when`` and ``column`` says something.
    """

    when: tuple[Condition, ...] = ()
    """Rows that meet every condition come before those that do not."""
    column: str | None = None
    """A number, a time or a boolean; rows without a value come last in any case."""
    is_descending: bool = False
    """Whether the greatest value of the column comes first: of times the newest."""

    def __str__(self) -> str:
        if self.column is None:
            return " and ".join(map(str, self.when))
        return f"{self.column} {'descending' if self.is_descending else 'ascending'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One source table: whose rows they are, what is embedded, what is payload.

    All names are validated SQL identifiers (``settings`` refuses others);
    whether they exist is checked against the database before anything is read.
    """

    name: str
    """Entity type (``material``): part of the document id, payload field ``type``."""
    table: str
    """Table, or ``schema.table``."""
    id: tuple[str, ...] = ("id",)
    """Columns that together are unique in the table; see ``core.document.join_row_id``."""
    tenant: str | Constant = "tenant_id"
    """Column with the tenant that owns the row, or the tenant of all rows."""
    is_global: str | Sharing = "is_global"
    """Boolean column that shares a row with every tenant, or a rule."""
    only: tuple[Condition, ...] = ()
    """Rows that count: those that meet every condition. For the others it is as if they were not
    there."""
    updated_at: str | None = None
    """Time of the last change of a row; None where the table has none."""
    updated_at_kind: TimeKind = TimeKind.BY_TYPE
    updated_at_zone: str | None = None
    """Time zone of a time without one; None where nobody has said."""
    views: tuple[tuple[str, tuple[str, ...]], ...]
    """Per view its name and the columns joined to its text, in order."""
    payload: tuple[tuple[str, str], ...] = ()
    """Per payload field its name and its column."""
    markup: Markup = "none"
    """Whether texts are HTML, of which the words are wanted."""
    archive: Archive | None = field(default=None, repr=False)
    """Which documents are not worth vectors; None: all of them are. Needs ``updated_at``."""
    long_views: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    """Views whose text is cut into passages, each with the most tokens of a passage."""
    priority: tuple[Criterion, ...] = field(default=(), repr=False)
    """What is embedded and written first of a scope, the criterion that decides first in front.
    No part of a document: a change of it, or of what its columns say, is no change of any."""

    @property
    def view_columns(self) -> tuple[str, ...]:
        """Every column that some view reads, each once, in order of first use."""
        return tuple(dict.fromkeys(column for _, columns in self.views for column in columns))

    @property
    def long_columns(self) -> frozenset[str]:
        """Columns of long texts: more of each value is read."""
        long_views = dict(self.long_views)
        return frozenset(
            column for view, columns in self.views if view in long_views for column in columns
        )

    @property
    def payload_columns(self) -> tuple[str, ...]:
        """Every column that some payload field reads, each once."""
        return tuple(dict.fromkeys(column for _, column in self.payload))

    @property
    def priority_columns(self) -> tuple[str, ...]:
        """Every column that the priority asks, each once."""
        return tuple(
            dict.fromkeys(
                column
                for criterion in self.priority
                for column in (
                    *(condition.column for condition in criterion.when),
                    *filter(None, [criterion.column]),
                )
            )
        )

    @property
    def owner_columns(self) -> tuple[str, ...]:
        """Columns that say whose a row is; none where the settings say it for all rows."""
        tenant = () if isinstance(self.tenant, Constant) else (self.tenant,)
        if self.is_global is Sharing.ALL:
            return ()
        return tenant if isinstance(self.is_global, Sharing) else (*tenant, self.is_global)

    @property
    def mapped_columns(self) -> tuple[str, ...]:
        """Every column whose change can change a document, or whether there is one, each once."""
        rules = (*self.only, *(() if self.archive is None else self.archive.when))
        conditions = (condition.column for condition in rules)
        return tuple(
            dict.fromkeys(
                (
                    *self.id,
                    *self.owner_columns,
                    *conditions,
                    *self.view_columns,
                    *self.payload_columns,
                )
            )
        )
