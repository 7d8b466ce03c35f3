"""Halving a batch until the culprit stands alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import OutOfSpaceError, PermanentError, TransientError
from sync_pipeline.engine.bisect import MAX_CULPRITS_WITHOUT_SUCCESS, apply_bisecting


class Applier:
    """Refuses runs that hold a bad item; remembers what succeeded and who was blamed."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.done: list[int] = []
        self.blamed: list[int] = []
        self.calls = 0

    def apply(self, run: Sequence[int]) -> int:
        self.calls += 1
        if self.bad & set(run):
            raise PermanentError("refused")
        self.done += run
        return len(run)

    def blame(self, item: int, error: PermanentError) -> None:
        self.blamed.append(item)

    def run(self, items: Sequence[int]) -> list[int]:
        return [size for _, size in apply_bisecting(items, self.apply, blame=self.blame)]


def test_a_good_batch_is_applied_at_once() -> None:
    applier = Applier()

    sizes = applier.run(range(100))

    assert sizes == [100]
    assert applier.calls == 1


def test_no_items_are_no_call() -> None:
    applier = Applier()

    assert applier.run([]) == []
    assert applier.calls == 0


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=5))
def test_exactly_the_bad_items_are_blamed_and_all_others_applied_in_order(
    size: int, bad: set[int]
) -> None:
    applier = Applier(*bad)

    applier.run(range(size))

    assert applier.done == [item for item in range(size) if item not in bad]
    assert applier.blamed == [item for item in range(size) if item in bad]


def test_one_culprit_among_many_is_found_in_few_calls() -> None:
    applier = Applier(777)

    applier.run(range(1024))

    assert applier.calls <= 2 * 10 + 1


def test_as_many_culprits_as_may_fail_without_a_success_are_blamed() -> None:
    applier = Applier(*range(MAX_CULPRITS_WITHOUT_SUCCESS))

    applier.run(range(MAX_CULPRITS_WITHOUT_SUCCESS))

    assert len(applier.blamed) == MAX_CULPRITS_WITHOUT_SUCCESS


def test_where_everything_fails_the_fault_is_not_in_the_items() -> None:
    applier = Applier(*range(1000))

    with pytest.raises(PermanentError, match="refused"):
        applier.run(range(1000))

    assert len(applier.blamed) == MAX_CULPRITS_WITHOUT_SUCCESS
    assert applier.calls < 50


def test_after_one_success_any_number_may_fail() -> None:
    applier = Applier(*range(1, 100))

    applier.run(range(100))

    assert applier.done == [0]
    assert len(applier.blamed) == 99


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OutOfSpaceError("full"), id="no space left"),
        pytest.param(TransientError("later"), id="an outage"),
    ],
)
def test_what_smaller_batches_cannot_help_is_raised_at_once(error: Exception) -> None:
    calls = 0

    def apply(run: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error), match=str(error)):
        list(apply_bisecting([1, 2, 3], apply, blame=lambda *_: None))

    assert calls == 1


def test_a_batch_too_large_for_memory_is_halved() -> None:
    blamed: list[PermanentError] = []

    def apply(run: Sequence[int]) -> int:
        if len(run) > 2 or 5 in run:
            raise MemoryError
        return len(run)

    sizes = [
        size
        for _, size in apply_bisecting(
            range(8), apply, blame=lambda _item, error: blamed.append(error)
        )
    ]

    assert sum(sizes) == 7
    assert [str(error) for error in blamed] == ["this item alone needs more memory than there is"]
