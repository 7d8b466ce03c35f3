"""From filters to conditions that an index can answer, without losing what a number is.

What Qdrant compares (measured with Edge 0.9, and read in qdrant-client's local mode):
a match finds texts, booleans and 64-bit whole numbers exactly, but no floats; a range
turns every number into a float64 first, so that 9007199254740993 passes for ...992.
A float of more than 15 digits is stored as the one beside it at times
(``core.numbers.stored_floats``).
So a whole number is matched, a float is looked for in ranges of one number each, and
whole numbers that only round to it are taken out.
"""

from __future__ import annotations

import math
import operator
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from sync_pipeline.core.document import INT64_RANGE
from sync_pipeline.core.filters import Bound, Filters, FilterValue, Range
from sync_pipeline.core.numbers import stored_floats

MAX_CONDITIONS: Final = 400
"""Most conditions of one search; a server's strict mode refuses more than 500."""

_FIRST_SHARED: Final = 2**53
"""From here on, whole numbers share their float64."""
_DAY: Final = timedelta(days=1)
_COMPARE: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class AnyText:
    """One of these texts."""

    path: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnyInteger:
    """One of these whole numbers, stored as such."""

    path: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IsFlag:
    """This boolean."""

    path: str
    flag: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number whose float64 lies between bounds."""

    path: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Moments:
    """A text that is a moment between bounds, each with a zone."""

    path: str
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None

    @property
    def bounds(self) -> dict[str, datetime]:
        """The bounds that it has, by name."""
        named = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, slots=True)
class NoValue:
    """Null, an empty list, or no such field."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All of ``must``, one of ``should`` where there are any, none of ``must_not``."""

    must: tuple[Condition, ...] = ()
    should: tuple[Condition, ...] = ()
    must_not: tuple[Condition, ...] = ()


Condition = AnyText | AnyInteger | IsFlag | Numbers | Moments | NoValue | Group


def plan_conditions(filters: Filters) -> tuple[Condition, ...] | None:
    """Say what an index is asked so that it finds what ``filters`` mean.

    Returns:
        Conditions that have to hold together; None where no document can meet them.

    Raises:
        ValueError: more than ``MAX_CONDITIONS``.
    """
    needed: list[Condition] = []
    for path, values in filters.equals.items():
        accepted = _any_of(path, values)
        if not accepted:
            return None
        needed.append(Group(should=accepted))
    for path, ranges in filters.ranges.items():
        for interval in ranges:
            inside = _within(path, interval)
            if inside is None:
                return None
            needed += inside
    for path, values in filters.excluded.items():
        refused = _any_of(path, values)
        if refused:
            needed.append(Group(must_not=refused))
    count = sum(map(_count, needed))
    if count > MAX_CONDITIONS:
        raise ValueError(
            f"the filters take {count} conditions; one search may have {MAX_CONDITIONS}. "
            "Name fewer numbers and dates, or ask for a range"
        )
    return tuple(needed)


def _count(condition: Condition) -> int:
    if not isinstance(condition, Group):
        return 1
    return 1 + sum(map(_count, (*condition.must, *condition.should, *condition.must_not)))


def _any_of(path: str, values: Sequence[FilterValue]) -> tuple[Condition, ...]:
    """Alternatives that find these values; none where nothing can be stored so."""
    distinct = list({(type(value), value): value for value in values}.values())
    texts = tuple(value for value in distinct if isinstance(value, str))
    numbers = dict.fromkeys(_decimal(value) for value in distinct if _is_number(value))
    whole = tuple(_whole(numbers))
    alternatives: list[Condition] = []
    if texts:
        alternatives.append(AnyText(path, texts))
    if whole:
        alternatives.append(AnyInteger(path, whole))
    for number in numbers:
        alternatives += _float_like(path, number)
    alternatives += [IsFlag(path, value) for value in distinct if isinstance(value, bool)]
    alternatives += [_moment(path, value) for value in distinct if isinstance(value, date)]
    alternatives += [NoValue(path) for value in distinct if value is None]
    return tuple(alternatives)


# --- numbers ------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _decimal(value: object) -> Decimal:
    """A number as people see it: 12.1, not the float64 next to it."""
    spelled = float.__repr__(value) if isinstance(value, float) else value
    number = Decimal(spelled)  # type: ignore[arg-type]  # a number, see _is_number
    return number or Decimal(0)


def _whole(numbers: Iterable[Decimal]) -> Iterator[int]:
    """Those of the numbers that are whole and fit into 64 bits."""
    for number in numbers:
        if abs(number) <= INT64_RANGE.stop and number == number.to_integral_value():
            integer = int(number)
            if integer in INT64_RANGE:
                yield integer


