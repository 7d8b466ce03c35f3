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


def value_at(record: Any, path: Path) -> Any | Missing:
    """The value of a field; of ``tags[].name`` the list of those that there are.

    What is no object has no fields.
    """
    if type(record) is dict and len(path) == 1 and isinstance(path[0], str):
        return record.get(path[0], MISSING)
    return _step(record, path)


def _step(value: Any, path: Path) -> Any | Missing:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        return _step(value[step], rest) if is_object(value) and step in value else MISSING
    if not _is_list(value):
        return MISSING
    if step is None:
        return [found for found in _each(value, rest) if found is not MISSING]
    return _step(value[step], rest) if step < len(value) else MISSING


def is_object(value: Any) -> bool:
    """Whether a value has fields; a dictionary is seen at once, twenty times as fast."""
    return type(value) is dict or isinstance(value, Mapping)


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
    if not isinstance(value, list | tuple):
        return _is_one_of(value, test.accepted)
    return any(_is_one_of(element, test.accepted) for element in value)


def _is_one_of(value: Any, accepted: Sequence[Any]) -> bool:
    for it in accepted:
        if value is it:
            return True
        if value is None or it is None or isinstance(it, bool) or isinstance(value, bool):
            continue
        if str(value) == str(it):
            return True
    return False
