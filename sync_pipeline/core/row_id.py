"""The id of a row: one column as it is, or several columns joined so that no two rows collide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "/"
"""Between the values of several columns."""
ESCAPES: Final = (("~", "~0"), (SEPARATOR, "~1"))
"""As in a JSON pointer (RFC 6901): first the tilde, then the separator."""


def join_row_id(values: Sequence[str]) -> str:
    """Make the row id of the values of an entity's id columns.

    Injective for each number of columns: a single value stays as it is, several are
    escaped and joined by a slash. ``("1", "A/5")`` is ``1/A~15``.
    """
    if len(values) == 1:
        return values[0]
    return SEPARATOR.join(map(_escaped, values))


def split_row_id(row_id: str, *, columns: int) -> tuple[str, ...] | None:
    """Undo ``join_row_id``; None for a text that it never gives for so many columns."""
    if columns == 1:
        return (row_id,)
    values = tuple(map(_unescaped, row_id.split(SEPARATOR)))
    return values if len(values) == columns and join_row_id(values) == row_id else None


def _escaped(value: str) -> str:
    for plain, escape in ESCAPES:
        value = value.replace(plain, escape)
    return value


def _unescaped(value: str) -> str:
    for plain, escape in reversed(ESCAPES):
        value = value.replace(escape, plain)
    return value
