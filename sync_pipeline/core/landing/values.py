"""What a value of a record becomes in a column: the value, or why it becomes none.

Nothing is guessed: a price ``"12,50"`` is no number unless the settings say that the comma is
its decimal sign, and a time without a zone is no moment unless they name the zone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from sync_pipeline.core.document import INT64_RANGE
from sync_pipeline.core.landing.spec import ColumnRule, ColumnType
from sync_pipeline.core.numbers import exact_number
from sync_pipeline.core.row_id import join_row_id

MAX_ID_CHARACTERS: Final = 512
_MAX_EXPONENT: Final = 1000
"""PostgreSQL's numeric goes further; no quantity of a catalogue does."""
_SPACES: Final = re.compile("[ \u00a0\u2007\u2009\u202f']")
"""What stands between groups of three digits, whatever the decimal sign is."""
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Unusable(Exception):  # noqa: N818 - a value that is no value, caught in this package
    """Why a value cannot be what it should be: ``"a text that is no number"``."""


def column_value(value: Any, rule: ColumnRule) -> Any:
    """What a column holds for a value; None for null, and for an empty text where none belongs.

    Raises:
        Unusable: another kind of value than the column has.
    """
    if value is None:
        return None
    if rule.type is ColumnType.TEXT:
        return plain_text(value) if isinstance(value, str) else _text(value, rule)
    if isinstance(value, str) and not value.strip():
        return None
    return _READERS[rule.type](value, rule)


def record_id(values: list[Any]) -> str | None:
    """The id of a record: of numbers their digits, so that ``7`` and ``"7"`` are one.

    Returns:
        None where there is none: a field is missing, null or empty.

    Raises:
        Unusable: a field has something that no id can be.
    """
    parts = [_id_part(value) for value in values]
    present = [part for part in parts if part]
    return join_row_id(present) if len(present) == len(parts) else None


