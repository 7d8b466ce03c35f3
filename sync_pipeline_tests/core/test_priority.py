"""Ranks: of two texts the smaller one comes first, whatever entities they are of."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.entity import Condition, Criterion, Entity
from sync_pipeline.core.priority import (
    LAST_CHARACTER,
    PLACE_CHARACTERS,
    RANK_CHARACTERS,
    iter_pieces,
    rank_of,
)

ACTIVE = Criterion(when=(Condition("status", ("active",)),))
NEWEST = Criterion(column="updated_at", is_descending=True)
CHEAPEST = Criterion(column="price")

numbers = st.floats(allow_nan=False)


@given(numbers, numbers)
def test_ranks_are_in_the_order_of_the_numbers(left: float, right: float) -> None:
    up = rank_of([repr(left)], [CHEAPEST]), rank_of([repr(right)], [CHEAPEST])
    down = rank_of([repr(left)], [NEWEST]), rank_of([repr(right)], [NEWEST])

    assert (up[0] < up[1], up[0] == up[1]) == (left < right, left == right)
    assert (down[0] < down[1], down[0] == down[1]) == (left > right, left == right)


@pytest.mark.parametrize("criterion", [NEWEST, CHEAPEST])
@pytest.mark.parametrize("value", [None, "NaN", str(math.nan)])
def test_what_has_no_value_comes_last_in_both_directions(
    criterion: Criterion, value: str | None
) -> None:
    known = [rank_of([number], [criterion]) for number in ("-Infinity", "0", "1e999")]

    assert max(known) < rank_of([value], [criterion])


def test_a_number_beyond_every_double_still_has_a_rank() -> None:
    ranks = [rank_of([number], [CHEAPEST]) for number in ("-1e400", "-1e-400", "1e-400", "1e400")]

    assert ranks == sorted(ranks)


def test_the_criterion_in_front_decides_and_the_next_one_among_equals() -> None:
    rows = [(True, "20"), (True, "10"), (True, None), (False, "30"), (False, "5"), (False, None)]

    ranks = [rank_of(row, [ACTIVE, NEWEST]) for row in rows]

    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(rows)


def test_what_an_entity_does_not_say_counts_as_not_met() -> None:
    active, historical = (rank_of([is_met], [ACTIVE]) for is_met in (True, False))
    silent = rank_of([], [])
    dated = rank_of([False, "10"], [ACTIVE, NEWEST])

    filled = [rank.ljust(RANK_CHARACTERS, LAST_CHARACTER) for rank in (active, historical, silent)]

    assert filled[0] < dated < filled[1] == filled[2]


def test_every_place_has_the_same_length() -> None:
    values: list[object] = [True, False, "1", "-1", None]
    criteria = [ACTIVE, ACTIVE, NEWEST, CHEAPEST, NEWEST]

    ranks = [
        rank_of([value], [criterion]) for value, criterion in zip(values, criteria, strict=True)
    ]

    assert {len(rank) for rank in ranks} == {PLACE_CHARACTERS}
    assert rank_of(values, criteria) == "".join(ranks)


def test_criteria_are_told_in_words() -> None:
    rule = Criterion(
        when=(Condition("status", ("active", None)), Condition("is_new", (True,))),
    )

    assert [str(rule), str(NEWEST), str(CHEAPEST)] == [
        "status is active or null and is_new is true",
        "updated_at descending",
        "price ascending",
    ]


def test_columns_are_named_once() -> None:
    entity = Entity(
        name="material",
        table="materials",
        views=(("text", ("name",)),),
        priority=(ACTIVE, NEWEST, Criterion(when=ACTIVE.when)),
    )

    assert entity.priority_columns == ("status", "updated_at")
    assert not set(entity.priority_columns) & set(entity.mapped_columns)
    assert repr(entity) == repr(Entity(name="material", table="materials", views=entity.views))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=2, max_size=8))
def test_sorting_ranks_sorts_rows(rows: list[tuple[bool, int]]) -> None:
    by_rank = sorted(rows, key=lambda row: rank_of([row[0], str(row[1])], [ACTIVE, NEWEST]))

    assert all(
        (not before[0], -before[1]) <= (not after[0], -after[1])
        for before, after in itertools.pairwise(by_rank)
    )


def filled(rank: str) -> str:
    """As ranks of a scope are compared."""
    return rank.ljust(RANK_CHARACTERS, LAST_CHARACTER)


def test_a_piece_holds_what_meets_a_condition_or_what_does_not() -> None:
    met, unmet = (rank_of([is_met], [ACTIVE]) for is_met in (True, False))
    ranks = [*[filled(met)] * 3, *[filled(unmet)] * 5]

    assert list(iter_pieces(ranks, size=4)) == [(0, 3), (3, 7), (7, 8)]


def test_a_number_cuts_no_piece_and_a_condition_before_it_does() -> None:
    by_number = [filled(rank_of([str(number)], [CHEAPEST])) for number in range(5)]
    after_condition = [
        filled(rank_of([is_met, str(number)], [ACTIVE, CHEAPEST]))
        for is_met in (True, False)
        for number in range(2)
    ]

    assert list(iter_pieces(by_number, size=3)) == [(0, 3), (3, 5)]
    assert list(iter_pieces(after_condition, size=3)) == [(0, 2), (2, 4)]
    assert list(iter_pieces([], size=3)) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12), st.integers(1, 5))
def test_pieces_cut_without_a_gap(rows: list[tuple[bool, int]], size: int) -> None:
    ranks = sorted(filled(rank_of([row[0], str(row[1])], [ACTIVE, NEWEST])) for row in rows)

    cut = list(iter_pieces(ranks, size=size))

    assert [place for start, stop in cut for place in range(start, stop)] == [*range(len(rows))]
    assert all(0 < stop - start <= size for start, stop in cut)
