"""Cron expressions and time zones, judged without Dagster.

The accepted expressions are a subset of what Dagster accepts; a test compares.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sync_pipeline.settings.rules import Mistake

_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LAST_DAY: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_PART: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)
_CRON_FIX: Final = (
    'five fields "MINUTE HOUR DAY MONTH WEEKDAY", e.g. "0 3 * * *" for 03:00 every day'
)


def why_not_a_cron(value: str) -> Mistake | None:
    """Judge a cron expression of five fields."""
    written = value.split()
    if len(written) != len(_FIELDS):
        return Mistake(f"has {len(written)} cron fields", _CRON_FIX)
    for field, text in zip(_FIELDS, written, strict=True):
        if not all(_is_part(part, field) for part in text.lower().split(",")):
            return Mistake(f"has a {field.name} that cron does not know", _CRON_FIX)
    day, month = written[2], _number(written[3].lower(), _FIELDS[3])
    if month is not None and day.isdecimal() and int(day) > _LAST_DAY.get(month, 31):
        return Mistake("names a day that its month does not have", "it would never run; correct it")
    return None


def why_not_a_timezone(value: str) -> Mistake | None:
    """Judge a time zone name against this machine's time zone database."""
    if value == "UTC":
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only where UTC is not enough

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        return Mistake("is not a time zone", "use an IANA name such as UTC or Europe/Prague")
    return None


def _number(text: str, field: _Field) -> int | None:
    """Read a number or a name such as ``mon``; None where it is neither or out of range."""
    if text in field.words:
        return field.words.index(text) + field.low
    if text.isascii() and text.isdecimal() and field.low <= int(text) <= field.high:
        return int(text)
    return None


def _is_part(text: str, field: _Field) -> bool:
    match = _PART.fullmatch(text)
    if match is None or (match["step"] is not None and int(match["step"]) < 1):
        return False
    if match["first"] is None:
        return True
    first = _number(match["first"], field)
    last = first if match["last"] is None else _number(match["last"], field)
    return first is not None and last is not None and first <= last
