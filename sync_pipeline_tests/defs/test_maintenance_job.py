"""The daily job, and the run history that it bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.scope import Scope
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.run_history import (
    RetentionReport,
    RunRetention,
    delete_old_runs,
)
from sync_pipeline.engine.staged import run_folder
from sync_pipeline_tests.defs.conftest import QUIET, run_job, set_rows
from sync_pipeline_tests.engine.world import World

pytestmark = pytest.mark.dagster

NOW = datetime.now(tz=UTC)
KEPT = RunRetention(successful=timedelta(days=14), failed=timedelta(days=90))


def run_maintenance(
    instance: dg.DagsterInstance, world: World, **vanished: float
) -> dict[str, dict[str, object]]:
    """Run the job; per op its output metadata."""
    config = {"grace_days": 0, **vanished}
    result = (
        build_definitions(sync=world.sync)
        .resolve_job_def("maintenance_job")
        .execute_in_process(
            instance=instance,
            run_config={**QUIET, "ops": {"remove_vanished_scopes": {"config": config}}},
            raise_on_error=False,
        )
    )
    return {
        str(event.step_key): {
            name: value.value for name, value in event.step_output_data.metadata.items()
        }
        for event in result.all_events
        if event.is_successful_output
    }


def test_a_tenant_without_rows_is_removed_with_its_partition(
    world: World, instance: dg.DagsterInstance
) -> None:
    for scope_key in ("global", "acme"):
        run_job(instance, world.sync, scope_key=scope_key)
    set_rows(world, everyone=["g1", "g2"])

    shown = run_maintenance(instance, world)["remove_vanished_scopes"]

    assert shown["removed"] == ["acme"]
    assert (shown["deleted"], shown["partitions_removed"]) == (3, 1)
    assert world.ids("acme") == []
    assert world.ids("global") == ["g1", "g2"]
    assert instance.get_dynamic_partitions(PARTITIONS_NAME) == ["global"]


def test_an_empty_source_removes_nothing_and_says_so(
    world: World, instance: dg.DagsterInstance
) -> None:
    for scope_key in ("global", "acme"):
        run_job(instance, world.sync, scope_key=scope_key)
    set_rows(world)

    shown = run_maintenance(instance, world, max_removed_fraction=1.0)["remove_vanished_scopes"]

    assert shown["note"] == "the source has no rows at all; nothing was decided"
    assert world.ids("acme") == ["a1", "a2", "a3"]
    assert instance.get_dynamic_partitions(PARTITIONS_NAME) == ["global", "acme"]


def test_points_of_a_tenant_that_nobody_knows_any_more_are_removed_and_counted(
    world: World, instance: dg.DagsterInstance
) -> None:
    for scope_key in ("global", "acme"):
        run_job(instance, world.sync, scope_key=scope_key)
    set_rows(world, everyone=["g1", "g2"])
    world.sync.scopes.forget(scope=Scope("acme"))
    world.source.now += timedelta(days=8)

    shown = run_maintenance(instance, world)["remove_orphaned_points"]

    assert shown["removed"] == ["acme"]
    assert (shown["orphaned"], shown["waiting"], shown["deleted"]) == (1, 0, 3)
    assert world.ids("acme") == []
    assert world.ids("global") == ["g1", "g2"]


def test_the_search_index_is_built_where_it_is_due_and_where_the_store_does_not_itself(
    world: World, instance: dg.DagsterInstance
) -> None:
    capabilities = replace(world.store.capabilities, explicit_optimize=True)
    by_itself = run_maintenance(instance, world)["build_search_index"]
    world.store.capabilities = capabilities

    run_job(instance, world.sync, scope_key="acme")
    first, second = (run_maintenance(instance, world)["build_search_index"] for _ in range(2))

    assert (by_itself["was_due"], first["was_due"], second["was_due"]) == (False, True, False)


def test_one_part_that_fails_does_not_keep_the_others_from_their_work(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.source.is_available = False

    shown = run_maintenance(instance, world)

    assert sorted(shown) == [
        "build_search_index",
        "drop_old_generations",
        "remove_leftover_files",
        "remove_old_runs",
        "sum_up_old_costs",
    ]


def test_files_of_failed_runs_are_removed(world: World, instance: dg.DagsterInstance) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])
    failed = run_job(instance, world.sync, scope_key="acme")
    left = f"{run_folder(scope=Scope('acme'), run_id=failed.run_id)}/exported_documents"
    assert world.sync.staging.open_dataset(left).parts == 1

    shown = run_maintenance(instance, world)

    assert shown["remove_leftover_files"] == {"failed_runs": 1}
    with pytest.raises(Exception, match="exported_documents"):
        world.sync.staging.open_dataset(left)


def add_run(
    instance: dg.DagsterInstance,
    *,
    days_ago: float,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
    scope_key: str | None = None,
) -> str:
    """Put a run into the history as if it had been made some days ago."""
    run = dg.DagsterRun(
        job_name="sync_scope_job",
        status=status,
        tags={} if scope_key is None else {"dagster/partition": scope_key},
    )
    created = NOW - timedelta(days=days_ago)
    instance.run_storage.add_historical_run(run, run_creation_time=created)
    return run.run_id


def ids(instance: dg.DagsterInstance) -> set[str]:
    return {record.dagster_run.run_id for record in instance.get_run_records()}


def test_old_runs_go_and_young_ones_stay(instance: dg.DagsterInstance) -> None:
    failure, success = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    for days_ago, status in [(15, success), (200, success), (91, failure)]:
        add_run(instance, days_ago=days_ago, status=status)
    young = {
        add_run(instance, days_ago=13),
        add_run(instance, days_ago=89, status=failure),
        add_run(instance, days_ago=20, status=dg.DagsterRunStatus.CANCELED),
    }

    report = delete_old_runs(instance, now=NOW, retention=KEPT)

    assert ids(instance) == young
    assert report == RetentionReport(successful_runs=2, failed_runs=1, kept_as_latest=0)


def test_a_run_that_has_not_ended_is_never_deleted(instance: dg.DagsterInstance) -> None:
    open_runs = {
        add_run(instance, days_ago=400, status=status)
        for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    }

    delete_old_runs(instance, now=NOW, retention=KEPT)

    assert ids(instance) == open_runs


def test_the_last_success_of_a_scope_stays_however_old(instance: dg.DagsterInstance) -> None:
    add_run(instance, days_ago=300, scope_key="acme")
    latest = add_run(instance, days_ago=200, scope_key="acme")
    add_run(instance, days_ago=100, scope_key="globex")
    recent = add_run(instance, days_ago=1, scope_key="globex")

    report = delete_old_runs(instance, now=NOW, retention=KEPT)

    assert ids(instance) == {latest, recent}
    assert report.kept_as_latest == 1


def test_more_runs_than_are_read_at_once_go_too(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.defs.run_history.CHUNK", 2)
    for day in range(7):
        add_run(instance, days_ago=20 + day, scope_key="acme")

    report = delete_old_runs(instance, now=NOW, retention=KEPT)

    assert (report.successful_runs, report.kept_as_latest) == (6, 1)


def test_records_of_runs_and_requests_are_bounded_like_failed_runs(
    world: World, instance: dg.DagsterInstance
) -> None:
    for number, age in enumerate((1, 89, 91)):
        at = NOW - timedelta(days=age)
        world.runs.record(
            SyncRun(
                run_id=f"run-{number}",
                scope_key="acme",
                mode="full",
                status="success",
                started_at=at,
                finished_at=at,
            )
        )
    ended = world.requests.add(requested_by="someone", scope_keys=[])
    old = replace(ended, updated_at=NOW - timedelta(days=91))
    world.requests.requests[ended.request_id] = old

    shown = run_maintenance(instance, world)["remove_old_runs"]

    assert (shown["run_records"], shown["requests"]) == (1, 1)
    assert [run.run_id for run in world.runs.list_recent(limit=10)] == ["run-0", "run-1"]
