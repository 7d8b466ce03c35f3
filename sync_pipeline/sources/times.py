"""When a row was last changed, as its own column says: which columns can say it, and how.

An incremental sync asks for rows changed at a moment or later. Whatever the column
leaves open, more rows are looked at and never fewer: a day is looked at whole, and a
time of an unknown zone is taken for the earliest that it can mean.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.entity import Entity, TimeKind
from sync_pipeline.sources.layout import Column

ZONED: Final = "timestamptz"
LOCAL_TYPES: Final = frozenset({"timestamp", "date"})
NUMBER_TYPES: Final = frozenset({"int4", "int8", "numeric", "float8"})

FURTHEST_WEST: Final = timedelta(hours=12)
"""How far a local time can be behind UTC."""
REPEATED: Final = timedelta(hours=2)
"""How much of a local time can come twice when clocks are set back."""
FIRST_MILLISECONDS: Final = 100_000_000_000
"""Numbers from here on count milliseconds (March 1973); as seconds this is the year 5138."""
FIRST_SECONDS: Final = 100_000_000
"""Fewer seconds (March 1973) are no time of change but a version or a flag."""
MAX_AHEAD: Final = timedelta(minutes=5)
"""How far ahead of the server's clock a change can seem to be by accident."""
MAX_ZONE_AHEAD: Final = timedelta(hours=27)
"""Further ahead no wrong zone can bring a time: rows of the future, which other rules cover."""

TimeColumn = tuple[sa.ColumnElement[Any], Column]
"""A column and what the catalogue says of it."""


def why_not_a_time(column: Column, *, entity: Entity) -> str | None:
    """Say why a column cannot tell when rows changed, and what to write; None where it can."""
    kind, base = entity.updated_at_kind, column.base_type
    shown = f"updated_at column {column.name!r} is of type {column.type_name}"
    if base == ZONED:
        if kind is TimeKind.BY_TYPE and entity.updated_at_zone is None:
            return None
        return f"{shown}, which has its zone: write only `updated_at: {column.name}`"
    if base in LOCAL_TYPES:
        if kind in (TimeKind.BY_TYPE, TimeKind.LOCAL):
            return None
        return f"{shown}, which is no number: write kind: local and its timezone"
    if base in NUMBER_TYPES:
        if kind is not TimeKind.LOCAL and entity.updated_at_zone is None:
            return None
        return f"{shown}: write kind: epoch_seconds or kind: epoch_milliseconds, and no timezone"
    return (
        f"{shown}, which does not say when a row changed: it must be timestamptz, timestamp, date "
        "or a number of seconds or milliseconds since 1970. Offer such a column through a view, "
        "or leave `updated_at` out: then every sync of the table is a full one"
    )


def is_changed_since(
    changed_at: TimeColumn, *, entity: Entity, since: datetime
) -> sa.ColumnElement[bool]:
    """Rows whose time of change is ``since`` or later, or that have none."""
    column, declared = changed_at
    return sa.or_(_is_since(column, declared, entity=entity, since=since), column.is_(None))


def is_older_than(
    changed_at: TimeColumn, *, entity: Entity, since: datetime
) -> sa.ColumnElement[bool]:
    """Rows whose time of change is known to lie before ``since``."""
    column, declared = changed_at
    is_known = column.is_not(None)
    return sa.and_(is_known, sa.not_(_is_since(column, declared, entity=entity, since=since)))


