"""The page on the speed of landings quotes the results file, which shows what the page claims."""

from __future__ import annotations

import pytest

from benchmarks.landing_beside_loader import PRODUCTS, STRATEGIES
from benchmarks.landing_tables import FOLDER, PAGE, renew
from benchmarks.measured_page import newest_in
from benchmarks.results import Outcome, Results


def measured(name: str) -> Outcome:
    outcome = Results.read(newest_in(FOLDER)).outcome(name)
    assert outcome is not None
    return outcome


def test_the_committed_page_is_what_the_newest_results_give() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert renew(text, Results.read(newest_in(FOLDER))) == text
    assert "| `sync-pipeline land products` | " in text
    assert "| least rows landed | 5,000 | 5,000 | 5,000 | " in text


def test_an_unchanged_landing_writes_no_row_and_no_event_and_dlt_writes_them_all() -> None:
    outcome = measured("landing")
    products = outcome.figure("products").value

    assert set(outcome.figure("rows/unchanged/command").samples) == {0}
    assert set(outcome.figure("events/unchanged/command").samples) == {0}
    assert set(outcome.figure("rows/unchanged/merge").samples) == {products}


def test_what_changed_is_written_once_and_nothing_else() -> None:
    outcome = measured("landing")
    changed = round(outcome.figure("products").value / 100)

    assert set(outcome.figure("rows/changed/command").samples) == {changed}
    assert set(outcome.figure("events/changed/command").samples) == {changed}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_is_lost_beside_a_loader_that_replaces_its_table(strategy: str) -> None:
    seen = measured("landing_beside_loader").series(strategy)

    assert seen["landed"].value == seen["documents"].value == PRODUCTS
    assert {
        seen[key].value
        for key in ("landed/deleted", "documents/deleted", "different", "unverified")
    } == {0}


def test_a_part_that_was_not_measured_stays_as_it_is() -> None:
    text = "<!-- measured: landing -->\nas before\n<!-- end -->"
    nothing = Results(suite="quick", date="2026-01-02", scale=1.0, machine={}, versions={})

    assert renew(text, nothing) == text
