"""What filters mean, said once more without an index: the fake store's, and a test's oracle."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from sync_pipeline.core.filters import Bound, Filters, FilterValue, Range
from sync_pipeline.core.json_path import Step, parse_path

_COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def meets(payload: Mapping[str, object], filters: Filters) -> bool:
    """Whether a payload meets every condition."""
    return (
        all(_has_any(payload, path, values) for path, values in filters.equals.items())
        and not any(_has_any(payload, path, values) for path, values in filters.excluded.items())
        and all(
            any(_is_inside(value, wanted) for value in _elements(payload, path))
            for path, ranges in filters.ranges.items()
            for wanted in ranges
        )
    )


def _has_any(payload: Mapping[str, object], path: str, values: object) -> bool:
    assert isinstance(values, list | tuple)
    found = list(_elements(payload, path))
    return any(_is(value, wanted) for value in found for wanted in values) or (
        None in values and all(value in (None, []) for value in _selected(payload, path))
    )


def _selected(payload: object, path: str) -> Iterator[object]:
    yield from _walk(payload, parse_path(path))


def _elements(payload: object, path: str) -> Iterator[object]:
    for value in _selected(payload, path):
        yield from value if isinstance(value, list) else [value]


def _walk(value: object, steps: tuple[Step, ...]) -> Iterator[object]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if isinstance(value, Mapping) and step in value:
            yield from _walk(value[step], rest)
    elif isinstance(value, list):
        for one in value if step is None else value[step : step + 1]:
            yield from _walk(one, rest)


def _is(value: object, wanted: FilterValue) -> bool:
    if wanted is None:
        return False
    if isinstance(wanted, datetime):
        return _moment(value) == _aware(wanted)
    if isinstance(wanted, date):
        return _is_inside(value, Range(gte=wanted, lte=wanted))
    if isinstance(wanted, str | bool):
        return type(value) is type(wanted) and value == wanted
    return _number(value) == _number(wanted)


def _is_inside(value: object, wanted: Range) -> bool:
    return all(_is_beyond(value, name, bound) for name, bound in wanted.bounds.items())


def _is_beyond(value: object, name: str, bound: Bound) -> bool:
    if not isinstance(bound, date):
        number, limit = _number(value), _number(bound)
        return number is not None and limit is not None and bool(_COMPARE[name](number, limit))
    moment = _moment(value)
    if moment is None:
        return False
    if isinstance(bound, datetime):
        return bool(_COMPARE[name](moment, _aware(bound)))
    return bool(_COMPARE[name](moment.astimezone(UTC).date(), bound))


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        return _aware(datetime.fromisoformat(value))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