def _is_since(
    column: sa.ColumnElement[Any], declared: Column, *, entity: Entity, since: datetime
) -> sa.ColumnElement[bool]:
    if declared.base_type == ZONED:
        return column >= sa.literal(since, sa.DateTime(timezone=True))
    if declared.base_type in NUMBER_TYPES:
        seconds = int(since.timestamp() // 1)
        is_in_seconds = sa.cast(column, sa.Numeric) >= seconds
        is_in_milliseconds = sa.cast(column, sa.Numeric) >= seconds * 1000
        if entity.updated_at_kind is TimeKind.EPOCH_SECONDS:
            return is_in_seconds
        if entity.updated_at_kind is TimeKind.EPOCH_MILLISECONDS:
            return is_in_milliseconds
        is_small = sa.cast(column, sa.Numeric) < FIRST_MILLISECONDS
        return sa.or_(sa.and_(is_small, is_in_seconds), is_in_milliseconds)
    zone = entity.updated_at_zone
    margin = FURTHEST_WEST if zone is None else REPEATED
    moment = sa.literal(since - margin, sa.DateTime(timezone=True))
    local = sa.func.timezone(zone or "UTC", moment, type_=sa.DateTime())
    return column >= (sa.cast(local, sa.Date) if declared.base_type == "date" else local)


def must_be_measured(column: Column, *, entity: Entity) -> bool:
    """Whether values have to be looked at, because their type does not say what they mean."""
    has_zone = column.base_type == "timestamp" and entity.updated_at_zone is not None
    return has_zone or column.base_type in NUMBER_TYPES


def newest(
    changed_at: TimeColumn,
    select: Callable[..., sa.Select[Any]],
    condition: sa.ColumnElement[bool],
    *,
    entity: Entity,
) -> sa.Select[Any]:
    """The newest finite time of change: a number as it is, a time in seconds since 1970."""
    column, declared = changed_at
    if declared.base_type in NUMBER_TYPES:
        number = sa.cast(column, sa.Numeric)
        is_finite = number < sa.literal_column("1e18")
        return select(sa.cast(sa.func.max(number), sa.Double)).where(condition, is_finite)
    moment = sa.func.timezone(entity.updated_at_zone, sa.func.max(column))
    seconds = sa.cast(sa.func.extract("epoch", moment), sa.Double)
    return select(seconds).where(condition, sa.func.isfinite(column))


def finite_seconds(changed_at: TimeColumn, *, entity: Entity) -> sa.ColumnElement[float]:
    """A time of change in seconds since 1970; NULL where there is none, or it is infinite."""
    column, declared = changed_at
    if declared.base_type in NUMBER_TYPES:
        number = sa.cast(column, sa.Numeric)
        seconds = {
            TimeKind.EPOCH_SECONDS: number,
            TimeKind.EPOCH_MILLISECONDS: number / 1000,
        }.get(
            entity.updated_at_kind,
            sa.case((number >= FIRST_MILLISECONDS, number / 1000), else_=number),
        )
        # NaN is greater than every number.
        is_finite = sa.func.abs(number) < sa.literal_column("1e18")
    else:
        is_local = declared.base_type in LOCAL_TYPES
        zoned = sa.func.timezone(entity.updated_at_zone or "UTC", column) if is_local else column
        seconds = sa.extract("epoch", zoned)
        is_finite = sa.func.isfinite(column)
    return sa.case((is_finite, sa.cast(seconds, sa.Double)))


def why_not_plausible(
    value: float | None, *, column: Column, entity: Entity, now: datetime
) -> str | None:
    """Compare the newest time of change with the server's clock; None where nothing is wrong.

    Args:
        value: What ``newest`` selects; None where no row has a time.
        column: Where it stands.
        entity: Whose column it is.
        now: The server's clock.
    """
    if value is None:
        return None
    name = column.name
    if column.base_type in NUMBER_TYPES:
        return _why_not_an_epoch(value, name=name, kind=entity.updated_at_kind, now=now)
    ahead = value - now.timestamp()
    if not MAX_AHEAD.total_seconds() < ahead < MAX_ZONE_AHEAD.total_seconds():
        return None
    return (
        f"the newest time in updated_at column {name!r}, taken for {entity.updated_at_zone}, is "
        f"{ahead / 3600:.1f} h ahead of the server's clock: the times are of another zone. "
        "Correct `timezone`, or leave it out if nobody knows"
    )


def _why_not_an_epoch(value: float, *, name: str, kind: TimeKind, now: datetime) -> str | None:
    is_milliseconds = kind is TimeKind.EPOCH_MILLISECONDS or (
        kind is TimeKind.BY_TYPE and value >= FIRST_MILLISECONDS
    )
    unit = "milliseconds" if is_milliseconds else "seconds"
    seconds = value / 1000 if is_milliseconds else value
    ahead = seconds - now.timestamp()
    if seconds >= FIRST_SECONDS and ahead <= MAX_ZONE_AHEAD.total_seconds():
        return None
    return (
        f"the newest value of updated_at column {name!r} is {value:.0f}, which as {unit} since "
        f"1970 is no time near the server's clock ({now:%Y-%m-%d %H:%M}): write kind: "
        "epoch_seconds or kind: epoch_milliseconds as it is, or leave `updated_at` out if the "
        "column counts something else"
    )
