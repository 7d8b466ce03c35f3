"""The page on embedding quotes the results file, which shows what the page claims."""

from __future__ import annotations

from benchmarks.measured_page import newest_in
from benchmarks.results import Results
from benchmarks.runtime_tables import FOLDER, PAGE, renew


def test_the_committed_page_is_what_the_newest_results_give() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert renew(text, Results.read(newest_in(FOLDER))) == text
    assert "| `search` of 55,000 documents, process start to end | " in text
    assert "| search texts by onnx, 95 of 100 within | " in text


def test_every_search_and_small_sync_is_faster_than_with_torch() -> None:
    outcome = Results.read(newest_in(FOLDER)).outcome("runtimes")
    assert outcome is not None

    for key in ("ratio/search/before", "ratio/sync/before"):
        assert min(outcome.figure(key).samples) > 1
