"""From what PostgreSQL sends to the values that a row may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.document import MAX_TEXT_CHARACTERS

MAX_JSON_DEPTH: Final = 64
"""Most levels of a JSON value that is parsed; the json module itself gives up near 1,000."""

_OPENING: Final = ("[", "{")


def parse_json(text: str) -> object:
    """Parse a JSON payload; one that is too long, too deep or too large comes as its text, cut.

    PostgreSQL accepts what Python refuses: numbers of 5,000 digits and 6,000 levels.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        return text[:MAX_TEXT_CHARACTERS]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if sum(map(text.count, _OPENING)) > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        return text
    return value


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


class JsonText(sa.types.TypeDecorator[object]):
    """A text column that holds JSON."""

    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> object:
        """Parse one value."""
        del dialect
        return None if value is None else parse_json(value)


class NumericText(sa.types.TypeDecorator[float]):
    """A text column that holds a number of any size.

    Fetched as a number, one 1e400 would fail the whole fetch; here it is
    infinite, which a document's builder refuses for that row alone.
    """

    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> float | None:
        """Turn one value into a float."""
        del dialect
        return None if value is None else float(value)
