"""How rankings are joined is a value with rules."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.core.fusion import Fusion


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"rrf_k": 0}, "rrf_k is at least 1, not 0", id="constant"),
        pytest.param({"candidates": 0}, "candidates is at least 1, not 0", id="candidates"),
        pytest.param(
            {"weights": {"text": 1, "bm25": 0}},
            "a weight lies between 1 and 10; that of bm25",
            id="no weight",
        ),
        pytest.param({"weights": {"text": 11}}, "that of text does not", id="too much weight"),
    ],
)
def test_numbers_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fusion(**values)


def test_each_ranking_hands_over_four_documents_for_each_hit_at_least() -> None:
    fusion = Fusion(candidates=30)

    assert [fusion.candidates_for(limit) for limit in (1, 7, 8, 100)] == [30, 30, 32, 400]


def test_a_ranking_is_there_as_often_as_it_counts() -> None:
    fusion = Fusion(weights={"name": 3, "unknown": 2})

    assert list(fusion.weighted({"name": "n", "bm25": "b"})) == ["n", "n", "n", "b"]


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        pytest.param(Fusion(), "fusion=dbsf,candidates=200", id="scores"),
        pytest.param(
            Fusion(method="rrf", rrf_k=60, candidates=50, weights={"name": 2}),
            "fusion=rrf,rrf_k=60,candidates=50,weights.name=2",
            id="places and weights",
        ),
    ],
)
def test_it_is_told_in_the_words_of_the_settings(fusion: Fusion, words: str) -> None:
    assert fusion.describe() == words
