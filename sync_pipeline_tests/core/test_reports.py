"""Counts: what adds up, and what Dagster shows of it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sync_pipeline.core.reports import STEP_COUNTS, Counts, ScopeReport, Step, shown_counts

NAMES = [part.name for part in fields(Counts)]


def test_counts_add_up_number_by_number() -> None:
    one = Counts(**{name: number for number, name in enumerate(NAMES)})
    other = Counts(**dict.fromkeys(NAMES, 1000))

    assert (one + other).numbers() == {name: 1000 + number for number, name in enumerate(NAMES)}


def test_reports_add_up_to_counts_that_are_about_no_scope() -> None:
    reports = [
        ScopeReport(scope_key="acme", status="success", rows=3, new=2),
        ScopeReport(scope_key="globex", status="failed", rows=1, error="no connection"),
    ]

    assert sum(reports, start=Counts()) == Counts(rows=4, new=2)


def test_every_count_is_shown_by_a_step() -> None:
    shown = {name for names in STEP_COUNTS.values() for name in names}

    assert shown == {*NAMES} - {"deleted"}, "which is the sum of two that are shown"


@pytest.mark.parametrize(
    ("step", "keys"),
    [
        pytest.param("export", "archived documents dropped_values quarantined rows", id="export"),
        pytest.param(
            "embed",
            "cache_hits changed embedded_texts embedded_tokens failed new payload_changed pending "
            "repaired stale texts truncated unchanged",
            id="embed",
        ),
        pytest.param("upsert", "failed payloads_written points_written", id="upsert"),
        pytest.param("cleanup", "deleted indexed moved_away", id="cleanup"),
    ],
)
def test_metadata_keys_stay_what_they_were(step: Step, keys: str) -> None:
    assert sorted(shown_counts(step, Counts())) == keys.split()


def test_a_cleanup_shows_the_points_that_it_deleted_without_those_that_moved() -> None:
    cleaned = Counts(indexed=9, points_deleted=2, moved_away=1, deleted=3)

    assert shown_counts("cleanup", cleaned) == {"indexed": 9, "deleted": 2, "moved_away": 1}
