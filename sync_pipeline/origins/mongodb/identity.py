"""The text of an ``_id``, and which ``_id`` a text may be of.

Landing tables know documents by texts. Whatever type an ``_id`` has, it has one text, and a
document is found again by it: of an ObjectId its 24 digits, of a number its digits, of a UUID its
usual form, of a text the text itself. Texts that no column could hold as they are (with spaces at
an end, control characters, or nothing in them) stand in quotes as JSON has them, and what is left
(objects, binary data) is extended JSON.

Several types may have the same text: 7 and "7" are one record, as everywhere in landings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import bson
from bson import ObjectId
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.regex import Regex

from sync_pipeline.origins.mongodb.codec import CODEC, from_text, to_text

_UNUSUAL: Final = re.compile("[\x00-\x1f\x7f]")
_DIGITS: Final = 34
"""More than a Decimal128 holds; larger whole numbers stay in their own spelling."""
_NO_JSON: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    BSONError,
)
"""What bson's reader of extended JSON raises for texts that only look like it."""


def key_text(value: Any) -> str:
    """The text that a document with this ``_id`` is known by."""
    match value:
        case str() if type(value) is str:
            return value if _is_usual(value) else json.dumps(value)
        case ObjectId() | UUID():
            return str(value)
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float() | Decimal128():
            return _number_text(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case _:
            return to_text(value)


def candidates(text: str) -> list[Any]:
    """Every ``_id`` that has this text, one for each that the server tells apart."""
    return [value for value in _possible(text) if _has_text(value, text)]


def _is_usual(text: str) -> bool:
    is_whole = bool(text) and text == text.strip() and not text.startswith('"')
    return is_whole and _UNUSUAL.search(text) is None


def _number_text(value: float | Decimal128) -> str:
    number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
    if number.is_nan():
        return "NaN"
    if not number.is_finite():
        return str(number)
    if number == int(number) and abs(number) < 10**_DIGITS:
        return str(int(number))
    return str(number) if isinstance(value, Decimal128) else repr(value)


def _possible(text: str) -> Iterator[Any]:
    yield text
    if text in ("true", "false"):
        yield text == "true"
    if text == "null":
        yield None
    if ObjectId.is_valid(text):
        yield ObjectId(text)
    yield from _numbers(text)
    for reader in (UUID, datetime.fromisoformat):
        try:
            yield reader(text)
        except ValueError:
            continue
    if text[:1] in ('"', "{"):
        try:
            yield from_text(text)
        except _NO_JSON:
            return


def _numbers(text: str) -> Iterator[Any]:
    try:
        number = Decimal(text)
        yield float(text)
        # Of 1e999999999 nobody makes a whole number.
        if number.is_finite() and number.adjusted() < _DIGITS and number == int(number):
            yield int(number)
        yield Decimal128(text)
    except (ValueError, ArithmeticError):
        return


def _has_text(value: Any, text: str) -> bool:
    if isinstance(value, Regex) or (isinstance(value, dict) and _asks(value)):
        # Neither can be an _id, and in a query both mean something else.
        return False
    if isinstance(value, datetime) and value.tzinfo is None:
        return False
    try:
        # BSON has milliseconds only, and no number of more than 64 bits.
        held = bson.decode(bson.encode({"_id": value}, codec_options=CODEC), CODEC)["_id"]
        return key_text(held) == text
    except _NO_JSON:
        return False


def _asks(value: dict[str, Any]) -> bool:
    return any(name.startswith("$") for name in value)
