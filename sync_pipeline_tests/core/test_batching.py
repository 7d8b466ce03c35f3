from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.batching import batched, batched_by_size, by_length


@given(st.lists(st.integers()), st.integers(1, 10))
def test_batches_hold_everything_in_order(items: list[int], size: int) -> None:
    batches = list(batched(items, size))

    assert [item for batch in batches for item in batch] == items
    assert all(0 < len(batch) <= size for batch in batches)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(batched([1], 0))


@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(1, 60))
def test_batches_by_size_keep_both_limits(items: list[int], count: int, size: int) -> None:
    batches = list(
        batched_by_size(items, max_items=count, max_bytes=size, size_of=lambda item: item)
    )

    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) <= count for batch in batches)
    assert all(sum(batch) <= size or len(batch) == 1 for batch in batches)


def test_the_longest_text_comes_first_and_ties_keep_their_order() -> None:
    assert by_length(["bb", "a", "ccc", "dd"]) == [2, 0, 3, 1]
