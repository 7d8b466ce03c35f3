"""What reacts to the source."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.ports import SyncRuns
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.run_order import OVERDUE
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.dagster_private import (
    NOT_FINISHED_STATUSES,
    PRIORITY_TAG,
)
from sync_pipeline.defs.failures import withholding_foreign_messages
from sync_pipeline.defs.groups import group_request, sync_group_job
from sync_pipeline.defs.jobs import sync_big_scope_job, sync_scope_job
from sync_pipeline.defs.partitions import PARTITIONS_NAME, scope_partitions
from sync_pipeline.defs.requests import MAX_NEW_RUNS, advance_requests
from sync_pipeline.defs.run_history import close_dead_runs
from sync_pipeline.defs.run_scopes import GROUP_JOB, scope_keys
from sync_pipeline.defs.run_tags import priority_tags
from sync_pipeline.defs.schedules import sync_request
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.due import in_run_order, in_runs
from sync_pipeline.engine.questions.follow import pending_scopes
from sync_pipeline.engine.questions.retries import due_retries

SYNC_JOBS: Final = (sync_scope_job, sync_big_scope_job, sync_group_job)
"""Jobs that a request may be for; ``definitions`` has those of the settings in their place."""

MAX_NEW_SCOPES: Final = 2_000
"""Most new scopes that one tick looks at, which has 60 seconds; the next one finds the others."""

RETRY_PAUSE: Final = timedelta(minutes=10)
"""How long retries wait after a run of their scope that failed as a whole: it tried no document,
so they are still due."""

MAX_RAISED_RUNS: Final = 200
"""Most queued runs that one tick looks at, the oldest first: these are started before all others,
and then it is the turn of the next ones."""


@dg.sensor(
    jobs=SYNC_JOBS,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks for an incremental sync of every scope that the change feed names.",
)
@withholding_foreign_messages()
def changed_rows_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SensorResult | dg.SkipReason:
    """Read what is pending; remembers nothing, for a sync itself consumes its events.

    Switch it on where no `sync-pipeline feed follow` runs: that one needs no process
    start per change. A scope whose run is queued or under way is not asked for again.
    """
    if sync.feed is None:
        return dg.SkipReason("this source has no change feed")
    try:
        pending = pending_scopes(sync, sync.feed)
    except TransientError as error:
        return dg.SkipReason(f"the change feed cannot be read now: {error}")
    if not pending:
        return dg.SkipReason("no scope has changes")
    busy = _busy_scopes(context.instance)
    scopes = [scope for scope in pending if scope.key not in busy]
    if not scopes:
        return dg.SkipReason(f"{len(pending)} scopes have changes, and all of them have a run")
    try:
        return _asked(sync, scopes, priority=pending.__getitem__, mode="incremental")
    except TransientError as error:
        return dg.SkipReason(f"how many rows changed scopes have cannot be asked now: {error}")


def _asked(
    sync: SyncContext,
    scopes: Sequence[Scope],
    *,
    priority: Callable[[Scope], int],
    mode: SyncMode,
) -> dg.SensorResult:
    """Ask for the sync of scopes: ``MAX_NEW_RUNS`` runs at most, many small scopes in one.

    Raises:
        TransientError: it cannot be asked now which of them are small.
    """
    runs = in_runs(sync, scopes, priority=priority)[:MAX_NEW_RUNS]
    keys = [scope.key for run in runs for scope in run.scopes]
    return dg.SensorResult(
        dynamic_partitions_requests=[scope_partitions.build_add_request(keys)],
        run_requests=[
            group_request(
                run.scopes, priority=priority(run.first), policy=sync.options.groups, mode=mode
            )
            if run.is_group
            else sync_request(run.first, priority=priority(run.first), mode=mode, is_big=run.is_big)
            for run in runs
        ],
    )


@dg.sensor(
    jobs=SYNC_JOBS,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for a sync of every scope with failed documents whose next try has come.",
)
@withholding_foreign_messages()
def retry_failed_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SensorResult | dg.SkipReason:
    """Read which retries are due; remembers nothing, for a failed try moves the next one on.

    An incremental sync looks at those documents and at what has changed meanwhile.
    Every full sync tries all failed documents, due or not.
    """
    try:
        due = due_retries(sync)
    except TransientError as error:
        return dg.SkipReason(f"the record cannot be read now: {error}")
    busy = _busy_scopes(context.instance) | _lately_failed_scopes(context.instance, sync.runs)
    order = sync.options.run_order
    waiting = {Scope.from_key(key): count for key, count in due.items() if key not in busy}
    scopes = order.sort(waiting)
    if not scopes:
        return dg.SkipReason(
            f"{sum(due.values())} failed documents are due; their scopes have a run, or had one "
            f"that failed in the last {RETRY_PAUSE.total_seconds() / 60:.0f} minutes"
        )
    try:
        return _asked(sync, scopes, priority=order.priority, mode="incremental")
    except TransientError as error:
        return dg.SkipReason(f"how many rows those scopes have cannot be asked now: {error}")


def _busy_scopes(instance: dg.DagsterInstance) -> set[str]:
    """Scopes with a run that has not ended, of their own or of a group."""
    waiting = instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    return {key for run in waiting for key in scope_keys(run)}


def _lately_failed_scopes(instance: dg.DagsterInstance, recorded: SyncRuns) -> set[str]:
    """Scopes whose run has failed as a whole; of a group those that are not in step by it."""
    failed = instance.get_runs(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            updated_after=datetime.now(tz=UTC) - RETRY_PAUSE,
        )
    )
    groups = [run.run_id for run in failed if run.job_name == GROUP_JOB]
    members = recorded.get_many(groups) if groups else []
    done = {(it.run_id, it.scope_key) for it in members if it.status == "success"}
    return {key for run in failed for key in scope_keys(run) if (run.run_id, key) not in done}


@dg.sensor(
    jobs=SYNC_JOBS,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition for every new tenant and asks for its first sync.",
)
@withholding_foreign_messages()
def new_scope_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SensorResult | dg.SkipReason:
    """Compare the source's scopes with the partitions; remembers nothing, removes nothing."""
    try:
        scopes = sync.source.list_scopes(sync.entities)
    except TransientError as error:
        # It passes; a red tick every minute would hide those that do not.
        return dg.SkipReason(f"the source cannot be asked for its scopes now: {error}")
    partition_keys = set(context.instance.get_dynamic_partitions(PARTITIONS_NAME))
    new = {scope: 0 for scope in scopes if scope.key not in partition_keys}
    if not new:
        return dg.SkipReason(f"no new scope among the {len(scopes)} in the source")
    try:
        chosen = in_run_order(sync, new)[:MAX_NEW_SCOPES]
        return _asked(sync, chosen, priority=sync.options.run_order.priority, mode="full")
    except TransientError as error:
        return dg.SkipReason(f"the source cannot be asked for newest changes and rows now: {error}")


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has queued syncs that waited too long started before all others.",
)
@withholding_foreign_messages()
def waiting_runs_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SkipReason:
    """Raise the priority of runs that wait longer than the settings allow; asks for none.

    A run keeps the priority with which it was asked for, so one of a low priority would
    wait for as long as others of a higher one keep coming.
    """
    max_wait = sync.options.run_order.max_wait
    waiting = context.instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.QUEUED],
            created_before=datetime.now(tz=UTC) - max_wait,
        ),
        limit=MAX_RAISED_RUNS,
        ascending=True,
    )
    wanted = priority_tags(OVERDUE)
    syncs = [record.dagster_run for record in waiting if scope_keys(record.dagster_run)]
    raised = [run.run_id for run in syncs if run.tags.get(PRIORITY_TAG) != wanted[PRIORITY_TAG]]
    for run_id in raised:
        context.instance.add_run_tags(run_id, wanted)
    minutes = max_wait.total_seconds() / 60
    return dg.SkipReason(
        f"{len(syncs)} runs have waited longer than {minutes:g} minutes; "
        f"{len(raised)} of them were put before all others just now"
    )


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs that can never end by themselves: their process was killed, or its "
    "machine is lost. Dagster then tries them again.",
)
@withholding_foreign_messages()
def dead_runs_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SkipReason:
    """Judge runs by their signs of life; asks for none."""
    try:
        closed = close_dead_runs(context.instance, sync)
    except TransientError as error:
        return dg.SkipReason(f"the signs of life cannot be read now: {error}")
    return dg.SkipReason(f"{closed} runs were ended, for nobody is at work on them any more")


@dg.sensor(
    jobs=SYNC_JOBS,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns the syncs that somebody asked the service for into runs, and follows them.",
)
@withholding_foreign_messages()
def sync_request_sensor(
    context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
) -> dg.SensorResult | dg.SkipReason:
    """Read the open requests; remembers nothing, for they say themselves how far they are."""
    try:
        open_count, requested = advance_requests(context.instance, sync)
    except TransientError as error:
        return dg.SkipReason(f"the requests cannot be read now: {error}")
    if not requested:
        return dg.SkipReason(f"{open_count} requests are open, and none of them needs a new run")
    # The scopes of a group get their partitions when it runs.
    keys = list(dict.fromkeys(it.partition_key for it in requested if it.partition_key))
    return dg.SensorResult(
        dynamic_partitions_requests=[scope_partitions.build_add_request(keys)] if keys else [],
        run_requests=requested,
    )


SYNC_SENSORS: Final = (
    new_scope_sensor,
    changed_rows_sensor,
    retry_failed_sensor,
    sync_request_sensor,
)
"""Those that ask for syncs, of one scope or of a group."""
