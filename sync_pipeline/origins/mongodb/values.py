"""Documents as plain values: what core maps has nothing of BSON in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from bson import ObjectId
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp

from sync_pipeline.origins.mongodb.codec import to_text
from sync_pipeline.origins.mongodb.identity import key_text

ID: Final = "_id"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_YEARS: Final = 400
_CYCLE_MILLISECONDS: Final = 146_097 * 86_400_000
"""After so many years and milliseconds the calendar is the same again."""


def plain_record(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as core maps it; its ``_id`` is the text that it is known by."""
    record = {name: plain(value) for name, value in document.items()}
    if ID in document:
        record[ID] = key_text(document[ID])
    return record


def plain(value: Any) -> Any:
    """A value without anything of BSON in it.

    What JSON, times, exact numbers and binary data have no place for becomes a text: a date
    beyond the years 1 to 9999 one that is no time, so that a column of times refuses it by name.
    """
    match value:
        case None | bool():
            return value
        case Code():
            return str(value)
        case str() | float():
            return value
        case int():
            return int(value)
        case datetime():
            return value.astimezone(UTC)
        case Mapping():
            return {name: plain(element) for name, element in value.items()}
        case list():
            return [plain(element) for element in value]
        case bytes():
            return bytes(value)
        case _:
            return _rare(value)


def _rare(value: Any) -> Any:
    match value:
        case ObjectId() | UUID():
            return str(value)
        case Decimal128():
            number = value.to_decimal()
            return Decimal("NaN") if number.is_nan() else number
        case DatetimeMS():
            return _far_date(int(value))
        case Timestamp():
            return value.as_datetime().isoformat()
        case DBRef():
            return plain(value.as_doc())
        case Regex():
            return f"/{value.pattern}/"
        case MinKey() | MaxKey():
            return type(value).__name__
        case _:
            return to_text(value)


def _far_date(milliseconds: int) -> str:
    """A date of another millennium as ISO 8601 has it: ``+12025-01-01T00:00:00+00:00``."""
    cycles, rest = divmod(milliseconds, _CYCLE_MILLISECONDS)
    near = _EPOCH + timedelta(milliseconds=rest)
    return f"{near.year + cycles * _CYCLE_YEARS:+06d}{near.isoformat()[4:]}"
