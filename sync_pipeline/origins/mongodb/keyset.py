"""What comes after an ``_id`` in the order of the server, whatever types there are.

MongoDB sorts values of all types in one order, but ``$gt`` compares within a type only (type
bracketing): after the last number ``{_id: {$gt: 9}}`` is empty though texts and ObjectIds follow.
A pass that took this for the end would have everything else deleted. So the types that come later
are asked for by name.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from bson import ObjectId
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.timestamp import Timestamp

from sync_pipeline.origins.mongodb.values import ID

Query: TypeAlias = dict[str, Any]

BRACKETS: Final[tuple[tuple[str, ...], ...]] = (
    ("minKey",),
    ("null",),
    ("double", "int", "long", "decimal"),
    ("string", "symbol"),
    ("object",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("dbPointer",),
    ("javascript",),
    ("javascriptWithScope",),
    ("maxKey",),
)
"""The types that an ``_id`` can have (no array, regular expression or undefined), in the order in
which the server sorts them; those of one line are compared with each other."""

_SINGLE: Final = frozenset({"minKey", "null", "maxKey"})
"""Of each of these there is one value, and so one document."""


def after(last: Any | None, *, is_begun: bool) -> Query:
    """Ask for what comes after ``last``; None may be an ``_id``, so it is told apart.

    Args:
        last: Exactly as the server gave it.
        is_begun: Whether there is one at all.
    """
    if not is_begun:
        return {}
    place = _bracket(last)
    ways: list[Query] = []
    if not _SINGLE.intersection(BRACKETS[place]):
        ways.append({ID: _greater(last)})
    later = [name for bracket in BRACKETS[place + 1 :] for name in bracket]
    if later:
        ways.append({ID: {"$type": later}})
    return {"$or": ways} if ways else {ID: {"$in": []}}


def _greater(last: Any) -> Query:
    if _is_nan(last):
        # First of the numbers, and compared with none of them.
        return {"$gte": -math.inf}
    return {"$gt": last}


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)


def _bracket(value: Any) -> int:
    name = _type_name(value)
    return next(place for place, names in enumerate(BRACKETS) if name in names)


def _type_name(value: Any) -> str:
    if isinstance(value, Code):
        return "javascript" if value.scope is None else "javascriptWithScope"
    for kinds, name in _NAMES:
        if isinstance(value, kinds):
            return name
    raise TypeError(f"no _id can be a {type(value).__name__}")


_NAMES: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (type(None), "null"),
    (bool, "bool"),
    ((int, float, Decimal128), "double"),
    (str, "string"),
    (dict, "object"),
    ((bytes, UUID), "binData"),
    (ObjectId, "objectId"),
    ((datetime, DatetimeMS), "date"),
    (Timestamp, "timestamp"),
    (MinKey, "minKey"),
    (MaxKey, "maxKey"),
)
"""In this order: true is an int too."""
