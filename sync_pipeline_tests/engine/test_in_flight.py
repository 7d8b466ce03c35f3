"""Several calls at once, in order, of which nothing is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence

import pytest

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import TransientError
from sync_pipeline.engine.overlap import in_flight
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import FakeEmbedder


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


class OutOfOrder(FakeEmbedder):
    """Of the calls under way at once the last one to come is answered before one fails.

    Args:
        failing: Number of the call that fails, from 1.
    """

    def __init__(self, failing: int) -> None:
        super().__init__(max_batch=4)
        self.concurrency = 3
        self._failing = failing
        self._numbers = itertools.count(1)
        self._answered = threading.Event()

    def embed(self, texts: Sequence[str]) -> Embedded:
        if set(texts) <= set(CANARY_TEXTS):
            return super().embed(texts)
        number = next(self._numbers)
        if number == self._failing:
            assert self._answered.wait(timeout=10)
            raise TransientError(f"call {number} was cut off")
        answer = super().embed(texts)
        if number > self._failing:
            self._answered.set()
        return answer


@pytest.mark.parametrize("failing", [1, 2, 3, 6])
def test_answers_that_came_while_an_earlier_call_failed_are_kept(
    world: World, failing: int
) -> None:
    world.embedder = OutOfOrder(failing)
    for number in range(40):
        world.put(f"{number}", name=f"gravel {number}", unit="t")
    with pytest.raises(TransientError, match=f"call {failing} was cut off"):
        world.run()
    answered = len(world.embedder.embedded)

    report = world.run()

    assert answered >= 4 * failing
    assert (report.cache_hits, report.embedded_texts) == (answered, 40 - answered)
    assert world.is_clean()
