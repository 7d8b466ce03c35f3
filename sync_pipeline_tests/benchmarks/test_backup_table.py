"""The page on backups quotes the results file, which shows what the page claims."""

from __future__ import annotations

from benchmarks.backup_table import FOLDER, PAGE, renew
from benchmarks.measured_page import newest_in
from benchmarks.results import Results


def test_the_committed_page_is_what_the_newest_results_give() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert renew(text, Results.read(newest_in(FOLDER))) == text
    assert "| index rebuilt from the cache, 0 embedded | " in text


def test_a_rebuild_from_the_cache_costs_less_than_embedding_again() -> None:
    outcome = Results.read(newest_in(FOLDER)).outcome("backup")
    assert outcome is not None

    rebuild, embed = outcome.figure("rebuild").value, outcome.figure("embed").value

    assert rebuild < embed
    assert outcome.figure("size/light").value < outcome.figure("size/state").value
