"""Ranks: of two texts the smaller one comes first, whatever entities they are of."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.entity import Condition, Criterion, Entity
from sync_pipeline.core.priority import LAST_CHARACTER, PLACE_CHARACTERS, RANK_CHARACTERS, rank_of

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
