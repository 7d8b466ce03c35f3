"""Celery workers: processes that execute runs, or steps of big scopes, on any machine.

The model stays loaded from one task to the next. Celery is an extra, so what needs it is imported
where it is used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.extras import not_installed
from sync_pipeline.defs.celery_options import RUNS_QUEUE, STEPS_QUEUE, celery_options
from sync_pipeline.hosting.instance import prepare_instance
from sync_pipeline.processes import machine_name
from sync_pipeline.settings import Settings
from sync_pipeline.tuning import tune_process

if TYPE_CHECKING:
    from celery import Celery

    from sync_pipeline.wiring import Installation

QUEUES: Final = (RUNS_QUEUE, STEPS_QUEUE)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK_SECONDS: Final = 0.2


def require_celery(settings: Settings) -> None:
    """Check that runs are given to workers at all.

    Raises:
        ConfigurationError: the settings ask for another executor, or Celery is not installed.
    """
    executor = settings.scale.executor
    if executor != "celery":
        raise ConfigurationError(
            f"`scale.executor` is {executor}, so no run is ever given to a worker.",
            remedy="Set `scale.executor: celery` and `scale.broker_url` on every machine.",
        )
    try:
        import dagster_celery  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise not_installed("`scale.executor` is celery", error, extra="celery") from error


def run_workers(
    installation: Installation,
    *,
    queues: Sequence[str],
    concurrency: int,
    environment: Mapping[str, str],
) -> int:
    """Work on queues until stopped; tasks that have begun are finished first.

    Each queue has processes of its own: a run that waits for its steps would take their place.

    Args:
        installation: What the tasks are about.
        queues: ``runs``, ``steps`` or both.
        concurrency: Tasks at once, of each queue.
        environment: Of this process.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: see ``require_celery``.
    """
    require_celery(installation.settings)
    variables = prepare_instance(installation, environment=environment)
    if len(queues) == 1:
        os.environ.update(variables)
        return _work(installation.settings, queue=queues[0], concurrency=concurrency)
    words = [sys.executable, "-m", "sync_pipeline", "worker", "--concurrency", str(concurrency)]
    return _run_together(
        [[*words, "--queue", queue] for queue in queues], environment={**environment, **variables}
    )


def make_app(settings: Settings, *, queue: str) -> Celery:
    """The Celery application of one queue, with the tasks that Dagster asks for."""
    from celery import Task  # noqa: PLC0415 - an extra
    from celery.result import allow_join_result  # noqa: PLC0415
    from dagster_celery.make_app import make_app as make_dagsters_app  # noqa: PLC0415
    from dagster_celery.tasks import (  # noqa: PLC0415
        create_execute_job_task,
        create_resume_job_task,
        create_task,
    )

    class Waiting(Task):  # type: ignore[misc] # Celery has no types
        """A run may wait for its steps, which are on another queue; Celery forbids it unasked."""

        def __call__(self, *arguments: Any, **words: Any) -> Any:
            with allow_join_result():
                return super().__call__(*arguments, **words)

    make: Any = make_dagsters_app
    app: Celery = make(
        {
            "broker": settings.broker_url,
            "backend": settings.result_url,
            "config_source": celery_options(default_queue=queue),
        }
    )
    tasks: Sequence[Callable[..., object]] = (create_execute_job_task, create_resume_job_task)
    for create in tasks:
        create(app, base=Waiting)
    steps: Callable[[Celery], object] = create_task
    steps(app)
    return app


def _work(settings: Settings, *, queue: str, concurrency: int) -> int:
    """Be the worker of a queue."""
    # Before Celery forks: children share what was loaded, and memory is given back as in any sync.
    tune_process()
    app = make_app(settings, queue=queue)
    name = f"{queue}-{os.getpid()}@{machine_name().replace('/', '-')}"
    words = ["worker", "--queues", queue, "--hostname", name, "--loglevel", "INFO"]
    app.worker_main([*words, "--concurrency", str(concurrency), "--without-gossip"])
    return 0


def _run_together(commands: Sequence[Sequence[str]], *, environment: Mapping[str, str]) -> int:
    """Run programs until all have ended; one that ends unasked ends the others.

    Returns:
        The exit code of the first that ended.
    """
    children: list[subprocess.Popen[bytes]] = []
    is_asked = False

    def pass_on(number: int, _frame: FrameType | None) -> None:
        nonlocal is_asked
        is_asked = True
        for child in children:
            child.send_signal(number)

    # Before the first one starts, which inherits a signal that is ignored.
    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        for command in commands:
            child = subprocess.Popen(command, env=dict(environment), process_group=0)  # noqa: S603 - ours
            children.append(child)
        first = _wait_for_one(children)
        # A second signal would take the tasks away that the others are finishing.
        if not is_asked:
            for child in children:
                child.terminate()
        for child in children:
            child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return abs(first)


def _wait_for_one(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until one has ended; its exit code."""
    while True:
        for child in children:
            if (code := child.poll()) is not None:
                return code
        time.sleep(_LOOK_SECONDS)
