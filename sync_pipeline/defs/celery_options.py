"""How Celery is used, the same for who asks for tasks and who does them."""

from __future__ import annotations

from typing import Any, Final

RUNS_QUEUE: Final = "runs"
"""Whole runs: each takes a worker's place until it ends."""
STEPS_QUEUE: Final = "steps"
"""Steps of big scopes. On the same queue runs that wait for their steps could take all places."""


def celery_options(*, default_queue: str) -> dict[str, Any]:
    """Settings of a Celery application, with names as Celery has them."""
    return {
        "task_default_queue": default_queue,
        # A task is acknowledged when it begins: delivered anew after the broker's visibility
        # timeout, a long step would be done twice under one lease. Lost ones are noticed by
        # their signs of life.
        "task_acks_late": False,
        "task_reject_on_worker_lost": False,
        # Nobody keeps a second task waiting behind a run of hours.
        "worker_prefetch_multiplier": 1,
        "broker_connection_retry_on_startup": True,
        # Answers are read within a second, those of runs never.
        "result_expires": 86_400,
    }
