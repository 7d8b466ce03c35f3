"""What runs by itself at a set time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import dagster as dg

from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.dagster_private import UnresolvedAssetJobDefinition
from sync_pipeline.defs.failures import withholding_foreign_messages
from sync_pipeline.defs.jobs import job_of, sync_scope_job
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.run_tags import priority_tags
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.due import in_run_order, in_runs, judge_scopes
from sync_pipeline.settings import Settings

MAINTENANCE_CRON: Final = "0 5 * * *"
"""Two hours after the default nightly sync; neither needs the other."""

NIGHTLY: Final = "nightly_sync_schedule"

MAX_NIGHTLY_RUNS: Final = 500
"""Most runs that the tick of a night asks for by itself; it has one tick."""

MAX_LISTED: Final = 100
"""Most requests, of the newest and of the oldest open ones, among which that of an earlier attempt
of the tick, or of an earlier night, is looked for."""


def sync_request(
    scope: Scope,
    *,
    priority: int,
    asked_at: datetime | None = None,
    mode: SyncMode = "full",
    is_big: bool = False,
) -> dg.RunRequest:
    """Ask for a sync of one scope.

    Args:
        scope: What to sync.
        priority: Queued runs with a greater one are started first.
        asked_at: When a schedule asks; a tick that is evaluated twice then starts one
            run. Dagster never starts a second run for a key, so it has the time in it.
            Without it every request is a run.
        mode: Which rows to look at.
        is_big: Whether its steps are shared out among workers.
    """
    return dg.RunRequest(
        job_name=job_of(is_big=is_big),
        partition_key=scope.key,
        run_key=None if asked_at is None else f"{scope.key}@{asked_at.isoformat()}",
        run_config={"ops": {"exported_documents": {"config": {"mode": mode}}}},
        tags=priority_tags(priority),
    )


def build_schedules(
    settings: Settings,
    *,
    maintenance_job: dg.JobDefinition,
    scope_job: UnresolvedAssetJobDefinition = sync_scope_job,
) -> list[dg.ScheduleDefinition]:
    """The schedules of these settings; without ``schedule.nightly`` nothing is synced at night."""
    maintenance_schedule = dg.ScheduleDefinition(
        name="maintenance_schedule",
        job=maintenance_job,
        cron_schedule=MAINTENANCE_CRON,
        execution_timezone=settings.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=maintenance_job.description,
    )
    if settings.schedule.nightly is None:
        return [maintenance_schedule]

    @dg.schedule(
        job=scope_job,
        cron_schedule=settings.schedule.nightly,
        execution_timezone=settings.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Syncs every scope whose rows differ from what was synced, and every scope "
        "whose last full comparison is too long ago; by priority, then global first, then the "
        "largest, or those that changed last.",
    )
    def nightly_sync_schedule(
        context: dg.ScheduleEvaluationContext, sync: dg.ResourceParam[SyncContext]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        # A source that cannot be reached fails the tick, which the scheduler tries again.
        with withholding_foreign_messages():
            scopes = sync.source.list_scopes(sync.entities)
            judged = judge_scopes(sync, scopes=scopes, are_all=True)
            rows = {dueness.scope: dueness.rows for dueness in judged if dueness.is_due}
            alone, shared = share_night(sync, in_run_order(sync, rows), rows=rows)
            request = ask_once(sync, shared, at=context.scheduled_execution_time)
        context.instance.add_dynamic_partitions(PARTITIONS_NAME, [scope.key for scope in alone])
        for scope in alone:
            yield sync_request(
                scope,
                priority=sync.options.run_order.priority(scope),
                asked_at=context.scheduled_execution_time,
            )
        if request is not None:
            context.log.info("%s", request)
        if not alone:
            yield dg.SkipReason(request or f"all {len(scopes)} scopes are as they were synced")

    return [nightly_sync_schedule, maintenance_schedule]


def share_night(
    sync: SyncContext, due: Sequence[Scope], *, rows: Mapping[Scope, int]
) -> tuple[list[Scope], list[Scope]]:
    """Scopes whose run the schedule asks for, and those that are left to a request.

    A schedule starts one job in one tick. Groups and big scopes have other jobs, and what does not
    fit into the tick needs others: all are made by ``sync_request_sensor``.

    Args:
        sync: Says what is small.
        due: In the order in which they are to be synced.
        rows: How many each has.
    """
    runs = in_runs(sync, due, rows=rows)
    plain = [run.first for run in runs if not (run.is_group or run.is_big)]
    alone = plain[:MAX_NIGHTLY_RUNS]
    asked = set(alone)
    return alone, [scope for scope in due if scope not in asked]


def ask_once(sync: SyncContext, scopes: Sequence[Scope], *, at: datetime) -> str | None:
    """Ask ``sync_request_sensor`` for scopes of one night; asked twice, it is one request.

    What still waits since an earlier night is not asked for again.

    Returns:
        What was asked for, for people; None where nothing had to be.
    """
    name = f"{NIGHTLY} {at.isoformat()}"
    if not scopes:
        return None
    recent = sync.requests.list_recent(limit=MAX_LISTED)
    same = next((request for request in recent if request.requested_by == name), None)
    waiting = {
        key
        for request in sync.requests.list_open(limit=MAX_LISTED)
        if request.requested_by.startswith(f"{NIGHTLY} ")
        for key in request.waiting_keys
    }
    keys = [scope.key for scope in scopes if scope.key not in waiting]
    if same is None and keys:
        same = sync.requests.add(requested_by=name, scope_keys=keys)
    if same is None:
        return f"{len(scopes)} scopes are due, and wait since an earlier night"
    return (
        f"{len(same.scope_keys)} scopes are due that share runs or would not fit into this tick: "
        f"sync_request_sensor starts them (request {same.request_id})"
    )
