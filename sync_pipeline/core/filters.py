"""What a search may ask of payload values: the same value, a range, or none at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Final

FilterValue = str | int | float | Decimal | bool | date | None
"""What a payload value can be compared with; see ``Filters``."""
Bound = int | float | Decimal | date
"""Where a range begins or ends."""

MAX_FILTER_VALUES: Final = 1_000
"""Most values and ranges of one search."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
"""A number as JSON spells it: ``00042`` is a text."""
_BOUND: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    _DATE.pattern + r"[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers, or moments, between bounds; all of them have to hold for one and the same value.

    A day without a time is the whole day in UTC: ``lte`` a day includes it, ``gt`` a day
    begins after it. A moment without a zone is UTC, as payloads without one are read.

    Raises:
        ValueError: no bound, numbers and dates mixed, or a bound that is neither.
    """

    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None

    def __post_init__(self) -> None:
        bounds = self.bounds
        if not bounds:
            raise ValueError("a range needs a bound: gt, gte, lt or lte")
        for bound in bounds.values():
            _check_bound(bound)
        if len({isinstance(bound, date) for bound in bounds.values()}) > 1:
            raise ValueError("a range is of numbers or of dates, not of both")

    @property
    def bounds(self) -> dict[str, Bound]:
        """The bounds that it has, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: bound for name, bound in named.items() if bound is not None}

    @property
    def is_of_dates(self) -> bool:
        """Whether it is of dates and not of numbers."""
        return any(isinstance(bound, date) for bound in self.bounds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions on payload values, all of which a document has to meet.

    Keys are payload fields, or paths into them (``core.json_path``). A list in a
    payload meets a condition if one of its elements does. How values compare:

    - a text with the same text, and nothing else;
    - a boolean with the same boolean, never with 0 and 1;
    - a number with a number of the same value: 12, 12.0 and 12.50 are told apart by
      value only, and whole numbers of 64 bits exactly;
    - a ``date`` with every moment of that day in UTC, a ``datetime`` with the same
      moment, both in texts as ISO 8601 spells them;
    - None with no value: null, an empty list, or no such field.

    Raises:
        ValueError: a value of another kind, a number that is none, or too many.
    """

    equals: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """Per field the accepted values: one of them has to be there."""
    ranges: Mapping[str, Sequence[Range]] = field(default_factory=dict)
    """Per field the ranges, each of which has to hold a value."""
    excluded: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """Per field values that must not be there; a document without the field passes."""

    def __post_init__(self) -> None:
        for values in (*self.equals.values(), *self.excluded.values()):
            if isinstance(values, str):
                raise ValueError(f"give the values of a filter as a list, not as {values!r}")  # noqa: TRY004 - of a request
            for value in values:
                _check_value(value)
        count = sum(len(values) for named in self._parts() for values in named.values())
        if count > MAX_FILTER_VALUES:
            raise ValueError(
                f"the filters name {count} values; one search may name {MAX_FILTER_VALUES}"
            )

    @property
    def names(self) -> frozenset[str]:
        """Every field or path that is asked for."""
        return frozenset(name for named in self._parts() for name in named)

    def _parts(self) -> Iterator[Mapping[str, Sequence[object]]]:
        yield from (self.equals, self.ranges, self.excluded)


def readings(text: str) -> list[FilterValue]:
    """Everything that a text can mean where equality is asked for; the text itself is first.

    A command line does not show whether 42 is a number or a text, nor whether a day is
    one: both are looked for. ``00042`` and a number with a blank are texts alone.
    """
    if text in ("true", "false"):
        return [text, text == "true"]
    if text == "null":
        return [text, None]
    if _NUMBER.fullmatch(text):
        return [text, Decimal(text)]
    try:
        moment = _read_moment(text)
    except ValueError:
        return [text]
    return [text] if moment is None else [text, moment]


def read_bound(text: str) -> Bound:
    """Read where a range begins or ends: a number or a date.

    Raises:
        ValueError: it is neither; texts have no order here.
    """
    if _BOUND.fullmatch(text):
        return Decimal(text)
    moment = _read_moment(text)
    if moment is None:
        raise ValueError(
            f"{text!r} is no bound of a range: write a number like 12.5, a day like 2026-01-02 "
            "or a moment like 2026-01-02T10:00:00Z. Texts are compared with = and != only"
        )
    return moment


def _read_moment(text: str) -> date | None:
    """A day or a moment as ISO 8601 spells it, None where it is something else.

    By pattern first: Python reads 20260102 and 2026-W01-1 as days too.
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text.upper()) if _MOMENT.fullmatch(text) else None
    except ValueError as error:
        raise ValueError(f"{text!r} is no date: {error}") from error


def _check_bound(bound: object) -> None:
    if isinstance(bound, bool) or not isinstance(bound, int | float | Decimal | date):
        kind = type(bound).__name__
        raise ValueError(f"a range is of numbers or of dates, not of {kind}")  # noqa: TRY004 - of a request
    _check_value(bound)


def _check_value(value: object) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("a text to filter by is not Unicode: it has a lone surrogate")
    elif isinstance(value, float | Decimal):
        if not Decimal(value).is_finite():
            raise ValueError(f"a filter cannot compare with {value}: it is no number")
    elif value is not None and not isinstance(value, bool | int | date):
        raise ValueError(f"a filter cannot compare with a {type(value).__name__}")


EVERY_NUMBER: Final = Range(gte=-(10**400))
EVERY_DATE: Final = Range(gte=date.min)
