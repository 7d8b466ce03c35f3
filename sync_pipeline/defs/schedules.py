"""What runs by itself at a set time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import dagster as dg

from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.dagster_private import PRIORITY_TAG
from sync_pipeline.defs.failures import withholding_foreign_messages
from sync_pipeline.defs.jobs import sync_scope_job
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.due import in_run_order, judge_scopes
from sync_pipeline.settings import Settings

MAINTENANCE_CRON: Final = "0 5 * * *"
"""Two hours after the default nightly sync; neither needs the other."""


def priority_tags(priority: int) -> dict[str, str]:
    """What puts a queued run before others; none has 0."""
    return {PRIORITY_TAG: str(priority)} if priority else {}


def sync_request(
    scope: Scope, *, priority: int, asked_at: datetime | None = None, mode: SyncMode = "full"
) -> dg.RunRequest:
    """Ask for a sync of one scope.

    Args:
        scope: What to sync.
        priority: Queued runs with a greater one are started first.
        asked_at: When a schedule asks; a tick that is evaluated twice then starts one
            run. Dagster never starts a second run for a key, so it has the time in it.
            Without it every request is a run.
        mode: Which rows to look at.
    """
    return dg.RunRequest(
        partition_key=scope.key,
        run_key=None if asked_at is None else f"{scope.key}@{asked_at.isoformat()}",
        run_config={"ops": {"exported_documents": {"config": {"mode": mode}}}},
        tags=priority_tags(priority),
    )


def build_schedules(
    settings: Settings, *, maintenance_job: dg.JobDefinition
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
        job=sync_scope_job,
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
            due = in_run_order(
                sync, {dueness.scope: dueness.rows for dueness in judged if dueness.is_due}
            )
        context.instance.add_dynamic_partitions(PARTITIONS_NAME, [scope.key for scope in due])
        for scope in due:
            yield sync_request(
                scope,
                priority=sync.options.run_order.priority(scope),
                asked_at=context.scheduled_execution_time,
            )
        if not due:
            yield dg.SkipReason(f"all {len(scopes)} scopes are as they were synced")

    return [nightly_sync_schedule, maintenance_schedule]
