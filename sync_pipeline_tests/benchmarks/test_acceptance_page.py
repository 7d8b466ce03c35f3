"""The page on long runs quotes the kept results of the runs at real size."""

from __future__ import annotations

import re

import pytest

from benchmarks.acceptance.page import PAGES, kept, measured_part, renew
from benchmarks.results import Figure, Limit, Outcome, Results

KEPT = kept()
TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]


def test_the_committed_pages_are_what_the_newest_results_give() -> None:
    asked = [re.findall(r"<!-- measured: ([\w-]+) -->", text) for text in TEXTS]

    assert [name for names in asked for name in names] == list(KEPT)
    assert [renew(text, KEPT) for text in TEXTS] == TEXTS


@pytest.mark.parametrize("suite", KEPT)
def test_what_is_kept_is_of_a_whole_run_and_the_page_says_what_did_not_hold(suite: str) -> None:
    (outcome,) = KEPT[suite].outcomes

    assert KEPT[suite].scale == 1
    assert not outcome.has_failed
    assert any(measured_part(KEPT[suite]) in text for text in TEXTS)
    assert measured_part(KEPT[suite]).count("**no**") == len(KEPT[suite].broken)


def test_a_count_that_has_to_be_exact_stands_on_the_page_once() -> None:
    figures = tuple(
        Figure(
            key=f"prices/{which}",
            label="texts embedded",
            unit="texts",
            samples=(50,),
            limit=Limit(value=50, reason="promised", is_minimum=which == "least"),
        )
        for which in ("most", "least")
    )
    run = Results(
        suite="tools-catalogue",
        date="2026-11-29",
        scale=1,
        machine={"cpu": "any", "cores": 2, "load_average_before": 0.1},
        versions={},
        outcomes=(
            Outcome(name="n", title="t", figures=figures, notes=("real records",), seconds=90),
        ),
    )

    assert measured_part(run).splitlines() == [
        "2026-11-29, any, 2 cores, load average 0.1 before it; 2 minutes; real records.",
        "",
        "| Counted | Value | Limit | Kept |",
        "| --- | --- | --- | --- |",
        "| texts embedded | 50 texts | = 50 texts | yes |",
    ]


def test_a_part_that_nobody_measured_is_found_out() -> None:
    with pytest.raises(KeyError, match="speed"):
        renew("<!-- measured: speed -->\n<!-- end -->", KEPT)
