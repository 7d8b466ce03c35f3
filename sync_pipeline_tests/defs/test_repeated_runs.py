"""Runs that Dagster starts again, with the tags of those whose process was killed."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.run_history import MAX_SILENCE, PROCESS_TAG, close_dead_runs, process_tag
from sync_pipeline_tests.defs.conftest import QUIET
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.state import FakeScopeLeases, FakeSyncRuns

pytestmark = pytest.mark.dagster


@pytest.fixture
def tags_of_a_dead_run() -> dict[str, str]:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    return {PROCESS_TAG: f"{socket.gethostname()}:{gone.pid}:1"}


def test_a_repeated_run_is_not_taken_for_dead_because_the_first_one_is(
    instance: dg.DagsterInstance, tags_of_a_dead_run: dict[str, str]
) -> None:
    job = build_definitions().resolve_job_def("sync_scope_job")
    first = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.FAILURE, tags=tags_of_a_dead_run
    )
    second = instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.STARTED,
        tags=tags_of_a_dead_run,
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
    )

    closed = close_dead_runs(instance, leases=FakeScopeLeases(), runs=FakeSyncRuns())

    found = instance.get_run_by_id(second.run_id)
    assert closed == 0
    assert found is not None
    assert found.status is dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize(
    ("tags", "waited", "expected"),
    [
        pytest.param({PARTITION_NAME_TAG: "acme"}, MAX_SILENCE, 1, id="for a long time"),
        pytest.param({PARTITION_NAME_TAG: "acme"}, MAX_SILENCE / 2, 0, id="not for long"),
        pytest.param({}, MAX_SILENCE, 0, id="of a job whose steps name nobody"),
        pytest.param(
            {PARTITION_NAME_TAG: "acme", PROCESS_TAG: process_tag()}, MAX_SILENCE, 0, id="alive"
        ),
    ],
)
def test_a_run_that_never_came_to_its_first_step_is_closed(
    instance: dg.DagsterInstance, tags: dict[str, str], waited: timedelta, expected: int
) -> None:
    """It was killed before it could name its process, so nobody can be asked whether it lives."""
    job = build_definitions().resolve_job_def("sync_scope_job")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=tags)
    instance.report_dagster_event(
        DagsterEvent(event_type_value=DagsterEventType.RUN_START.value, job_name=job.name),
        run_id=run.run_id,
    )

    closed = close_dead_runs(
        instance,
        leases=FakeScopeLeases(),
        runs=FakeSyncRuns(),
        clock=lambda: datetime.now(tz=UTC) + waited + timedelta(seconds=1),
    )

    assert closed == expected


@pytest.mark.parametrize(
    ("waited", "expected"),
    [pytest.param(MAX_SILENCE, 1, id="long ago"), pytest.param(MAX_SILENCE / 2, 0, id="just now")],
)
def test_a_run_that_was_made_and_never_queued_is_closed(
    instance: dg.DagsterInstance, waited: timedelta, expected: int
) -> None:
    """A daemon was killed between the two; the sensors would wait for this run for ever."""
    job = build_definitions().resolve_job_def("sync_scope_job")
    run = instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: "acme"})

    closed = close_dead_runs(
        instance,
        leases=FakeScopeLeases(),
        runs=FakeSyncRuns(),
        clock=lambda: datetime.now(tz=UTC) + waited + timedelta(seconds=1),
    )

    found = instance.get_run_by_id(run.run_id)
    assert closed == expected
    assert found is not None
    assert found.is_finished is (expected == 1)


def test_a_run_of_a_command_that_was_killed_before_it_began_is_closed_at_once(
    instance: dg.DagsterInstance, tags_of_a_dead_run: dict[str, str]
) -> None:
    job = build_definitions().resolve_job_def("sync_scope_job")
    instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: "acme"} | tags_of_a_dead_run)

    assert close_dead_runs(instance, leases=FakeScopeLeases(), runs=FakeSyncRuns()) == 1


def test_a_repeated_run_names_its_own_process(
    instance: dg.DagsterInstance, world: World, tags_of_a_dead_run: dict[str, str]
) -> None:
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["acme"])

    result = (
        build_definitions(sync=world.sync)
        .resolve_job_def("sync_scope_job")
        .execute_in_process(
            instance=instance, partition_key="acme", run_config=QUIET, tags=tags_of_a_dead_run
        )
    )

    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[PROCESS_TAG] == process_tag()
