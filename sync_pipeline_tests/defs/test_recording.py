"""What is kept of each run, whoever started it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.core.errors import PermanentError, StoreUnavailableError
from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs import asset_checks
from sync_pipeline.defs.recording import KILLED
from sync_pipeline.defs.run_history import close_dead_runs
from sync_pipeline.engine.context import SyncOptions
from sync_pipeline.engine.questions.checks import CheckResult
from sync_pipeline_tests.defs.conftest import QUIET, failure_of, run_job, set_rows
from sync_pipeline_tests.engine.world import World

pytestmark = pytest.mark.dagster


def only(world: World) -> SyncRun:
    (run,) = world.runs.list_recent(limit=10)
    return run


def test_a_run_is_recorded_with_its_numbers(world: World, instance: dg.DagsterInstance) -> None:
    result = run_job(instance, world.sync, scope_key="acme")

    run = only(world)
    assert (run.run_id, run.scope_key, run.status) == (result.run_id, "acme", "success")
    assert (run.mode, run.error, run.facts) == ("full", None, {})
    assert (run.counts.rows, run.counts.new, run.counts.points_written) == (3, 3, 3)
    assert all((run.seconds.export, run.seconds.embed, run.seconds.upsert, run.seconds.cleanup))
    assert timedelta() <= run.finished_at - run.started_at < timedelta(minutes=1)


def test_a_run_that_became_a_full_one_is_recorded_as_such(
    world: World, instance: dg.DagsterInstance
) -> None:
    run_job(instance, world.sync, scope_key="acme")
    job = build_definitions(sync=world.sync).resolve_job_def("sync_scope_job")
    mode = {"ops": {"exported_documents": {"config": {"mode": "incremental"}}}}

    for scope_key in ("acme", "global"):
        instance.add_dynamic_partitions("scope", [scope_key])
        job.execute_in_process(
            instance=instance, partition_key=scope_key, run_config={**QUIET, **mode}
        )

    newest, second, _ = world.runs.list_recent(limit=10)
    assert [(run.scope_key, run.mode) for run in (second, newest)] == [
        ("acme", "incremental"),
        ("global", "full"),
    ]


def test_a_refused_deletion_is_recorded_with_its_numbers_and_what_was_done(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])

    result = run_job(instance, world.sync, scope_key="acme")

    (run,) = world.runs.get_many([result.run_id])
    assert (run.status, run.counts.points_written) == ("failed", 1)
    assert str(run.error).startswith("refused to delete 30 of 31 points")
    assert (run.facts["error"], run.facts["total"]) == ("MassDeletionRefusedError", 30)
    assert run.seconds.upsert
    assert not run.seconds.cleanup


def break_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the source refuse for good."""

    def refuse(*_: object) -> None:
        raise PermanentError("not today")

    monkeypatch.setattr(world.source, "open_snapshot", refuse)


def test_a_run_that_fails_in_its_first_step_is_recorded(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_source(world, monkeypatch)

    result = run_job(instance, world.sync, scope_key="acme")

    run = only(world)
    assert not result.success
    assert (run.run_id, run.status, run.mode) == (result.run_id, "failed", "full")
    assert (run.error, run.facts) == ("not today", {"error": "PermanentError"})
    assert run.counts == Counts()


def test_a_run_that_is_stopped_is_recorded_with_what_it_did_until_then(
    world: World, instance: dg.DagsterInstance
) -> None:
    sync = replace(
        world.sync,
        options=SyncOptions(upsert_batch_size=1),
        should_stop=lambda: len(world.points) >= 1,
    )

    run_job(instance, sync, scope_key="acme")

    run = only(world)
    assert (run.status, run.counts.new, run.counts.points_written) == ("failed", 3, 1)
    assert "after the batch in flight" in str(run.error)


def test_a_step_that_succeeds_when_tried_again_is_no_failed_run(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.store.fail_next("upsert", StoreUnavailableError("down", retry_after_seconds=0.0))

    run_job(instance, world.sync, scope_key="acme")

    assert only(world).status == "success"


def test_a_run_whose_check_fails_is_recorded_as_failed_and_keeps_its_counts(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [CheckResult(claim="points_match_rows", passed=False, facts={})]
    rest = [
        CheckResult(claim=claim, passed=True, facts={}) for claim in list(asset_checks.CLAIMS)[1:]
    ]
    monkeypatch.setattr(asset_checks, "check_scope", lambda *_, **__: [*broken, *rest])

    run_job(instance, world.sync, scope_key="acme")

    run = only(world)
    assert (run.status, run.counts.new) == ("failed", 3)
    assert run.error == "synced, but a check of the index failed: points_match_rows"


def test_a_run_that_cannot_be_recorded_is_a_success_all_the_same(
    world: World, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    broken: Any = SimpleNamespace(record=fail, record_failure=fail)

    result = run_job(instance, replace(world.sync, runs=broken), scope_key="acme")

    assert result.success
    assert world.ids("acme") == ["a1", "a2", "a3"]
    assert "a run could not be recorded: RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_run_that_fails_and_cannot_be_recorded_fails_for_its_own_reason(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_source(world, monkeypatch)
    broken: Any = SimpleNamespace()

    result = run_job(instance, replace(world.sync, runs=broken), scope_key="acme")

    assert failure_of(result, "exported_documents") == ("not today", {"error": "PermanentError"})


def test_a_run_that_was_killed_is_recorded_by_who_finds_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    mode = {"ops": {"exported_documents": {"config": {"mode": "incremental"}}}}
    dead = instance.create_run_for_job(
        build_definitions().resolve_job_def("sync_scope_job"),
        status=dg.DagsterRunStatus.STARTED,
        run_config=mode,
        tags={"dagster/partition": "acme"},
    )
    world.heartbeats.beat(run_id=dead.run_id, step_key=WHOLE_RUN)
    world.heartbeats.gone.add(world.heartbeats.process)

    close_dead_runs(instance, world.sync)

    run = only(world)
    assert (run.run_id, run.scope_key, run.mode) == (dead.run_id, "acme", "incremental")
    assert (run.status, run.error) == ("failed", f"{KILLED}: its process was killed")
