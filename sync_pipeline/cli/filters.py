"""``--filter``: from ``FIELD=VALUE``, ``FIELD>=VALUE`` and their kind to what a search asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.filters import Bound, Filters, FilterValue, Range, read_bound, readings

_FILTER: Final = re.compile(
    r"""(?P<name>(?:"[^"]*"|[^"<>=!])+) (?P<operator>>=|<=|!=|[=<>]) (?P<value>.*)""",
    re.VERBOSE | re.DOTALL,
)
"""The first sign of comparison decides, unless it stands in a quoted key."""
_BOUNDS: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def parse_filters(words: Iterable[str]) -> Filters:
    """Read the filters of a command line.

    Values of one field after ``=`` are alternatives; ranges of one field narrow each
    other. A value that reads as a number, a date, true, false or null is looked for as
    text too: the command line does not show which one is meant.

    Raises:
        ConfigurationError: no field, no comparison, a bound that is neither a number nor a
            date, or a whole JSON object or list as a value.
    """
    equals: dict[str, list[FilterValue]] = {}
    excluded: dict[str, list[FilterValue]] = {}
    ranges: dict[str, list[Range]] = {}
    for word in words:
        name, sign, value = _split(word)
        try:
            if sign in _BOUNDS:
                _narrow(ranges.setdefault(name, []), _BOUNDS[sign], read_bound(value.strip()))
            else:
                _refuse_containers(value)
                (equals if sign == "=" else excluded).setdefault(name, []).extend(readings(value))
        except ValueError as error:
            raise ConfigurationError(f"--filter {word!r}: {error}") from error
    try:
        return Filters(equals=equals, ranges=ranges, excluded=excluded)
    except ValueError as error:
        raise ConfigurationError(f"--filter: {error}") from error


def _split(word: str) -> tuple[str, str, str]:
    match = _FILTER.fullmatch(word)
    name = match["name"] if match else ""
    if match is None or not name.strip():
        raise ConfigurationError(
            f"--filter {word!r} is not FIELD=VALUE, e.g. unit=kg or 'price>=100' "
            "(in quotes, or the shell keeps < and > for itself)"
        )
    value = match["value"]
    # Blanks before the sign are a way of writing, so those after it are too.
    return name.strip(), match["operator"], value if name == name.rstrip() else value.strip()


def _narrow(ranges: list[Range], side: str, bound: Bound) -> None:
    """Add a bound; two different sides make one range, which one and the same value is in."""
    if ranges and side not in ranges[-1].bounds:
        ranges[-1] = replace(ranges[-1], **{side: bound})
    else:
        ranges.append(Range(**{side: bound}))


def _refuse_containers(value: str) -> None:
    if not value.startswith(("{", "[")):
        return
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return
    raise ValueError(
        "a whole JSON object or list cannot be compared; ask for a value inside it, e.g. "
        "attributes.imei=42 for a key, tags=new for an element, tags=null for an empty list"
    )
