"""Finding values in records, whatever shape those have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from sync_pipeline.core.json_path import format_path, parse_path
from sync_pipeline.core.landing.spec import FieldTest, Path


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""There is no such field, which is another thing than a field with null in it."""

Missing: TypeAlias = Literal[_Missing.MISSING]


def parse_field(text: str) -> Path:
    """Read where a value is: ``Sklad.praha``, ``tags[0]``, ``tags[].name``, ``"a.b"``.

    Raises:
        ValueError: it says no place.
    """
    try:
        return parse_path(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} names no field: write keys with dots between them, [0] for an element of a "
            'list, [] for each of them, and "..." around a key with a dot or a bracket in it'
        ) from error


def told_field(path: Path) -> str:
    """The field as the settings spell it."""
    return format_path(path)


def value_at(record: Mapping[str, Any], path: Path) -> Any | Missing:
    """The value of a field; of ``tags[].name`` the list of those that there are."""
    return _step(record, path)


def _step(value: Any, path: Path) -> Any | Missing:
    if not path:
        return value
    step, rest = path[0], path[1:]
    match step:
        case str():
            if not isinstance(value, Mapping) or step not in value:
                return MISSING
            return _step(value[step], rest)
        case int():
            if not _is_list(value) or step >= len(value):
                return MISSING
            return _step(value[step], rest)
        case None:
            if not _is_list(value):
                return MISSING
            return [found for found in _each(value, rest) if found is not MISSING]


def _each(values: Sequence[Any], path: Path) -> Iterator[Any | Missing]:
    for value in values:
        yield _step(value, path)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def meets(record: Mapping[str, Any], test: FieldTest) -> bool:
    """Whether a field has one of the accepted values; of a list, whether one element has.

    Numbers and their texts are told apart as little as ids are: ``1`` and ``"1"`` are one;
    true is true alone.
    """
    found = value_at(record, test.field)
    value = None if found is MISSING else found
    values = value if isinstance(value, list | tuple) else (value,)
    return any(_is_same(element, accepted) for element in values for accepted in test.accepted)


def _is_same(value: Any, accepted: Any) -> bool:
    if value is None or accepted is None or isinstance(accepted, bool) or isinstance(value, bool):
        return value is accepted
    return str(value) == str(accepted)
