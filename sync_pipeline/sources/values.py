"""From what PostgreSQL sends to the values that a row may hold: words and payload values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

from sync_pipeline.core import markup
from sync_pipeline.core.document import MAX_TEXT_CHARACTERS
from sync_pipeline.core.numbers import exact_number, exact_whole_number

MAX_JSON_DEPTH: Final = 64
"""Most levels of a JSON value that is parsed; the json module itself gives up near 1,000."""

_OPENING: Final = ("[", "{")
_JSON_TOKEN: Final = re.compile(
    r'"(?P<string>[^"\\]*(?:\\.[^"\\]*)*)"?|(?P<mark>[\[\]{},:])|(?P<bare>[^\s"\[\]{},:\\]+)',
    re.DOTALL,
)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_BOUND: Final = re.compile(r'"((?:[^"\\]|\\.|"")*+)"?|([^"\[\](){},]+)', re.DOTALL)
_BOUND_ESCAPE: Final = re.compile(r'\\(.)|"(")', re.DOTALL)
_LEXEME: Final = re.compile(r"'((?:[^']|'')*)'(?::[0-9A-D,]+)?")


# --- words ------------------------------------------------------------------------------


def json_words(text: str) -> str | None:
    """Join the strings and numbers inside a JSON text; keys, true, false and null are none."""
    return _joined(_json_values(text))


def range_words(text: str) -> str | None:
    """Join the bounds of a range, or of all ranges of a multirange; an open end has none."""
    if text == "empty":
        return None
    return _joined(
        _BOUND_ESCAPE.sub(r"\1\2", quoted) if quoted else bare
        for quoted, bare in _BOUND.findall(text)
    )


def lexemes(text: str) -> str | None:
    """Join the words of a ``tsvector``, without their places."""
    return _joined(lexeme.replace("''", "'") for lexeme in _LEXEME.findall(text))


def xml_words(text: str) -> str | None:
    """Join what stands between the tags of an XML document and in its attributes."""
    return " ".join(markup.xml_words(text).split()) or None


def array_of_ranges_words(text: str) -> str | None:
    """Join the bounds of an array of ranges, given as JSON."""
    return _joined(range_words(element) for element in _json_values(text))


def array_of_lexemes(text: str) -> str | None:
    """Join the words of an array of ``tsvector``, given as JSON."""
    return _joined(lexemes(element) for element in _json_values(text))


def array_of_xml_words(text: str) -> str | None:
    """Join the words of an array of XML documents, given as JSON."""
    return _joined(xml_words(element) for element in _json_values(text))


def _joined(words: Iterator[str | None]) -> str | None:
    return " ".join(filter(None, words)) or None


def _json_values(text: str) -> Iterator[str]:
    """Yield strings, decoded, and numbers, in their order; of any depth, and of a text cut off."""
    inside: list[str] = []
    before = "["
    for token in _JSON_TOKEN.finditer(text):
        if (mark := token["mark"]) is not None:
            before = mark
            if mark in _OPENING:
                inside.append(mark)
            elif mark in "]}" and inside:
                inside.pop()
        elif (bare := token["bare"]) is not None:
            if bare[0] in "-0123456789":
                yield bare
        elif before in ":[" or (before == "," and inside[-1:] == ["["]):  # else it is a key
            yield _decoded(token["string"])


def _decoded(string: str) -> str:
    """Undo JSON's escapes; half of a surrogate pair is nothing."""
    if "\\" not in string:
        return string
    try:
        plain = json.loads(f'"{string}"', strict=False)
    except ValueError:  # cut off in the middle of an escape
        return _decoded(string[: string.rindex("\\")])
    return _SURROGATE.sub("", plain)


# --- payload ----------------------------------------------------------------------------


def parse_json(text: str) -> object:
    """Parse a JSON payload; one that is too long, too deep or too large comes as its text, cut.

    Numbers are exact: see ``core.numbers``.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        return text[:MAX_TEXT_CHARACTERS]
    try:
        value = json.loads(text, parse_float=exact_number, parse_int=exact_whole_number)
    except (ValueError, RecursionError):
        return text
    if sum(map(text.count, _OPENING)) > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        return text
    return value


def parse_numbers(text: str) -> object:
    """Parse an array of numbers, given as JSON, in which NaN and the infinities are strings."""
    value = parse_json(text)
    return _with_floats(value) if isinstance(value, list) else value


def parse_number(text: str) -> float | int | str:
    """Read a ``numeric`` exactly; one that is too long to be kept is NaN.

    Fetched as a number, one 1e400 would fail the whole fetch.
    """
    return exact_number(text) if len(text) <= MAX_TEXT_CHARACTERS else math.nan


def _with_floats(value: object) -> object:
    if isinstance(value, list):
        return [_with_floats(element) for element in value]
    return exact_number(value) if isinstance(value, str) else value


def _depth(value: object) -> int:
    """Count the levels of a parsed JSON value, without recursion."""
    depth = 0
    level = [value]
    while level:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, list | dict)
            for child in (node.values() if isinstance(node, Mapping) else node)
        ]
    return depth
