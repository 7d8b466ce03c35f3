from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.row_id import join_row_id, split_row_id

# Much of what could be mistaken for what joins and escapes.
VALUES = st.text(alphabet="~/01aб ", max_size=6)
LISTS = st.integers(1, 4).flatmap(lambda count: st.lists(VALUES, min_size=count, max_size=count))


def test_one_column_stays_as_it_is() -> None:
    assert join_row_id(["a/b~1"]) == "a/b~1"


def test_several_columns_are_escaped_and_joined() -> None:
    assert join_row_id(["1", "A/5", "~"]) == "1/A~15/~0"


@given(LISTS)
def test_splitting_undoes_joining(values: list[str]) -> None:
    assert split_row_id(join_row_id(values), columns=len(values)) == tuple(values)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=2, unique=True))
def test_two_rows_never_share_an_id(pairs: list[tuple[str, str]]) -> None:
    first, second = pairs

    assert join_row_id(first) != join_row_id(second)


@pytest.mark.parametrize(
    "row_id",
    [
        pytest.param("a", id="too few"),
        pytest.param("a/b/c", id="too many"),
        pytest.param("a~/b", id="half an escape"),
        pytest.param("a~2/b", id="no escape of ours"),
    ],
)
def test_what_joining_never_gives_is_no_id(row_id: str) -> None:
    assert split_row_id(row_id, columns=2) is None
