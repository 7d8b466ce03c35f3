"""Who executes the steps of a run, and gives signs of life of it, whichever machine it is on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.extras import not_installed
from sync_pipeline.core.ports import Attributes, NoTracer, Span
from sync_pipeline.defs.celery_options import STEPS_QUEUE, celery_options
from sync_pipeline.defs.run_scopes import scope_keys
from sync_pipeline.defs.run_tags import REQUEST_TAG
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline.engine.telling import span_facts
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.wiring import open_installation

_log: Final = logging.getLogger(__name__)

EMBEDDING_OP: Final = "embed_texts"
"""The step that takes the time; see ``embedding``, which imports nothing of a cluster."""


def big_scope_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of big scopes that the settings ask for.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    scale = settings.scale
    try:
        return _EXECUTORS[scale.executor](settings)
    except ModuleNotFoundError as error:
        asked = f"`scale.executor` is {scale.executor}"
        raise not_installed(asked, error, extra=scale.executor) from error


def _celery(settings: Settings) -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor  # noqa: PLC0415 - an extra

    return _configured(
        celery_executor,
        {
            "broker": settings.broker_url,
            "backend": settings.result_url,
            "config_source": celery_options(default_queue=STEPS_QUEUE),
        },
    )


def _k8s(settings: Settings) -> dg.ExecutorDefinition:
    from dagster_k8s import k8s_job_executor  # noqa: PLC0415 - an extra

    # Pods are otherwise as those of the run, which Dagster's chart describes.
    resources = settings.scale.embedding_resources
    per_step = {EMBEDDING_OP: {"container_config": {"resources": resources}}} if resources else {}
    return _configured(k8s_job_executor, {"per_step_k8s_config": per_step})


def _docker(_settings: Settings) -> dg.ExecutorDefinition:
    from dagster_docker import docker_executor  # noqa: PLC0415 - an extra

    # Containers are as those that the launcher makes for runs.
    return kept_alive(docker_executor)


_EXECUTORS: Final[Mapping[str, Callable[[Settings], dg.ExecutorDefinition]]] = {
    "in_process": lambda _: kept_alive(dg.in_process_executor),
    "multiprocess": lambda _: kept_alive(dg.multiprocess_executor),
    "celery": _celery,
    "k8s": _k8s,
    "docker": _docker,
}


def _configured(
    definition: dg.ExecutorDefinition, config: Mapping[str, Any]
) -> dg.ExecutorDefinition:
    """Keep it alive, with its settings inside, where no run can show or change them."""
    given = {key: value for key, value in config.items() if value is not None}
    alive = kept_alive(definition)
    return alive.configured(lambda _: given, name=alive.name, config_schema={})


def kept_alive(definition: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """The same executor, whose process gives signs of life for as long as it executes a run.

    It is the process that executes the steps itself, or starts them elsewhere and waits for them.
    """
    create = definition.executor_creation_fn
    if create is None:
        raise ValueError(f"the executor {definition.name} cannot be made")

    def created(context: dg.InitExecutorContext) -> dg.Executor:
        return _KeptAlive(create(context))

    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema.as_field(),
        requirements=definition.get_requirements,
        executor_creation_fn=created,
        description=definition.description,
    )


IN_PROCESS: Final = kept_alive(dg.in_process_executor)
"""Executes all steps of a run in the process that was started for it."""


class _KeptAlive(dg.Executor):
    """An executor with signs of life around what it does; in all else the one that it was."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    # Dagster does not export the types of the arguments and events.
    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        """Execute the plan."""
        run = plan_context.dagster_run
        with _watched(run) as span:
            for event in self._inner.execute(plan_context, execution_plan):
                if event.is_step_failure:
                    span.fail("StepFailed")
                yield event

    @property
    def retries(self) -> Any:
        """How steps are tried again."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """What a step waits for."""
        return self._inner.step_dependency_config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextmanager
def _watched(run: dg.DagsterRun) -> Iterator[Span]:
    """Signs of life of a run, and its span.

    None where the settings lead nowhere, which each step says better.
    """
    try:
        sync = open_installation(load_settings()).sync
    except SyncPipelineError as error:
        _log.warning("no signs of life are given of this run: %s", error)
        yield NoTracer()
        return
    ttl_seconds = sync.options.lease_ttl_seconds
    with (
        sync.tracer.run(run.run_id, run_facts(run)) as span,
        beating(sync.heartbeats, run_id=run.run_id, lease_ttl_seconds=ttl_seconds),
    ):
        yield span


def run_facts(run: dg.DagsterRun) -> Attributes:
    """What the span of a run says about it."""
    keys = scope_keys(run)
    request = run.tags.get(REQUEST_TAG)
    return span_facts(
        run_id=run.run_id,
        job=run.job_name,
        scopes=len(keys),
        **({"scope": keys[0]} if len(keys) == 1 else {}),
        **({} if request is None else {"sync_request": request}),
    )
