"""The page on search quality quotes the results file, and is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import cross_language
from benchmarks.measured_page import newest_in
from benchmarks.quality_tables import FOLDER, PAGE, renew
from benchmarks.results import Results
from benchmarks.retrieval import DEFAULT, FUSIONS, PARTS
from sync_pipeline.core.fusion import Fusion


@pytest.fixture(scope="module")
def results() -> Results:
    """The newest."""
    return Results.read(newest_in(FOLDER))


def test_the_committed_page_is_what_the_newest_results_give(results: Results) -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert renew(text, results) == text
    assert text.count("<!-- measured: ") == text.count("<!-- end -->") == 8


def test_hybrid_search_is_at_least_as_good_as_its_parts_on_the_projects_own_set(
    results: Results,
) -> None:
    outcome = results.outcome("retrieval")
    assert outcome is not None

    for tag in ("en", "ru"):
        keys = [f"sample/{way}/{tag}/ndcg_at_10/mean" for way in (*PARTS, DEFAULT.describe())]
        *parts, hybrid = (outcome.figure(key).value for key in keys)
        assert hybrid >= max(parts)
    assert results.broken == []


def test_what_the_page_says_of_the_default_is_so(results: Results) -> None:
    outcome = results.outcome("retrieval")
    assert outcome is not None

    def ndcg(way: str, tag: str, name: str = "sample") -> float:
        return outcome.figure(f"{name}/{way}/{tag}/ndcg_at_10/mean").value

    by_places = [fusion.describe() for fusion in FUSIONS if fusion.method == "rrf"]
    for way in by_places:
        assert ndcg(way, "en") < ndcg("dense", "en")
        assert all(ndcg(way, tag) < ndcg(DEFAULT.describe(), tag) for tag in ("en", "ru"))
    unweighted = [fusion.describe() for fusion in FUSIONS if not fusion.weights]
    for tag in ("de", "es", "ru"):
        best = max(ndcg(way, tag, "languages") for way in unweighted)
        assert best < ndcg("text", tag, "languages")


def test_the_default_is_among_what_was_measured() -> None:
    assert Fusion() in FUSIONS


def test_a_part_that_nobody_measured_is_found_out(results: Results) -> None:
    with pytest.raises(KeyError, match="speed"):
        renew("<!-- measured: speed -->\n<!-- end -->", results)


def test_what_stood_in_a_part_before_is_replaced(results: Results) -> None:
    text = "a\n<!-- measured: cost -->\nold\n<!-- end -->\nb"

    renewed = renew(text, results)

    assert "old" not in renewed
    assert re.search(
        r"^a\n<!-- measured: cost -->\n\| Candidates .*\n<!-- end -->\nb$", renewed, re.DOTALL
    )


def test_committed_results_name_no_folder_of_the_machine() -> None:
    text = newest_in(FOLDER).read_text(encoding="utf-8")

    assert not any(place in text for place in ("/tmp", "/home", "/work", "/root"))  # noqa: S108 - looked for, not used


@pytest.mark.shared_data
def test_a_row_of_another_language_asks_for_the_british_row_and_its_namesakes(
    shared_data: Path,
) -> None:
    queries = list(cross_language.iter_queries(shared_data / "cwicr"))

    assert len(queries) == len(cross_language.LANGUAGES) * cross_language.QUERIES_PER_LANGUAGE
    assert {tuple(query["tags"]) for query in queries} == {("de",), ("fr",), ("es",), ("ru",)}  # type: ignore[arg-type]  # JSON
    assert all(query["relevant"] for query in queries)
    assert len({query["query"] for query in queries}) == len(queries)
