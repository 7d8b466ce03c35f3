"""Metrics are those of the literature, and chance is drawn from a seed."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.core.evaluation import (
    Difference,
    compare,
    estimate,
    measure,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)

GRADES = {"a": 3, "b": 2, "c": 1, "d": 0}


def test_recall_is_the_share_of_relevant_documents_among_the_first() -> None:
    ranked = ["x", "a", "d", "c", "b"]

    assert recall_at(ranked, GRADES, k=2) == pytest.approx(1 / 3)
    assert recall_at(ranked, GRADES, k=4) == pytest.approx(2 / 3)
    assert recall_at(ranked, GRADES, k=5) == 1
    assert recall_at([], GRADES, k=5) == 0


def test_the_gain_of_a_place_is_the_grade_discounted_by_its_logarithm() -> None:
    found = ndcg_at(["x", "a", "c"], GRADES, k=3)

    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert found == pytest.approx((3 / math.log2(3) + 1 / math.log2(4)) / ideal)


def test_more_relevant_documents_than_places_can_still_be_answered_ideally() -> None:
    grades = {str(number): 1 for number in range(40)}

    assert ndcg_at([str(number) for number in range(10)], grades, k=10) == pytest.approx(1)


def test_the_reciprocal_rank_is_of_the_first_relevant_document() -> None:
    assert reciprocal_rank(["x", "d", "b", "a"], GRADES) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "d"], GRADES) == 0


def test_ndcg_and_mrr_look_at_ten_hits_however_many_there_are() -> None:
    ranked = [*(f"x{number}" for number in range(10)), "a"]

    found = measure(ranked, {"a": 3}, k=11)

    assert (found.recall_at_k, found.ndcg_at_10, found.mrr) == (1, 0, 0)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=15).filter(any),
    st.randoms(use_true_random=False),
)
def test_ndcg_is_what_scikit_learn_computes(grades: list[int], random: Any) -> None:
    ids = [str(number) for number in range(len(grades))]
    ranked = random.sample(ids, len(ids))
    scores = [[-ranked.index(name) for name in ids]]

    ours = ndcg_at(ranked, dict(zip(ids, grades, strict=True)), k=10)

    metrics = importlib.import_module("sklearn.metrics")
    assert ours == pytest.approx(metrics.ndcg_score([grades], scores, k=10))


def test_an_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    few = estimate([0.0, 1.0] * 10, seed=0)
    many = estimate([0.0, 1.0] * 1000, seed=0)

    assert few.low < few.mean == many.mean == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_an_interval_is_the_normal_one_where_there_are_many_queries() -> None:
    values = np.random.default_rng(1).random(2000)

    found = estimate(values.tolist(), seed=0)

    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=half / 5
    )


def test_the_same_seed_gives_the_same_numbers_and_another_one_hardly_others() -> None:
    values = np.random.default_rng(1).random(50).tolist()
    other = np.random.default_rng(2).random(50).tolist()

    assert estimate(values, seed=3) == estimate(values, seed=3)
    assert compare(values, other, seed=3) == compare(values, other, seed=3)
    assert estimate(values, seed=4) != estimate(values, seed=3)
    assert estimate(values, seed=4).low == pytest.approx(estimate(values, seed=3).low, abs=0.02)


def test_a_difference_is_of_the_second_and_counts_who_is_ahead() -> None:
    found = compare([0.1, 0.5, 0.5, 0.2], [0.4, 0.5, 0.4, 0.9], seed=0)

    assert found.mean == pytest.approx((0.3 - 0.1 + 0.7) / 4)
    assert (found.better, found.worse) == (2, 1)
    assert found.low < found.mean < found.high


def test_no_difference_is_no_reason_to_believe_in_one() -> None:
    assert compare([0.5] * 5, [0.5] * 5, seed=0) == Difference(
        mean=0, low=0, high=0, p_value=1, better=0, worse=0
    )


def test_a_difference_in_every_query_is_not_chance() -> None:
    found = compare([0.1] * 30, [0.2] * 30, seed=0)

    assert found.p_value < 0.001
    assert found.is_significant


def test_a_p_value_is_that_of_every_way_to_exchange_the_two() -> None:
    # Of the 8 ways to sign the differences 1, 2 and 3, those that sum to 4 or more, or -4 or less.
    found = compare([0, 2, 0], [1, 0, 3], seed=0)

    sums = [abs(a + b * 2 + c * 3) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert found.mean * 3 == pytest.approx(2)
    expected = sum(value >= 2 for value in sums) / len(sums)
    assert found.p_value == pytest.approx(expected, abs=0.02)
    assert not found.is_significant


def test_values_of_different_queries_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 values cannot be paired with 1"):
        compare([0.1, 0.2], [0.1], seed=0)
