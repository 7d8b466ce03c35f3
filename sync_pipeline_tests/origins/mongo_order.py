"""How MongoDB orders BSON values and matches them, as far as the adapter asks for it.

After MongoDB's manual: "BSON Types: Comparison/Sort Order", "Type Bracketing in Query Predicates"
and "$type". Inequalities compare within one line of ``RANKS`` only; sorting compares all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias

from bson import ObjectId
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp

OrderKey: TypeAlias = tuple[Any, ...]

RANKS: Final[tuple[tuple[str, ...], ...]] = (
    ("minKey",),
    ("undefined",),
    ("null",),
    ("double", "int", "long", "decimal"),
    ("symbol", "string"),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("dbPointer",),
    ("javascript",),
    ("javascriptWithScope",),
    ("maxKey",),
)
INT32: Final = range(-(2**31), 2**31)


class UnknownQuery(Exception):  # noqa: N818 - becomes an error of the server
    """A query that this server does not know: it never guesses."""


def type_name(value: Any) -> str:
    """The alias that ``$type`` has for the type of a value, decoded with ``mongo_data.EXACT``."""
    if type(value) in _ONE_NAME:
        return _ONE_NAME[type(value)]
    if isinstance(value, int) and not isinstance(value, bool | Int64):
        return "int" if value in INT32 else "long"
    if isinstance(value, Code):
        return "javascript" if value.scope is None else "javascriptWithScope"
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    raise UnknownQuery(f"unknown type {type(value).__name__}")


_ONE_NAME: Final = {str: "string", ObjectId: "objectId", float: "double"}
_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (type(None), "null"),
    (bool, "bool"),
    (Int64, "long"),
    (float, "double"),
    (Decimal128, "decimal"),
    (str, "string"),
    (dict, "object"),
    (list, "array"),
    (bytes, "binData"),
    (ObjectId, "objectId"),
    (DatetimeMS, "date"),
    (Timestamp, "timestamp"),
    (Regex, "regex"),
    (MinKey, "minKey"),
    (MaxKey, "maxKey"),
)


def rank(value: Any) -> int:
    """Place of a value's type among all types."""
    name = type_name(value)
    return next(place for place, names in enumerate(RANKS) if name in names)


def order_key(value: Any) -> OrderKey:
    """By this, values of every type are sorted; equal for values that are one to the server."""
    return _remembered(value) if type(value) in _FREQUENT else (rank(value), *_within(value))


_FREQUENT: Final = frozenset({str, int, ObjectId})


@lru_cache(maxsize=500_000, typed=True)
def _remembered(value: Any) -> OrderKey:
    """Of the same document every page asks."""
    return (rank(value), *_within(value))


def matches(document: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether a document meets a query of top-level fields.

    Raises:
        UnknownQuery: it has something in it that this server does not know.
    """
    return compiled(query)(document)


def compiled(query: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """The same for many documents.

    Raises:
        UnknownQuery: it has something in it that this server does not know.
    """
    tests = [_test(name, wanted) for name, wanted in query.items()]
    return _all_of(tests)


def _all_of(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)


def _test(name: str, wanted: Any) -> Callable[[Mapping[str, Any]], bool]:
    if name == "$or":
        ways = [compiled(query) for query in wanted]
        return lambda document: any(way(document) for way in ways)
    if name.startswith("$") or "." in name:
        raise UnknownQuery(f"unknown top level operator: {name}")
    if isinstance(wanted, Mapping) and any(word.startswith("$") for word in wanted):
        tests = [_comparison(word, operand) for word, operand in wanted.items()]
    else:
        tests = [_comparison("$in", [wanted])]
    meets = _all_of(tests)
    return lambda document: meets(document.get(name))


def _comparison(word: str, operand: Any) -> Callable[[Any], bool]:
    match word:
        case "$gt" | "$gte":
            return _greater(operand, or_equal=word == "$gte")
        case "$in":
            keys = frozenset(order_key(it) for it in _comparable(operand))
            return lambda value: order_key(value) in keys
        case "$type":
            names = _type_names(operand)
            return lambda value: type_name(value) in names
        case _:
            raise UnknownQuery(f"unknown operator: {word}")


def _greater(operand: Any, *, or_equal: bool) -> Callable[[Any], bool]:
    right = order_key(operand)
    # MinKey and MaxKey are the two that are compared with every type.
    is_bracketed = not isinstance(operand, MinKey | MaxKey)
    is_number = not _is_nan(operand)

    def test(value: Any) -> bool:
        left = order_key(value)
        if is_bracketed and left[0] != right[0]:
            return False
        if left == right:
            return or_equal
        # What is no number is greater than nothing, and nothing than it.
        return is_number and left > right

    return test


def _comparable(operands: list[Any]) -> list[Any]:
    for operand in operands:
        if isinstance(operand, Regex):
            raise UnknownQuery("this server matches no regular expressions")
        if isinstance(operand, Mapping) and any(word.startswith("$") for word in operand):
            raise UnknownQuery("cannot nest $ under $in")
    return operands


def _type_names(operand: Any) -> set[str]:
    names = operand if isinstance(operand, list) else [operand]
    known = {name for line in RANKS for name in line}
    if not names or not known.issuperset(names):
        raise UnknownQuery(f"unknown type alias in {names}")
    return set(names)


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)


def _within(value: Any) -> OrderKey:
    match value:
        case None | MinKey() | MaxKey():
            return ()
        case bool() | ObjectId():
            return (value,)
        case int() | float() | Decimal128():
            return _number(value)
        case Code():
            return (str(value).encode(), order_key(value.scope or {}))
        case str():
            return (value.encode(),)
        case Mapping():
            # By type first, then by name, then by value, field for field.
            return tuple((rank(it), name.encode(), order_key(it)) for name, it in value.items())
        case list():
            return tuple(order_key(it) for it in value)
        case bytes():
            return (len(value), value.subtype if isinstance(value, Binary) else 0, bytes(value))
        case _:
            return _within_rare(value)


def _within_rare(value: Any) -> OrderKey:
    match value:
        case DatetimeMS():
            return (int(value),)
        case Timestamp():
            return (value.time, value.inc)
        case Regex():
            return (str(value.pattern), value.flags)
        case _:
            raise UnknownQuery(f"unknown type {type(value).__name__}")


def _number(value: float | Decimal128) -> OrderKey:
    """Exactly, whatever kind of number it is; what is no number comes first."""
    if _is_nan(value):
        return (0,)
    return (1, value.to_decimal() if isinstance(value, Decimal128) else Decimal(value))
