"""Runs that can never end by themselves are ended, and no others, whatever executes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.core.scope import Scope
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs import jobs
from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG, StepFailureData
from sync_pipeline.defs.run_history import (
    ASSET_NAMES,
    JOB_NAMES,
    MAX_SILENCE,
    close_dead_runs,
)
from sync_pipeline_tests.defs.conftest import run_job
from sync_pipeline_tests.engine.world import World

pytestmark = pytest.mark.dagster

LEASE: Final = 60.0
ACME: Final = Scope("acme")
STARTED: Final = dg.DagsterRunStatus.STARTED


def start(instance: dg.DagsterInstance, job_name: str = "sync_scope_job") -> dg.DagsterRun:
    """A run of a scope that is under way, of which only the history knows."""
    job = build_definitions().resolve_job_def(job_name)
    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTING, tags={PARTITION_NAME_TAG: "acme"}
    )
    report(instance, run, DagsterEventType.RUN_START)
    return run


def report(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    event: DagsterEventType,
    *,
    step_key: str | None = None,
) -> None:
    failure = StepFailureData(error=None, user_failure_data=None)  # type: ignore[no-untyped-call]
    data = failure if event is DagsterEventType.STEP_FAILURE else None
    instance.report_dagster_event(
        DagsterEvent(
            event_type_value=event.value,
            job_name=run.job_name,
            step_key=step_key,
            event_specific_data=data,
        ),
        run_id=run.run_id,
    )


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_run_whose_machine_was_lost_is_ended_after_three_lease_times(
    world: World, instance: dg.DagsterInstance
) -> None:
    lost, living = start(instance), start(instance)
    world.leases.acquire(scope=ACME, owner=lost.run_id, ttl_seconds=600)
    world.heartbeats.beat(run_id=lost.run_id, step_key=WHOLE_RUN)
    world.clock.advance(seconds=3 * LEASE)
    world.heartbeats.beat(run_id=living.run_id, step_key=WHOLE_RUN)
    assert close_dead_runs(instance, world.sync) == 0

    world.clock.advance(seconds=1)
    closed = close_dead_runs(instance, world.sync)

    assert closed == 1
    assert status(instance, lost) is dg.DagsterRunStatus.FAILURE
    assert status(instance, living) is STARTED
    world.leases.acquire(scope=ACME, owner="the next run", ttl_seconds=60)
    assert [beat.run_id for beat in world.heartbeats.list_all()] == [living.run_id]
    (recorded,) = world.runs.list_recent(limit=10)
    assert recorded.error == (
        "the run was ended from outside: its process has given no sign of life for 181 s (this:1:1)"
    )


def test_a_run_whose_process_was_killed_on_this_machine_is_ended_at_once(
    world: World, instance: dg.DagsterInstance
) -> None:
    run = start(instance)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)
    world.heartbeats.gone.add(world.heartbeats.process)

    assert close_dead_runs(instance, world.sync) == 1
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_step_that_was_lost_ends_a_run_whose_executor_still_waits_for_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    run = start(instance)
    report(instance, run, DagsterEventType.STEP_START, step_key="embed_part[part_0001]")
    world.heartbeats.beat(run_id=run.run_id, step_key="embed_part[part_0001]")
    world.clock.advance(seconds=3 * LEASE + 1)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)

    assert close_dead_runs(instance, world.sync) == 1


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(DagsterEventType.STEP_FAILURE, id="failed"),
        pytest.param(DagsterEventType.STEP_UP_FOR_RETRY, id="is tried again"),
    ],
)
def test_a_lost_step_that_the_executor_knows_of_leaves_the_others_their_time(
    world: World, instance: dg.DagsterInstance, event: DagsterEventType
) -> None:
    run = start(instance)
    report(instance, run, DagsterEventType.STEP_START, step_key="a")
    world.heartbeats.beat(run_id=run.run_id, step_key="a")
    report(instance, run, event, step_key="a")
    world.clock.advance(seconds=10 * LEASE)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)

    assert close_dead_runs(instance, world.sync) == 0
    assert status(instance, run) is STARTED


def test_a_healthy_run_between_two_steps_is_left_alone(
    world: World, instance: dg.DagsterInstance
) -> None:
    """Each of its steps had a process of its own, and the last one has ended."""
    run = start(instance)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)
    world.heartbeats.beat(run_id=run.run_id, step_key="exported_documents")
    world.heartbeats.end(run_id=run.run_id, step_key="exported_documents")
    world.clock.advance(seconds=3 * LEASE)

    assert close_dead_runs(instance, world.sync) == 0


def test_a_run_that_waits_for_a_worker_is_left_to_dagsters_own_limit(
    world: World, instance: dg.DagsterInstance
) -> None:
    job = build_definitions().resolve_job_def("sync_scope_job")
    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTING, tags={PARTITION_NAME_TAG: "acme"}
    )

    closed = close_dead_runs(instance, world.sync, clock=later(timedelta(days=1)))

    assert closed == 0
    assert status(instance, run) is dg.DagsterRunStatus.STARTING


@pytest.mark.parametrize(
    ("waited", "expected"),
    [pytest.param(MAX_SILENCE, 1, id="for long"), pytest.param(MAX_SILENCE / 2, 0, id="not yet")],
)
def test_a_run_that_was_killed_before_its_first_sign_of_life_is_ended(
    world: World, instance: dg.DagsterInstance, waited: timedelta, expected: int
) -> None:
    start(instance)

    assert close_dead_runs(instance, world.sync, clock=later(waited)) == expected


@pytest.mark.parametrize(
    ("waited", "expected"),
    [pytest.param(MAX_SILENCE, 1, id="long ago"), pytest.param(MAX_SILENCE / 2, 0, id="just now")],
)
def test_a_run_that_was_made_and_never_queued_is_ended(
    world: World, instance: dg.DagsterInstance, waited: timedelta, expected: int
) -> None:
    """A daemon was killed between the two; the sensors would wait for this run for ever."""
    job = build_definitions().resolve_job_def("sync_scope_job")
    run = instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: "acme"})

    closed = close_dead_runs(instance, world.sync, clock=later(waited))

    assert closed == expected
    assert (status(instance, run) is dg.DagsterRunStatus.FAILURE) is (expected == 1)


def test_runs_of_other_programs_in_the_same_instance_are_never_ended(
    world: World, instance: dg.DagsterInstance
) -> None:
    @dg.job
    def somebody_elses() -> None:
        """Does something for days."""

    run = instance.create_run_for_job(
        somebody_elses, status=dg.DagsterRunStatus.STARTING, tags={PARTITION_NAME_TAG: "acme"}
    )
    report(instance, run, DagsterEventType.RUN_START)

    assert close_dead_runs(instance, world.sync, clock=later(timedelta(days=3))) == 0


def test_a_run_that_an_older_release_is_at_work_on_is_left_to_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    """While the program is changed, worker after worker: it gives no signs of life."""
    run = start(instance)
    instance.add_run_tags(run.run_id, {"sync_pipeline/process": "anywhere:7:1"})

    assert close_dead_runs(instance, world.sync, clock=later(timedelta(hours=1))) == 0


def test_a_run_that_came_to_its_end_meanwhile_is_not_ended_again(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(instance)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)
    world.clock.advance(seconds=3 * LEASE + 1)
    records = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    report(instance, run, DagsterEventType.RUN_SUCCESS)
    monkeypatch.setattr("sync_pipeline.defs.run_history._iter_under_way", lambda _: iter(records))

    assert close_dead_runs(instance, world.sync) == 0
    assert status(instance, run) is dg.DagsterRunStatus.SUCCESS


def test_a_run_that_is_asked_to_stop_and_dies_is_cancelled(
    world: World, instance: dg.DagsterInstance
) -> None:
    run = start(instance)
    instance.report_run_canceling(run)
    world.heartbeats.beat(run_id=run.run_id, step_key=WHOLE_RUN)
    world.heartbeats.gone.add(world.heartbeats.process)

    assert close_dead_runs(instance, world.sync) == 1
    assert status(instance, run) is dg.DagsterRunStatus.CANCELED


def test_the_signs_of_life_of_runs_that_are_over_are_forgotten(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.heartbeats.beat(run_id="a run of long ago", step_key="a")
    world.clock.advance(seconds=3 * LEASE + 1)
    world.heartbeats.beat(run_id="a run that is about to be made", step_key=WHOLE_RUN)

    close_dead_runs(instance, world.sync)

    beats = [beat.run_id for beat in world.heartbeats.list_all()]
    assert beats == ["a run that is about to be made"]


def test_every_job_and_asset_of_ours_is_known_to_give_signs_of_life() -> None:
    definitions = build_definitions().resolve_all_job_defs()

    ours = {job.name for job in definitions if not job.name.startswith("__")}
    assert ours == JOB_NAMES
    assert {asset.key.path[-1] for asset in jobs.ASSETS} == ASSET_NAMES


def test_a_step_gives_signs_of_life_while_it_is_at_work_and_none_afterwards(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    check_schema = world.source.check_schema

    def look(entities: Sequence[Entity]) -> None:
        seen.extend(beat.step_key for beat in world.heartbeats.list_all())
        check_schema(entities)

    monkeypatch.setattr(world.source, "check_schema", look)

    result = run_job(instance, world.sync, scope_key="acme")

    assert result.success
    assert seen == ["exported_documents"]
    assert world.heartbeats.list_all() == []


def later(waited: timedelta) -> Callable[[], datetime]:
    """A clock that is ahead, by a second more."""
    return lambda: datetime.now(tz=UTC) + waited + timedelta(seconds=1)
