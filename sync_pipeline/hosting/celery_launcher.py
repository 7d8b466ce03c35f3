"""Whole runs as tasks of Celery; named by the ``dagster.yaml`` that ``instance`` writes.

Nothing else imports this module: Celery is an extra.
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher as DagstersLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from sync_pipeline.defs.dagster_private import CheckRunHealthResult, WorkerStatus


class CeleryRunLauncher(DagstersLauncher):
    """Dagster's launcher, where it differs from its other launchers.

    Dagster 1.13's does not report that a run is being cancelled, so that it ends as failed; asks
    for the task of runs that have none, of the command line and the follower; and takes a run for
    lost when Celery has forgotten its task. Whether a run is alive its signs of life tell.
    """

    def terminate(self, run_id: str) -> bool:
        """Ask the worker to stop after the batch in flight."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        return bool(super().terminate(run_id))

    def check_run_worker_health(self, run: dg.DagsterRun) -> Any:
        """What Celery knows of a run: no more than that its task has failed."""
        if DAGSTER_CELERY_TASK_ID_TAG in run.tags:
            health = super().check_run_worker_health(run)
            if health.status is WorkerStatus.FAILED:
                return health
        return CheckRunHealthResult(WorkerStatus.RUNNING)
