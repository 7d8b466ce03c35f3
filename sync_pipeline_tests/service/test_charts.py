"""Bars of the last runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts, ScopeStatus, StepSeconds
from sync_pipeline.service.charts import HEIGHT, LEAST_COLUMNS, WIDTH, run_charts, stacked

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def run(
    number: int,
    *,
    status: ScopeStatus = "success",
    counts: Counts | None = None,
    seconds: StepSeconds | None = None,
) -> SyncRun:
    return SyncRun(
        run_id=f"run-{number}",
        scope_key=f"tenant-{number}",
        mode="full",
        status=status,
        started_at=NOON,
        finished_at=NOON + timedelta(minutes=number),
        counts=counts or Counts(),
        seconds=seconds or StepSeconds(),
    )


def test_no_runs_are_no_charts() -> None:
    assert run_charts([]) == []
    assert run_charts([run(1, status="skipped")]) == []


def test_charts_begin_with_the_oldest_run_and_say_what_failed() -> None:
    documents, _, _ = run_charts([run(2, status="failed"), run(1)])

    assert [column.words for column in documents.columns] == [
        "tenant-1: 0 written, 0 unchanged",
        "tenant-2: 0 written, 0 unchanged, failed",
    ]
    assert [column.has_failed for column in documents.columns] == [False, True]


def test_charts_are_summed_up_in_words() -> None:
    counts = Counts(new=1, changed=2, payload_changed=3, unchanged=4, cache_hits=1)
    seconds = StepSeconds(export=0.25, embed=2, upsert=0.5)
    charts = run_charts(
        [run(1, counts=counts, seconds=seconds), run(2, counts=Counts(embedded_texts=2))]
    )

    assert [(chart.title, chart.summary) for chart in charts] == [
        ("Documents", "6 written"),
        ("Seconds by step", "longest 2.8 s"),
        ("Texts", "33 % from the cache"),
    ]
    assert charts[0].rows[1][1] == ("6", "4")


def test_without_texts_no_share_is_told() -> None:
    assert run_charts([run(1)])[2].summary == "no texts to embed"


def test_bars_stand_on_one_another_the_highest_as_high_as_the_chart() -> None:
    highest, half = stacked([(30, 10), (0, 20)])

    assert [(part.series, part.y, part.height) for part in highest] == [
        (0, HEIGHT - 84, 84),
        (1, 0, 28),
    ]
    assert [(part.series, part.y, part.height) for part in half] == [(1, 56, 56)]


def test_the_smallest_part_can_be_seen() -> None:
    ((large, small),) = stacked([(1_000_000, 1)])

    assert (small.height, small.y) == (2, 0)
    assert (large.y, large.height) == (2, HEIGHT - 2)


@pytest.mark.parametrize("count", [1, LEAST_COLUMNS, 40])
def test_every_bar_lies_inside_the_chart(count: int) -> None:
    bars = stacked([(number, 1) for number in range(count)])

    parts = [part for bar in bars for part in bar]
    assert all(part.x >= 0 and part.x + part.width <= WIDTH for part in parts)
    assert all(part.y >= 0 and part.y + part.height <= HEIGHT + 0.01 for part in parts)


def test_nothing_at_all_is_no_bar() -> None:
    assert stacked([(0, 0)]) == [()]