def _id_part(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value.strip() or None
    if isinstance(value, bool | list | dict | bytes):
        raise Unusable(f"{_kind(value)} where an id is expected")
    if isinstance(value, int | float | Decimal):
        return _whole(value, what="an id")
    text = value.isoformat() if isinstance(value, date) else str(value)
    if len(text) > MAX_ID_CHARACTERS:
        raise Unusable(f"an id of {len(text):,} characters")
    if _CONTROL.search(text) or _SURROGATE.search(text):
        raise Unusable("an id with a control character or half a character in it")
    return text.strip() or None


def _whole(value: float | Decimal, *, what: str) -> str:
    number = _decimal(value)
    if number != number.to_integral_value():
        raise Unusable(f"a fraction where {what} is expected")
    return str(int(number))


def plain_text(text: str) -> str:
    """A text that PostgreSQL can hold: without NUL, and with a mark for half a character."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _text(value: Any, rule: ColumnRule) -> str | None:
    if isinstance(value, list | tuple):
        if rule.join is None:
            raise Unusable("a list; say what stands between its elements with join")
        parts = [_text(element, rule) for element in value if element is not None]
        return rule.join.join(part for part in parts if part and part.strip()) or None
    match value:
        case str():
            return plain_text(value)
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            # Systems that know no other numbers: 12 is 12.0 there.
            return str(int(value))
        case int() | float() | Decimal():
            return str(value)
        case date():
            return value.isoformat()
        case _:
            raise Unusable(_kind(value))


def _integer(value: Any, rule: ColumnRule) -> int:
    number = _numeric(value, rule)
    if number != number.to_integral_value() or int(number) not in INT64_RANGE:
        raise Unusable("no whole number of 64 bits")
    return int(number)


def _numeric(value: Any, rule: ColumnRule) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise Unusable(_kind(value))
    return _decimal(_as_number(value, rule.decimal) if isinstance(value, str) else value)


def _as_number(text: str, decimal: str) -> str:
    """A text as Python reads numbers; another one where it is none."""
    digits = _SPACES.sub("", text.strip())
    if decimal == ",":
        if "." in digits and not _GROUPED.fullmatch(digits):
            raise Unusable("a text that is no number with a decimal comma")
        digits = digits.replace(".", "").replace(",", ".")
    if not _NUMBER.fullmatch(digits):
        hint = "; is its decimal sign a comma?" if "," in digits and decimal != "," else ""
        raise Unusable(f"a text that is no number{hint}")
    return digits


def _decimal(value: float | Decimal | str) -> Decimal:
    if isinstance(value, Decimal):
        number = value
    else:
        try:
            number = Decimal(value if isinstance(value, int) else str(value))
        except InvalidOperation:
            raise Unusable("a text that is no number") from None
    if not number.is_finite():
        raise Unusable("not a number, or without end")
    if number and abs(number.adjusted()) > _MAX_EXPONENT:
        raise Unusable("a number of more than a thousand digits")
    return number


def _boolean(value: Any, rule: ColumnRule) -> bool:
    del rule
    if isinstance(value, bool):
        return value
    word = str(value).strip().casefold() if isinstance(value, int | str | Decimal) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unusable("neither true nor false")


def moment(value: Any, *, kind: ColumnType, timezone: str | None) -> datetime:
    """A moment in UTC.

    Raises:
        Unusable: no moment, or one whose zone nobody has said.
    """
    if kind in (ColumnType.EPOCH_SECONDS, ColumnType.EPOCH_MILLISECONDS):
        return _since_epoch(value, milliseconds=kind is ColumnType.EPOCH_MILLISECONDS)
    found = _moment_of(value)
    if found.tzinfo is None:
        if timezone is None:
            raise Unusable("a time without a zone; name it with timezone")
        found = found.replace(tzinfo=ZoneInfo(timezone))
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise Unusable("a time beyond the years 1 to 9999") from None


def _moment_of(value: Any) -> datetime:
    match value:
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - given one next
        case str():
            try:
                return datetime.fromisoformat(value.strip())
            except ValueError:
                raise Unusable("a text that is no time as ISO 8601 has it") from None
        case _:
            raise Unusable(_kind(value))


def _since_epoch(value: Any, *, milliseconds: bool) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise Unusable(_kind(value))
    number = _decimal(_as_number(value, ".") if isinstance(value, str) else value)
    seconds = number / 1000 if milliseconds else number
    try:
        whole = int(seconds)
        microseconds = int((seconds - whole) * 1_000_000)
        return _EPOCH + timedelta(seconds=whole, microseconds=microseconds)
    except OverflowError:
        raise Unusable("a time beyond the years 1 to 9999") from None


def _timestamp(value: Any, rule: ColumnRule) -> datetime:
    return moment(value, kind=rule.type, timezone=rule.timezone)


def _date(value: Any, rule: ColumnRule) -> date:
    found = _moment_of(value)
    if found.tzinfo is not None and rule.timezone is not None:
        found = found.astimezone(ZoneInfo(rule.timezone))
    return found.date()


def _jsonb(value: Any, rule: ColumnRule) -> str:
    del rule
    return _ENCODER.encode(_plain(value))


def _plain(value: Any) -> Any:
    """What JSON and PostgreSQL can hold of a value."""
    match value:
        case None | bool():
            return value
        case str():
            return plain_text(value)
        case int():
            return value
        case float() | Decimal():
            if not math.isfinite(value):
                raise Unusable("not a number, or without end")
            return exact_number(str(value))
        case date():
            return value.isoformat()
        case Mapping():
            return {plain_text(str(key)): _plain(element) for key, element in value.items()}
        case list() | tuple():
            return [_plain(element) for element in value]
        case _:
            raise Unusable(_kind(value))


_READERS: Final[Mapping[ColumnType, Callable[[Any, ColumnRule], Any]]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMERIC: _numeric,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.DATE: _date,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.EPOCH_SECONDS: _timestamp,
    ColumnType.EPOCH_MILLISECONDS: _timestamp,
    ColumnType.JSONB: _jsonb,
}

_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "true or false"),
    ((int, float, Decimal), "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
    (date, "a time"),
    (bytes, "binary data"),
)


def _kind(value: Any) -> str:
    return next((told for kind, told in _KINDS if isinstance(value, kind)), type(value).__name__)
