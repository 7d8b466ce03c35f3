"""The page on the service quotes the results file of its benchmark."""

from __future__ import annotations

from benchmarks.measured_page import newest_in
from benchmarks.results import Results
from benchmarks.service import STATES
from benchmarks.service_tables import FOLDER, PAGE, renew


def test_the_committed_page_is_what_the_newest_results_give() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert renew(text, Results.read(newest_in(FOLDER))) == text
    assert all(f"**An index {state}**" in text for state in STATES.values())


def test_probes_and_searches_beside_a_first_sync_are_answered_in_time() -> None:
    outcome = Results.read(newest_in(FOLDER)).outcome("service")
    assert outcome is not None

    for key in ("synced/health", "maintained/health", "beside_sync/within", "beside_sync/errors"):
        assert outcome.figure(key).holds
