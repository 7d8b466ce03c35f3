"""Reading ahead and recording behind keep order and lose no error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from sync_pipeline.engine.overlap import read_ahead, record_behind


def test_items_come_in_order() -> None:
    assert list(read_ahead(iter(range(50)))) == list(range(50))


def test_one_item_is_fetched_while_another_is_worked_on() -> None:
    second_was_asked_for = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second_was_asked_for.set()
        yield 2

    with closing(read_ahead(items())) as ahead:
        next(ahead)

        assert second_was_asked_for.wait(5)


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    seen: list[int] = []

    def take_all() -> None:
        seen.extend(read_ahead(items()))

    with pytest.raises(KeyError, match="broken"):
        take_all()

    assert seen == [1]


def test_everything_is_recorded_in_order_when_the_with_ends() -> None:
    recorded: list[int] = []

    with record_behind(recorded.append) as record:
        for number in range(20):
            record(number)

    assert recorded == list(range(20))


def refuse(number: int) -> None:
    raise KeyError(f"number {number}")


def test_a_failed_record_is_raised_by_the_next_call() -> None:
    accepted: list[int] = []

    def submit_two() -> None:
        with record_behind(refuse) as record:
            record(1)
            accepted.append(1)
            record(2)
            accepted.append(2)

    with pytest.raises(KeyError, match="number 1"):
        submit_two()

    assert accepted == [1]


def test_a_failed_last_record_is_raised_at_the_end() -> None:
    with pytest.raises(KeyError, match="number 1"), record_behind(refuse) as record:
        record(1)


def test_an_error_of_the_caller_does_not_lose_what_was_submitted() -> None:
    recorded: list[int] = []

    def fail_after_one() -> None:
        with record_behind(recorded.append) as record:
            record(1)
            raise ZeroDivisionError("by the caller")

    with pytest.raises(ZeroDivisionError, match="by the caller"):
        fail_after_one()

    assert recorded == [1]
