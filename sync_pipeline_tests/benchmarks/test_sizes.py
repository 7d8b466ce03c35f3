"""What the benchmarks of index options and long texts count, on numbers that fit on a hand."""

import numpy as np
import pytest

from benchmarks.index_sizes import WAYS, exact_rankings, own_builds, recall
from benchmarks.long_text_data import iter_long_texts, take_out
from benchmarks.long_texts import LONGEST, answer_ranks, best_passages, group, means, overlap
from benchmarks.real_vectors import RealVectors


def row(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(numbers, dtype=np.float32)


def twenty_on_a_line() -> RealVectors:
    """Document ``n`` scores ``n``, except that the tenth and eleventh best score the same."""
    scores = np.arange(20, dtype=np.float32)
    scores[9] = scores[10]
    return RealVectors(documents=scores[:, None], queries=np.ones((1, 1), dtype=np.float32))


def test_recall_is_the_share_of_the_ten_nearest_and_a_tie_counts() -> None:
    vectors = twenty_on_a_line()
    exact = exact_rankings(vectors, np.ones(20, dtype=bool))

    assert recall([list(range(10, 20))], exact, vectors) == 1
    assert recall([[9, *range(11, 20)]], exact, vectors) == 1
    assert recall([[*range(11, 20), 0]], exact, vectors) == pytest.approx(0.9)
    assert recall([[19]], exact, vectors) == pytest.approx(0.1)


def test_documents_of_other_tenants_are_not_missed() -> None:
    vectors = twenty_on_a_line()

    exact = exact_rankings(vectors, np.arange(20) < 15)

    assert exact.tolist() == [5]


def test_what_only_searches_in_another_way_is_not_built_again() -> None:
    builds = own_builds()

    assert "defaults" in builds
    assert "hnsw_ef 400" not in builds
    assert {str(it.built) for it in WAYS.values()} == {str(it.built) for it in builds.values()}


def test_a_document_scores_as_its_best_passage_and_its_mean_is_a_unit_vector() -> None:
    passages = np.stack([row(1, 0), row(0, 1), row(0.6, 0.8)])
    owners = np.array([0, 0, 1])

    best = best_passages(np.stack([row(0, 1)]), passages, owners)

    assert best.tolist() == [[1, pytest.approx(0.8)]]
    assert np.allclose(means(passages, owners), [[0.5**0.5, 0.5**0.5], [0.6, 0.8]])


def test_an_answer_stands_behind_those_that_score_the_same() -> None:
    scores = np.stack([row(0.9, 0.5, 0.5, 0.1)])

    assert answer_ranks(scores, np.array([1])).tolist() == [3]
    assert answer_ranks(scores, np.array([0])).tolist() == [1]


def test_overlap_counts_ties_as_found() -> None:
    exact = twenty_on_a_line().documents.T

    assert overlap([[9, *range(11, 20)]], exact) == 1
    assert overlap([[0]], exact) == 0


def test_passages_are_grouped_to_documents_without_gaps() -> None:
    owners = group(1_000)

    sizes = np.bincount(owners)
    assert len(owners) == 1_000
    assert sizes.min() >= 1
    assert sizes.max() == LONGEST


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        pytest.param(["S" * 40, "R" * 60], ("S" * 40, ["R" * 60]), id="long enough"),
        pytest.param(["S" * 39, "R" * 60], (None, ["S" * 39, "R" * 60]), id="too short to search"),
        pytest.param(["S" * 40, "R" * 59], (None, ["S" * 40, "R" * 59]), id="too little left"),
        pytest.param(["S" * 90], (None, ["S" * 90]), id="nothing left"),
    ],
)
def test_a_sentence_is_taken_out_where_both_parts_are_of_use(
    sentences: list[str], expected: tuple[str | None, list[str]]
) -> None:
    assert take_out(sentences) == expected


def test_no_search_stands_in_its_document_word_for_word() -> None:
    descriptions = [
        f"Tool {number} is a server that aligns many sequences. It reads files and writes "
        f"the alignments number {number} as tables."
        for number in range(400)
    ]

    texts = list(iter_long_texts(descriptions))

    assert len(texts[0].text) > 19_000
    assert all(query not in text.text for text in texts for query, _ in text.queries)
    place = texts[0].queries[1][1]
    assert texts[0].text[place:].startswith("It reads files and writes the alignments number 1 ")
