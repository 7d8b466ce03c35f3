from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from sync_pipeline.core.row_dataclass import row_dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frozen:
    name: str
    words: tuple[str, ...] = ()


@row_dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    name: str
    words: tuple[str, ...] = ()


@row_dataclass(frozen=True, slots=True, kw_only=True)
class _Longer(_Row):
    size: int


def test_it_is_a_dataclass_that_equals_and_hashes_as_a_frozen_one() -> None:
    row, same, other = _Row(name="a", words=("b",)), _Row(name="a", words=("b",)), _Row(name="c")

    assert row == same != other
    assert hash(row) == hash(_Frozen(name="a", words=("b",))) != hash(other)
    assert {row, same, other} == {row, other}
    assert replace(row, name="c", words=()) == other
    assert not hasattr(row, "__dict__")


def test_fields_of_the_base_come_first() -> None:
    assert [field.name for field in fields(_Longer)] == ["name", "words", "size"]
    assert _Longer(name="a", size=1) != _Row(name="a")


def test_no_call_stands_between_a_row_and_its_fields() -> None:
    # What the time of a frozen one goes into.
    assert "__setattr__" in vars(_Frozen)
    assert "__setattr__" not in vars(_Row)
    with pytest.raises(FrozenInstanceError):
        _Frozen(name="a").name = "b"  # type: ignore[misc]
    _Row(name="a").name = "b"  # type: ignore[misc]  # no other code: the type checker sees it
