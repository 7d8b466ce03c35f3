"""The process that executes a run gives signs of life, whatever the executor."""

from __future__ import annotations

from types import SimpleNamespace

import dagster as dg
import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.defs import executors
from sync_pipeline.defs.executors import kept_alive
from sync_pipeline_tests.engine.world import World

pytestmark = pytest.mark.dagster

world_of_the_job: list[World] = []
seen: list[tuple[str, str]] = []


@dg.op
def look_around() -> None:
    (world,) = world_of_the_job
    seen.extend((beat.run_id, beat.step_key) for beat in world.heartbeats.list_all())


@dg.job(executor_def=kept_alive(dg.in_process_executor))
def job_that_looks_around() -> None:
    look_around()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, world: World) -> World:
    monkeypatch.setattr(executors, "open_installation", lambda _: SimpleNamespace(sync=world.sync))
    monkeypatch.setattr(f"{__name__}.world_of_the_job", [world])
    monkeypatch.setattr(f"{__name__}.seen", [])
    return world


def execute(instance: dg.DagsterInstance) -> dg.JobExecutionResult:
    job = dg.reconstructable(job_that_looks_around)
    return dg.execute_job(job, instance=instance, raise_on_error=False)


def test_signs_of_life_are_given_while_steps_are_executed_and_left_at_the_end(
    world: World, instance: dg.DagsterInstance
) -> None:
    """They grow old then: that the run has ended is recorded a moment later."""
    result = execute(instance)

    assert result.success
    assert seen == [(result.run_id, WHOLE_RUN)]
    assert [beat.run_id for beat in world.heartbeats.list_all()] == [result.run_id]


@pytest.mark.usefixtures("world")
def test_a_run_is_executed_all_the_same_where_no_signs_of_life_can_be_given(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_settings: object) -> None:
        raise ConfigurationError("no such database")

    monkeypatch.setattr(executors, "open_installation", refuse)

    assert execute(instance).success
    assert seen == []


def test_the_executor_is_the_one_that_it_was_in_all_else() -> None:
    kept = kept_alive(dg.multiprocess_executor)

    assert kept.name == "multiprocess"
    assert kept.get_requirements({}) == dg.multiprocess_executor.get_requirements({})
