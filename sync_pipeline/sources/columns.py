"""What a column becomes: per type the SQL that reads it and the function that decodes it.

The SQL cuts: a value of 10 MB never gets here. The digest of a row is taken over what
the SQL yields, so a value whose words or payload change has another digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipeline.core.document import MAX_TEXT_CHARACTERS
from sync_pipeline.sources import values
from sync_pipeline.sources.layout import Column

Expression = sa.ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """How values of one type are read."""

    expression: Callable[[Expression], Expression]
    """From the column to what is selected."""
    decode: Callable[[str], object] | None = None
    """From the text that arrives to the value; None leaves it as it is. NULL is None."""

    def of(self, column: Expression) -> Expression:
        """The column, as it is selected and decoded."""
        selected = self.expression(column)
        return selected if self.decode is None else sa.type_coerce(selected, Decoded(self.decode))


class Decoded(sa.types.TypeDecorator[object]):
    """A text column whose values are decoded as they arrive."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, decode: Callable[[str], object]) -> None:
        super().__init__()
        self.decode = decode

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> object:
        """Decode one value."""
        del dialect
        return None if value is None else self.decode(value)


def _itself(column: Expression) -> Expression:
    return column


def cut_text(expression: Expression, limit: int) -> sa.ColumnElement[str]:
    """The value as text, cut by the server: a text of 10 MB never gets here."""
    return sa.func.left(sa.cast(expression, sa.Text), limit, type_=sa.Text)


def _text(column: Expression) -> Expression:
    return cut_text(column, MAX_TEXT_CHARACTERS)


def _longer_text(column: Expression) -> Expression:
    """One character beyond what is kept, so that too long a value is seen to be one."""
    return cut_text(column, MAX_TEXT_CHARACTERS + 1)


def _json(column: Expression) -> Expression:
    # to_jsonb would decode escapes, and fail the whole fetch on one "\u0000".
    return _longer_text(sa.func.to_json(column))


def _json_of_texts(column: Expression) -> Expression:
    """An array, each element written as a column of its type is: ``true``, no ``T`` in times."""
    return _json(sa.cast(column, ARRAY(sa.Text)))


def _iso_date(column: Expression) -> Expression:
    return sa.func.to_json(column).op("#>>")(sa.literal_column("'{}'"))


_AS_TEXT: Final = Reading(_text)
_JSON_WORDS: Final = Reading(_json, values.json_words)
_RANGE_WORDS: Final = Reading(_text, values.range_words)

_ELEMENTS: Final = "[]"
_COMPOSITE: Final = "c:"
_RANGE: Final = "r:"
_MULTIRANGE: Final = "m:"

_TEXT: Final[Mapping[str, Reading]] = {
    "json": _JSON_WORDS,
    "jsonb": _JSON_WORDS,
    "hstore": _JSON_WORDS,
    _COMPOSITE: _JSON_WORDS,
    _RANGE: _RANGE_WORDS,
    _MULTIRANGE: _RANGE_WORDS,
    "tsvector": Reading(_text, values.lexemes),
    "xml": Reading(_text, values.xml_words),
    "json[]": _JSON_WORDS,
    "jsonb[]": _JSON_WORDS,
    "hstore[]": _JSON_WORDS,
    f"{_COMPOSITE}[]": _JSON_WORDS,
    f"{_RANGE}[]": Reading(_json_of_texts, values.array_of_ranges_words),
    f"{_MULTIRANGE}[]": Reading(_json_of_texts, values.array_of_ranges_words),
    "tsvector[]": Reading(_json_of_texts, values.array_of_lexemes),
    "xml[]": Reading(_json_of_texts, values.array_of_xml_words),
    _ELEMENTS: Reading(_json_of_texts, values.json_words),
}
"""How a type gives the text of a view; every other one by its usual text."""

_NATIVE: Final = Reading(_itself)
_DATE: Final = Reading(_iso_date)
_PARSED: Final = Reading(_json, values.parse_json)
_NUMBERS: Final = Reading(_json, values.parse_numbers)

_PAYLOAD: Final[Mapping[str, Reading]] = {
    "bool": _NATIVE,
    "int2": _NATIVE,
    "int4": _NATIVE,
    "int8": _NATIVE,
    "float4": _NATIVE,
    "float8": _NATIVE,
    "numeric": Reading(_longer_text, values.parse_number),
    # ISO 8601; infinity and year 20,000 too.
    "date": _DATE,
    "time": _DATE,
    "timetz": _DATE,
    "timestamp": _DATE,
    "timestamptz": _DATE,
    "json": _PARSED,
    "jsonb": _PARSED,
    "hstore": _PARSED,
    "int2vector": _PARSED,
    "oidvector": _PARSED,
    "float4[]": _NUMBERS,
    "float8[]": _NUMBERS,
    "numeric[]": _NUMBERS,
    _ELEMENTS: _PARSED,
}
"""How a type gives a payload value; every other one by its usual text."""


def text_of(
    column: Expression, declared: Column, *, longest: int = MAX_TEXT_CHARACTERS
) -> Expression:
    """The words of a column, as text of a view.

    Args:
        column: Which one.
        declared: Its type.
        longest: Most characters that are read where the type is one of texts.
    """
    reading = _reading(_TEXT, declared)
    return cut_text(column, longest) if reading is _AS_TEXT else reading.of(column)


def payload_of(column: Expression, declared: Column) -> Expression:
    """The value of a column, as a payload field."""
    return _reading(_PAYLOAD, declared).of(column)


def _reading(table: Mapping[str, Reading], declared: Column) -> Reading:
    """The most special entry: of the type, or else of any array."""
    if declared.element_type is None or declared.element_kind is None:
        return table.get(_name(declared.base_type, declared.kind), _AS_TEXT)
    name = _name(declared.element_type, declared.element_kind)
    return table.get(f"{name}{_ELEMENTS}", table[_ELEMENTS])


def _name(base_type: str, kind: str) -> str:
    """A base type's own name; of others, whose names people choose, only how they are made."""
    return base_type if kind == "b" else f"{kind}:"
