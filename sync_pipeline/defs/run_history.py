"""Dagster's record of runs: bounding it, and closing what a killed process left open.

Dagster 1.13 keeps run events for ever, about 140 KB a run.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
import psutil

from sync_pipeline.core.ports import ScopeLeases, SyncRuns
from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.recording import history_now, record_killed
from sync_pipeline.defs.run_scopes import GROUP_JOB, scope_keys

CHUNK: Final = 200
"""Runs read at once."""
MAX_DELETED: Final = 5000
"""Most runs that one call deletes; the rest is left to the next day."""

UNDER_WAY: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""Statuses that a run has for ever when its process is killed; a queued one has none."""

MAX_SILENCE: Final = timedelta(minutes=5)
"""How long a run of a scope may take to name its process; less than a second is usual."""

PROCESS_TAG: Final = "sync_pipeline/process"
"""Run tag that names the process at work: ``host:pid:started``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRetention:
    """How long finished runs are kept."""

    successful: timedelta = timedelta(days=14)
    failed: timedelta = timedelta(days=90)
    """Failed and cancelled ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What was deleted from the run history."""

    successful_runs: int
    failed_runs: int
    kept_as_latest: int
    """Old runs kept because a scope of theirs has none that is newer."""


def delete_old_runs(
    instance: dg.DagsterInstance, *, now: datetime, retention: RunRetention
) -> RetentionReport:
    """Delete finished runs past their time, but each scope's last successful one."""
    successful, kept = _delete_runs(
        instance,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        before=now - retention.successful,
        limit=MAX_DELETED,
    )
    failed, _ = _delete_runs(
        instance,
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        before=now - retention.failed,
        limit=MAX_DELETED - successful,
    )
    return RetentionReport(successful_runs=successful, failed_runs=failed, kept_as_latest=kept)


def _delete_runs(
    instance: dg.DagsterInstance,
    *,
    statuses: Sequence[dg.DagsterRunStatus],
    before: datetime,
    limit: int,
) -> tuple[int, int]:
    """Delete oldest first; how many were deleted, and how many kept as a scope's latest."""
    deleted = kept = 0
    after: datetime | None = None
    latest: dict[str, str | None] = {}
    while deleted < limit:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=statuses, created_before=before, created_after=after),
            limit=min(CHUNK, limit - deleted),
            order_by="create_timestamp",
            ascending=True,
        )
        if not records:
            break
        for record in records:
            run = record.dagster_run
            if _is_latest(instance, run=run, latest=latest):
                kept += 1
                continue
            # The output of its process is a file of its own; deleting the run leaves it there.
            instance.compute_log_manager.delete_logs(prefix=[run.run_id])
            instance.delete_run(run.run_id)
            deleted += 1
        after = records[-1].create_timestamp
    return deleted, kept


def _is_latest(
    instance: dg.DagsterInstance, *, run: dg.DagsterRun, latest: dict[str, str | None]
) -> bool:
    """Whether Dagster would show a scope as "missing" without this run."""
    if run.job_name == GROUP_JOB:
        return _holds_latest(instance, run=run)
    return run.is_success and _is_latest_success(instance, run=run, latest=latest)


def _holds_latest(instance: dg.DagsterInstance, *, run: dg.DagsterRun) -> bool:
    """Whether a partition that still exists was last materialized by this run of a group.

    Also one that has failed has brought scopes in step; and of most scopes only the first run
    has materialized all assets.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    made = instance.get_records_for_run(run.run_id, of_type=kind).records
    assets = {record.asset_key for record in made if record.asset_key is not None}
    scopes = set(scope_keys(run)) & set(instance.get_dynamic_partitions(PARTITIONS_NAME))
    return bool(scopes) and any(
        run.run_id in _latest_runs(instance, asset_key, partitions=scopes) for asset_key in assets
    )


def _latest_runs(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, *, partitions: set[str]
) -> set[str]:
    """Ids of the runs that have materialized these partitions last."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    last = instance.get_latest_storage_id_by_partition(asset_key, kind, partitions)
    if not last:
        return set()
    chosen = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=list(last.values()))
    return {it.run_id for it in instance.fetch_materializations(chosen, limit=len(last)).records}


