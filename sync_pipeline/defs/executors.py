"""Executors of Dagster that give signs of life of the run, whichever machine they are on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import open_installation

_log: Final = logging.getLogger(__name__)


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


class _KeptAlive(dg.Executor):
    """An executor with signs of life around what it does; in all else the one that it was."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    # Dagster does not export the types of the arguments and events.
    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        """Execute the plan."""
        with _beating(plan_context.run_id):
            yield from self._inner.execute(plan_context, execution_plan)

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


def _beating(run_id: str) -> AbstractContextManager[None]:
    """Signs of life of a run; none where the settings lead nowhere, which each step says better."""
    try:
        sync = open_installation(load_settings()).sync
    except SyncPipelineError as error:
        _log.warning("no signs of life are given of this run: %s", error)
        return nullcontext()
    return beating(sync.heartbeats, run_id=run_id, lease_ttl_seconds=sync.options.lease_ttl_seconds)
