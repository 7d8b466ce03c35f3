"""What a row's place in its scope is told from: which columns can say it, and as which number."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.sources.layout import Column

_TIMES: Final = frozenset({"timestamptz", "timestamp", "date"})
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8"})


def why_not_a_rank(column: Column) -> str | None:
    """Say why a priority cannot go by a column's values, and what to write; None where it can."""
    if column.base_type in _TIMES | _NUMBERS or column.base_type == "bool":
        return None
    return (
        f"priority column {column.name!r} is of type {column.type_name}, whose order does not say "
        "what comes first: it must be a number, a time, a date or a boolean. Name its values "
        f"instead: priority: [{{when: {{{column.name}: VALUE}}}}]"
    )


def as_number(column: sa.ColumnElement[Any], declared: Column) -> sa.ColumnElement[str]:
    """The text of a number that grows with the value: of a time the seconds since 1970.

    As text, for no number of ours holds every ``numeric``.
    """
    number = column
    if declared.base_type in _TIMES:
        number = sa.extract("epoch", column)
    elif declared.base_type == "bool":
        number = sa.cast(column, sa.Integer)
    return sa.cast(number, sa.Text)
