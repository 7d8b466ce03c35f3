"""Dagster's record of runs: bounding it, and closing what a killed process left open.

Dagster 1.13 keeps run events for ever, about 140 KB a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from sync_pipeline.core.liveness import SILENT_LEASES, WHOLE_RUN, Heartbeat, why_dead
from sync_pipeline.core.ports import RunHeartbeats
from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG
from sync_pipeline.defs.landing_names import is_landed, landing_of_job
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.recording import history_now, record_killed
from sync_pipeline.defs.run_scopes import BIG_SCOPE_JOB, GROUP_JOB, scope_keys
from sync_pipeline.engine.context import SyncContext

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
"""How long a run that has started may take to its first sign of life; less than a second is
usual."""

OLDER_PROCESS_TAG: Final = "sync_pipeline/process"
"""Run tag by which a release before the signs of life named the process of a run."""

JOB_NAMES: Final = frozenset({"sync_scope_job", BIG_SCOPE_JOB, GROUP_JOB, "maintenance_job"})
"""Jobs whose runs give signs of life, beside those of landings."""
ASSET_NAMES: Final = frozenset(
    {"exported_documents", "embedded_documents", "upserted_points", "stale_cleanup"}
)
"""Assets whose runs do, whoever selected them."""

STEP_ENDS: Final = frozenset(
    {
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_SKIPPED,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
    }
)
"""Events after which nobody is at work on a step."""
STEP_TURNS: Final = STEP_ENDS | {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_RESTARTED,
}


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
    """Whether no later run of its scope or landing succeeded: without it "missing" is shown."""
    key = run.tags.get(PARTITION_NAME_TAG)
    if key is None and landing_of_job(run.job_name) is None:
        return False
    what = run.job_name if key is None else key
    if what not in latest:
        newest = instance.get_run_records(
            dg.RunsFilter(
                job_name=run.job_name,
                statuses=[dg.DagsterRunStatus.SUCCESS],
                tags={} if key is None else {PARTITION_NAME_TAG: key},
            ),
            limit=1,
        )
        latest[what] = newest[0].dagster_run.run_id if newest else None
    return latest[what] == run.run_id


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


def close_dead_runs(
    instance: dg.DagsterInstance, sync: SyncContext, *, clock: Callable[[], datetime] = history_now
) -> int:
    """End the runs that can never end by themselves, and their leases; how many there were.

    After ``kill -9``, or when a machine is lost, a run would stay "started", and keep its scope
    from being run again, until ``max_runtime_seconds`` has passed. Dagster's launchers and
    executors notice that only in part, and Celery's not at all.
    """
    silent_seconds = SILENT_LEASES * sync.options.lease_ttl_seconds
    beats = _by_run(sync.heartbeats.list_all())
    closed, now = 0, clock()
    under_way: set[str] = set()
    for record in _iter_under_way(instance):
        run = record.dagster_run
        under_way.add(run.run_id)
        why = _why_over(
            instance,
            record=record,
            beats=beats.get(run.run_id, []),
            silent_seconds=silent_seconds,
            now=now,
        )
        # Looked at again: it may have come to its end since the list was read.
        if why is None or not _is_under_way(instance, run_id=run.run_id):
            continue
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, f"The run has ended: {why}.")
        else:
            instance.report_run_failed(run, f"The run was ended: {why}.")
        sync.leases.release_dead(owner=run.run_id)
        record_killed(sync.runs, record, why=why)
        under_way.discard(run.run_id)
        closed += 1
    _forget_over(sync.heartbeats, beats, under_way=under_way, silent_seconds=silent_seconds)
    return closed


def _iter_under_way(instance: dg.DagsterInstance) -> Iterator[dg.RunRecord]:
    cursor: str | None = None
    while records := instance.get_run_records(
        dg.RunsFilter(statuses=UNDER_WAY), limit=CHUNK, cursor=cursor
    ):
        yield from records
        cursor = records[-1].dagster_run.run_id


def _is_under_way(instance: dg.DagsterInstance, *, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in UNDER_WAY


def _by_run(beats: Iterable[Heartbeat]) -> dict[str, list[Heartbeat]]:
    by_run: dict[str, list[Heartbeat]] = {}
    for beat in beats:
        by_run.setdefault(beat.run_id, []).append(beat)
    return by_run


def _why_over(
    instance: dg.DagsterInstance,
    *,
    record: dg.RunRecord,
    beats: Sequence[Heartbeat],
    silent_seconds: float,
    now: datetime,
) -> str | None:
    """Why a run can never end by itself, None where it can."""
    run = record.dagster_run
    if beats:
        why = why_dead(beats, silent_seconds=silent_seconds, ended_steps=())
        if why is None:
            return None
        # Only then are the events of the run worth reading.
        ended = _ended_steps(instance, run_id=run.run_id, beats=beats)
        return why_dead(beats, silent_seconds=silent_seconds, ended_steps=ended)
    # The instance may have runs of other programs, and of a release that gave no signs of life.
    if not is_ours(run) or OLDER_PROCESS_TAG in run.tags:
        return None
    if run.status is dg.DagsterRunStatus.NOT_STARTED:
        begun = record.create_timestamp
        why = "it was made and never queued: who made it was killed"
    elif run.status is dg.DagsterRunStatus.STARTED and record.start_time is not None:
        begun = datetime.fromtimestamp(record.start_time, tz=UTC)
        why = "its process was killed before it gave a sign of life"
    else:
        # Dagster has limits of its own for those that wait for a process, or are ending.
        return None
    return why if now - begun > MAX_SILENCE else None


def is_ours(run: dg.DagsterRun) -> bool:
    """Whether this program gives signs of life of a run: those of its jobs and assets."""
    assets = {key.path[-1] for key in run.asset_selection or ()}
    if run.job_name in JOB_NAMES or landing_of_job(run.job_name) is not None:
        return True
    return bool(assets) and all(it in ASSET_NAMES or is_landed(it) for it in assets)


def _ended_steps(
    instance: dg.DagsterInstance, *, run_id: str, beats: Sequence[Heartbeat]
) -> set[str]:
    """Steps of these signs of life whose last attempt has ended, or will be made anew."""
    steps = {beat.step_key for beat in beats if beat.step_key != WHOLE_RUN}
    if not steps:
        return set()
    last: dict[str, dg.DagsterEventType] = {}
    for entry in instance.all_logs(run_id, of_type=set(STEP_TURNS)):
        event = entry.dagster_event
        if event is not None and event.step_key is not None:
            last[event.step_key] = event.event_type
    return {step for step in steps if last.get(step) in STEP_ENDS}


def _forget_over(
    heartbeats: RunHeartbeats,
    beats: Mapping[str, Sequence[Heartbeat]],
    *,
    under_way: Collection[str],
    silent_seconds: float,
) -> None:
    """Forget runs that are over; a younger one may be about to be made."""
    over = [
        run_id
        for run_id, of_run in beats.items()
        if run_id not in under_way and all(beat.age_seconds > silent_seconds for beat in of_run)
    ]
    if over:
        heartbeats.forget(over)
