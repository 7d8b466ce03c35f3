"""What every ``SyncRuns`` promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sync_pipeline.core.ports import SyncRun, SyncRuns
from sync_pipeline.core.reports import Counts, ScopeStatus, StepSeconds
from sync_pipeline_tests.database.documents import LATER, NOON


def run(
    number: int, *, scope_key: str = "acme", status: ScopeStatus = "success", rows: int = 3
) -> SyncRun:
    return SyncRun(
        run_id=f"run-{number}",
        scope_key=scope_key,
        mode="full",
        status=status,
        started_at=NOON + timedelta(minutes=number),
        finished_at=NOON + timedelta(minutes=number, seconds=1),
        counts=Counts(rows=rows, documents=rows, embedded_texts=1),
        seconds=StepSeconds(export=0.5, embed=1.25, upsert=0.25),
        error=None if status == "success" else "refused",
        facts={} if status == "success" else {"error": "MassDeletionRefusedError", "total": 30},
    )


def test_a_run_is_read_back_as_it_was_recorded(runs: SyncRuns) -> None:
    runs.record(run(1))
    runs.record(run(2, status="failed"))

    assert runs.list_recent(limit=10) == [run(2, status="failed"), run(1)]


def test_the_last_runs_come_first(runs: SyncRuns) -> None:
    for number in (2, 1, 3):
        runs.record(run(number))
    runs.record(run(4, scope_key="globex"))

    assert [it.run_id for it in runs.list_recent(limit=10)] == ["run-4", "run-3", "run-2", "run-1"]
    assert [it.run_id for it in runs.list_recent(limit=2)] == ["run-4", "run-3"]
    assert [it.run_id for it in runs.list_recent(limit=2, scope_key="acme")] == ["run-3", "run-2"]
    assert runs.list_recent(limit=2, scope_key="nobody") == []


def test_a_run_recorded_again_is_one_run_as_it_was_last_recorded(runs: SyncRuns) -> None:
    runs.record(run(1, status="failed", rows=1))

    runs.record(run(1))

    assert runs.list_recent(limit=10) == [run(1)]


def test_a_run_that_failed_after_all_keeps_its_counts(runs: SyncRuns) -> None:
    runs.record(run(1))

    runs.record_failure(run_id="run-1", scope_key="acme", error="a check", finished_at=LATER)
    runs.record_failure(run_id="run-2", scope_key="acme", error="a check", finished_at=LATER)

    (found,) = runs.list_recent(limit=10)
    assert (found.status, found.error, found.finished_at) == ("failed", "a check", LATER)
    assert (found.counts, found.seconds) == (run(1).counts, run(1).seconds)


def test_runs_are_found_by_their_ids(runs: SyncRuns) -> None:
    for number in range(4):
        runs.record(run(number))

    assert [it.run_id for it in runs.get_many(["run-3", "run-1", "run-9"])] == ["run-1", "run-3"]
    assert runs.get_many([]) == []


def test_old_runs_are_forgotten(runs: SyncRuns) -> None:
    now = datetime.now(tz=UTC)
    for number, age in enumerate((0, 2, 4)):
        at = now - timedelta(days=age)
        recorded = SyncRun(
            run_id=f"run-{number}",
            scope_key="acme",
            mode="full",
            status="success",
            started_at=at,
            finished_at=at,
        )
        runs.record(recorded)

    assert runs.purge(min_age_seconds=3 * 86_400) == 1
    assert [it.run_id for it in runs.list_recent(limit=10)] == ["run-0", "run-1"]
