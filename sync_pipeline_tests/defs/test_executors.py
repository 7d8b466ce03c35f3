"""Who executes the steps of a run, as the settings say; it gives signs of life."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs import executors
from sync_pipeline.defs.executors import EMBEDDING_OP, big_scope_executor, kept_alive
from sync_pipeline.defs.run_scopes import BIG_SCOPE_JOB
from sync_pipeline.defs.run_tags import REQUEST_TAG
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.tracing.spans import Spans

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


@dg.op
def fail() -> None:
    raise ValueError


@dg.job(executor_def=kept_alive(dg.in_process_executor))
def job_that_fails() -> None:
    fail()


@pytest.mark.parametrize(
    ("job", "error"),
    [
        pytest.param(job_that_looks_around, None, id="one that succeeds"),
        pytest.param(job_that_fails, "StepFailed", id="one that fails"),
    ],
)
def test_a_run_is_a_span_that_says_how_it_ended(
    world: World,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    job: dg.JobDefinition,
    error: str | None,
) -> None:
    spans = Spans()
    sync = replace(world.sync, tracer=spans.tracer)
    monkeypatch.setattr(executors, "open_installation", lambda _: SimpleNamespace(sync=sync))

    result = dg.execute_job(
        dg.reconstructable(job),
        instance=instance,
        raise_on_error=False,
        tags={REQUEST_TAG: "request-1", "dagster/partition": "acme"},
    )

    said = dict(spans.one("run").attributes or {})
    assert said == {
        "sync_pipeline.run_id": result.run_id,
        "sync_pipeline.job": job.name,
        "sync_pipeline.scopes": 1,
        "sync_pipeline.scope": "acme",
        "sync_pipeline.sync_request": "request-1",
        **({"error.type": error} if error else {}),
    }


def test_the_executor_is_the_one_that_it_was_in_all_else() -> None:
    kept = kept_alive(dg.multiprocess_executor)

    assert kept.name == "multiprocess"
    assert kept.get_requirements({}) == dg.multiprocess_executor.get_requirements({})


BROKER = "redis://:s3cret@broker:6379/0"
SCALES: dict[str, dict[str, Any]] = {
    "in_process": {},
    "multiprocess": {},
    "celery": {"broker_url": BROKER},
    "k8s": {"embedding_resources": {"limits": {"nvidia.com/gpu": 1}}},
    "docker": {"image": "registry/sync-pipeline:1"},
}


def scaled(executor: str) -> Settings:
    return load_settings(env={}, overrides={"scale": {"executor": executor, **SCALES[executor]}})


def config_of(definition: dg.ExecutorDefinition) -> dict[str, Any]:
    """What an executor is made with where a run says nothing."""
    resolved = definition.apply_config_mapping({"config": {}})
    assert resolved.value is not None, resolved.errors
    value: dict[str, Any] = resolved.value["config"]
    return value


@pytest.mark.parametrize("executor", SCALES)
def test_the_settings_choose_who_executes_big_scopes_and_nothing_else(executor: str) -> None:
    jobs = {
        job.name: job.executor_def.name
        for job in build_definitions(settings=scaled(executor)).resolve_all_job_defs()
    }

    assert jobs.pop(BIG_SCOPE_JOB) == executor
    assert set(jobs.values()) == {"in_process"}


@pytest.mark.parametrize("executor", ["celery", "k8s", "docker"])
def test_an_extra_that_is_missing_is_named(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"dagster_{executor}", None)

    with pytest.raises(ConfigurationError, match="is not installed") as refused:
        big_scope_executor(scaled(executor))

    assert f"pip install 'sync-pipeline[{executor}]'" in str(refused.value)


def test_steps_wait_on_a_queue_of_their_own_and_are_acknowledged_when_they_begin() -> None:
    config = config_of(big_scope_executor(scaled("celery")))

    assert (config["broker"], config["backend"]) == (BROKER, BROKER)
    assert config["config_source"]["task_default_queue"] == "steps"
    assert config["config_source"]["task_acks_late"] is False


def test_only_pods_that_embed_ask_for_a_gpu() -> None:
    definition = big_scope_executor(scaled("k8s"))
    job = build_definitions(settings=scaled("k8s")).resolve_job_def(BIG_SCOPE_JOB)

    per_step = config_of(definition)["per_step_k8s_config"]
    assert per_step.keys() == {EMBEDDING_OP}
    assert per_step[EMBEDDING_OP]["container_config"] == {
        "resources": {"limits": {"nvidia.com/gpu": "1"}}
    }
    assert EMBEDDING_OP in {node.name for node in job.all_node_defs}


def test_the_broker_and_its_password_are_in_nothing_that_a_run_shows() -> None:
    job = build_definitions(settings=scaled("celery")).resolve_job_def(BIG_SCOPE_JOB)

    assert "s3cret" not in repr(job.get_job_snapshot())
