"""Several calls at once, in order, of which nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sync_pipeline.engine.overlap import in_flight


def test_results_come_in_order_and_several_at_a_time() -> None:
    together = threading.Barrier(3)

    def work(number: int) -> int:
        together.wait(timeout=10)
        return number * 10

    assert list(in_flight(work, range(6), most=3)) == [0, 10, 20, 30, 40, 50]


def test_one_at_a_time_needs_no_thread() -> None:
    threads = list(in_flight(lambda _: threading.current_thread(), range(2), most=1))

    assert threads == [threading.current_thread()] * 2


def test_what_is_under_way_when_one_fails_is_not_lost() -> None:
    both = threading.Barrier(2)
    done: list[int] = []

    def work(number: int) -> int:
        if number < 2:
            both.wait(timeout=10)
        if number == 0:
            raise ValueError("the first")
        done.append(number)
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="the first"):
        found.extend(in_flight(work, range(100), most=2))

    assert 1 in done
    assert sorted(found) == sorted(done)
    assert len(done) < 10


def test_what_is_done_when_the_items_end_early_is_yielded() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        yield from range(5)
        raise KeyError("stop")

    def work(number: int) -> int:
        done.append(number)
        return number

    found: list[int] = []
    with pytest.raises(KeyError):
        found.extend(in_flight(work, items(), most=2))

    # They are begun in order, and end as threads have it.
    assert found == sorted(done)
    assert found
