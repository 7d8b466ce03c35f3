"""What we need of Dagster that it does not offer to others: the one place that an update can break.

In Dagster 1.13 the spelling of the tags is documented and the constants are not exported; the
statuses that a run can still leave, those of partitions, what a failed step said, and what a run
plans to make, have no public name; ``DagsterInstance.get`` takes no settings of the caller; and the
engines of its storages belong to it.
Nothing else imports a module of Dagster whose name begins with an underscore.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, TypeVar

import click
import dagster as dg
import sqlalchemy as sa
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._core.storage.tags import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    PRIORITY_TAG,
    RESUME_RETRY_TAG,
    RETRY_STRATEGY_TAG,
    WILL_RETRY_TAG,
)
from dagster_shared.record import replace as replace_fields

_Job = TypeVar("_Job", dg.JobDefinition, UnresolvedAssetJobDefinition)

__all__ = [
    "MATERIALIZED",
    "MAX_RETRIES_TAG",
    "NOT_FINISHED_STATUSES",
    "NO_OUTPUT_CAPTURE",
    "PARTITION_NAME_TAG",
    "PRIORITY_TAG",
    "RESUME_RETRY_TAG",
    "RETRY_STRATEGY_TAG",
    "WILL_RETRY_TAG",
    "CheckRunHealthResult",
    "InstanceRef",
    "StepFailureData",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
    "code_server_program",
    "daemon_program",
    "materialization_planned",
    "notice_lost_connections",
    "remember_tables",
    "stopped_names",
    "with_bound_jobs",
    "with_run_tags",
]

NO_OUTPUT_CAPTURE: Final = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""Settings of an instance that leaves standard output to the terminal."""

MATERIALIZED: Final = AssetPartitionStatus.MATERIALIZED
"""How ``DagsterInstance.get_status_by_partition`` calls a partition that is shown as done."""


def materialization_planned(
    *, job_name: str, step_key: str, asset_key: dg.AssetKey, partition: str
) -> dg.DagsterEvent:
    """The event of a run that means to materialize a partition.

    A run that ends with a failure, and has not done so, has the partition shown as failed.
    """
    return dg.DagsterEvent.build_asset_materialization_planned_event(
        job_name, step_key, AssetMaterializationPlannedData(asset_key, partition=partition)
    )


def stopped_names(instance: dg.DagsterInstance) -> set[str]:
    """Names of the schedules and sensors that somebody has switched off."""
    stopped = instance.all_instigator_state(instigator_statuses={InstigatorStatus.STOPPED})
    return {state.instigator_name for state in stopped}


def with_bound_jobs(
    sensors: Sequence[dg.SensorDefinition], jobs: Sequence[Any]
) -> list[dg.SensorDefinition]:
    """The sensors with these jobs, whose resources are bound.

    Dagster would do it itself, and warn each time of its own parameter ``owners`` being in beta.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [sensor.with_updated_jobs(jobs) for sensor in sensors]


def with_run_tags(job: _Job, tags: Mapping[str, str]) -> _Job:
    """The job, whose every run has these tags too; the job itself where there are none."""
    if not tags:
        return job
    if isinstance(job, dg.JobDefinition):
        return job._copy(run_tags={**job.run_tags, **tags})  # noqa: SLF001 - this module is for it
    return replace_fields(job, run_tags={**(job.run_tags or {}), **tags})


_TABLE_QUESTIONS: Final = {
    "event_log_storage": ("has_table", "has_asset_key_col"),
    "run_storage": ("has_run_stats_index_cols", "has_backfill_id_column"),
}
"""Methods of Dagster's storages that ask PostgreSQL for its catalogue."""


def daemon_program() -> tuple[click.Group, click.Command]:
    """The command line of the daemon, and its command that runs it."""
    from dagster._daemon.cli import cli, run_command  # noqa: PLC0415 - takes a second

    return cli, run_command


def code_server_program() -> click.Command:
    """The command that starts a code server."""
    from dagster._cli.code_server import start_command  # noqa: PLC0415 - as the other

    return start_command


def remember_tables(instance: dg.DagsterInstance) -> None:
    """Look only once which tables and columns Dagster's database has, and not for every event.

    Measured: a quarter of the statements of a run, and 0.1 s of each. Only a migration changes
    them, and while a command runs nobody migrates.
    """
    for storage, questions in _TABLE_QUESTIONS.items():
        answering = getattr(instance, storage)
        for question in questions:
            setattr(answering, question, cache(getattr(answering, question)))


_USED_AT: Final = "sync_pipeline_used_at"
_TRUSTED_SECONDS: Final = 1.0


def notice_lost_connections(instance: dg.DagsterInstance) -> None:
    """Ask a connection that nobody used for a second whether it is there, before it is used.

    A run has nothing to tell Dagster while a model works for minutes, and servers, poolers and
    firewalls close what is idle; Dagster's engines would find that by a statement that fails.
    """
    for storage in ("event_log_storage", "run_storage", "schedule_storage"):
        engine: sa.Engine = getattr(instance, storage)._engine  # noqa: SLF001
        sa.event.listen(engine, "checkin", _remember_use)
        sa.event.listen(engine, "checkout", partial(_ask_when_idle, engine.dialect))


def _remember_use(connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
    del connection
    record.info[_USED_AT] = time.monotonic()


def _ask_when_idle(
    dialect: sa.Dialect, connection: Any, record: sa.pool.ConnectionPoolEntry, proxy: object
) -> None:
    del proxy
    if time.monotonic() - record.info.get(_USED_AT, float("inf")) < _TRUSTED_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        # The pool opens another one.
        raise sa.exc.DisconnectionError from error