def _float_like(path: str, number: Decimal) -> list[Condition]:
    """Find floats that are this number; nothing where no float is."""
    nearest = float(number)
    if math.isinf(nearest) or _order(nearest, number):
        return []
    return [_exactly(path, stored, keeping=number) for stored in stored_floats(nearest)]


def _within(path: str, interval: Range) -> list[Condition] | None:
    """Conditions that hold inside a range; None where nothing is inside."""
    bounds = interval.bounds
    if interval.is_of_dates:
        return [_moments(path, bounds)]
    numbers = {name: _decimal(bound) for name, bound in bounds.items()}
    if all(map(_is_plain, numbers.values())):
        return [Numbers(path, **{name: float(number) for name, number in numbers.items()})]
    sides = [_beyond(path, name, number) for name, number in numbers.items()]
    return [Group(should=tuple(side)) for side in sides] if all(sides) else None


def _beyond(path: str, name: str, bound: Decimal) -> list[Condition]:
    """Alternatives that hold on one side of a number that a float64 is too coarse for."""
    is_lower = name in {"gt", "gte"}
    nearest = float(bound)
    if math.isinf(nearest):
        is_everything = is_lower == (nearest < 0)
        return [Numbers(path, gte=-sys.float_info.max)] if is_everything else []
    alternatives: list[Condition] = [
        Numbers(path, gt=nearest) if is_lower else Numbers(path, lt=nearest)
    ]
    compare = _COMPARE[name]
    integers = tuple(
        integer for integer in _integers_at(nearest) if compare(Decimal(integer), bound)
    )
    if integers:
        alternatives.append(AnyInteger(path, integers))
    order = _order(nearest, bound)
    if compare(Decimal(order), Decimal(0)):
        stored = [nearest] if order else stored_floats(nearest)
        alternatives += [_exactly(path, number) for number in stored]
    return alternatives


def _exactly(path: str, number: float, *, keeping: Decimal | None = None) -> Condition:
    """This float, without the whole numbers that have the same float64, but for one."""
    numbers = Numbers(path, gte=number, lte=number)
    others = tuple(integer for integer in _integers_at(number) if integer != keeping)
    return Group(must=(numbers,), must_not=(AnyInteger(path, others),)) if others else numbers


def _order(nearest: float, number: Decimal) -> int:
    """Whether a float is smaller than a number (-1), larger (1), or stands for it (0)."""
    shown = Decimal(repr(nearest))
    if number in (shown, Decimal(nearest)):
        return 0
    return -1 if shown < number else 1


def _is_plain(number: Decimal) -> bool:
    """Whether no other number that an index holds shares its float64."""
    if abs(number) >= _FIRST_SHARED:
        return False
    nearest = float(number)
    return not _order(nearest, number) and len(stored_floats(nearest)) == 1


def _integers_at(number: float) -> Sequence[int]:
    """64-bit whole numbers that have this float64: 1,024 of them near 2 ** 63."""
    if not INT64_RANGE.start <= number <= INT64_RANGE.stop:
        return ()
    # Half of them lie on either side.
    first = max(INT64_RANGE.start, math.floor(number) - 1_024)
    last = min(INT64_RANGE.stop, math.ceil(number) + 1_025)
    candidates = range(first, last)
    begin = bisect_left(candidates, number, key=float)
    return candidates[begin : bisect_right(candidates, number, key=float)]


# --- dates --------------------------------------------------------------------------------


def _moment(path: str, when: date) -> Condition:
    if not isinstance(when, datetime):
        return _moments(path, {"gte": when, "lte": when})
    moment = _utc(when)
    return Moments(path, gte=moment, lte=moment)


def _moments(path: str, bounds: dict[str, Bound]) -> Moments:
    """A range of moments: a day is the whole day."""
    sides = [_side(name, bound) for name, bound in bounds.items() if isinstance(bound, date)]
    latest: dict[str, datetime] = {}
    for name, moment in sides:
        previous = latest.setdefault(name, moment)
        latest[name] = max(previous, moment) if name in {"gt", "gte"} else min(previous, moment)
    return Moments(path, **latest)


def _side(name: str, bound: date) -> tuple[str, datetime]:
    if isinstance(bound, datetime):
        return name, _utc(bound)
    begin = datetime.combine(bound, time.min, tzinfo=UTC)
    if name in {"gte", "lt"}:
        return name, begin
    if bound == date.max:
        return name, datetime.combine(bound, time.max, tzinfo=UTC)
    return ("gte" if name == "gt" else "lt"), begin + _DAY


def _utc(moment: datetime) -> datetime:
    """The moment with a zone, which is UTC where it has none."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