def _is_latest_success(
    instance: dg.DagsterInstance, *, run: dg.DagsterRun, latest: dict[str, str | None]
) -> bool:
    """Whether no later run of the same scope succeeded: without it Dagster shows "missing"."""
    key = run.tags.get(PARTITION_NAME_TAG)
    if key is None:
        return False
    if key not in latest:
        newest = instance.get_run_records(
            dg.RunsFilter(
                job_name=run.job_name,
                statuses=[dg.DagsterRunStatus.SUCCESS],
                tags={PARTITION_NAME_TAG: key},
            ),
            limit=1,
        )
        latest[key] = newest[0].dagster_run.run_id if newest else None
    return latest[key] == run.run_id


def iter_failed_runs(instance: dg.DagsterInstance, *, since: datetime) -> Iterator[tuple[str, str]]:
    """Yield scope key and run id of runs that have ended without success since then."""
    cursor: str | None = None
    while records := instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
            updated_after=since,
        ),
        limit=CHUNK,
        cursor=cursor,
    ):
        for record in records:
            run = record.dagster_run
            for key in scope_keys(run):
                yield key, run.run_id
        cursor = records[-1].dagster_run.run_id


def process_tag() -> str:
    """Name this process so that another one on this machine can tell whether it still lives."""
    return _tag_of(psutil.Process())


def name_process(instance: dg.DagsterInstance, *, run: dg.DagsterRun) -> None:
    """Record that this process is at work on a run."""
    tag = process_tag()
    # Not only where there is none: a repeated run begins with the tags of the one that it repeats.
    if run.tags.get(PROCESS_TAG) != tag:
        instance.add_run_tags(run.run_id, {PROCESS_TAG: tag})


def close_dead_runs(
    instance: dg.DagsterInstance,
    *,
    leases: ScopeLeases,
    runs: SyncRuns,
    clock: Callable[[], datetime] = history_now,
) -> int:
    """End the runs whose process on this machine is gone, and their leases; how many there were.

    After ``kill -9`` a run would stay "started", and keep its scope from being run
    again, until ``max_runtime_seconds`` has passed, and its lease until it expires.
    """
    closed, now = 0, clock()
    for record in instance.get_run_records(
        dg.RunsFilter(statuses=UNDER_WAY),
        limit=CHUNK,
    ):
        run = record.dagster_run
        if not _is_over(instance, record=record, now=now):
            continue
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of this run has ended.")
        else:
            instance.report_run_failed(run, "The process of this run was killed.")
        leases.release_dead(owner=run.run_id)
        record_killed(runs, record)
        closed += 1
    return closed


def _is_over(instance: dg.DagsterInstance, *, record: dg.RunRecord, now: datetime) -> bool:
    """Whether the process of a run is gone, or nothing has been heard of it in a long time.

    A run names its process before its first step, which takes the lease: what is ended for
    its silence has written nothing. Runs of the command line do when they are made.
    """
    run = record.dagster_run
    tag = run.tags.get(PROCESS_TAG)
    if tag is not None and not _is_inherited(instance, run=run):
        return is_dead(tag)
    if not scope_keys(run):
        return False
    if run.status is dg.DagsterRunStatus.NOT_STARTED:
        # Made, but never queued: who made it was killed.
        return now - record.create_timestamp > MAX_SILENCE
    if run.status is not dg.DagsterRunStatus.STARTED or record.start_time is None:
        # Dagster has limits of its own for those that are starting or ending.
        return False
    return now - datetime.fromtimestamp(record.start_time, tz=UTC) > MAX_SILENCE


def _is_inherited(instance: dg.DagsterInstance, *, run: dg.DagsterRun) -> bool:
    """Whether a run still has the process of the run that it repeats: Dagster copies the tags.

    Until it names its own, nothing is known of it.
    """
    if run.parent_run_id is None:
        return False
    parent = instance.get_run_by_id(run.parent_run_id)
    return parent is not None and parent.tags.get(PROCESS_TAG) == run.tags[PROCESS_TAG]


def is_dead(tag: str) -> bool:
    """Whether a process tag names a process of this machine that does not exist any more."""
    host, _, rest = tag.rpartition(":")[0].rpartition(":")
    if not rest.isdigit() or host != socket.gethostname():
        return False
    try:
        return _tag_of(psutil.Process(int(rest))) != tag
    except psutil.NoSuchProcess:
        return True


def _tag_of(process: psutil.Process) -> str:
    # Process ids are used again; with its start time one is unique.
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"
