"""What lands records: a job per landing, and the schedules that the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from sync_pipeline.defs.dagster_private import NOT_FINISHED_STATUSES, UnresolvedAssetJobDefinition
from sync_pipeline.defs.executors import IN_PROCESS
from sync_pipeline.defs.failures import withholding_foreign_messages
from sync_pipeline.defs.landing import age_of, run_config
from sync_pipeline.defs.landing_names import asset_key, asset_name, job_name, schedule_name
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.land import LandRequest
from sync_pipeline.settings import LandingSettings, Settings

if TYPE_CHECKING:
    from sync_pipeline.core.landing.spec import LandingMode

_MODES: Final[tuple[LandingMode, ...]] = ("full", "incremental")


def build_landing_jobs(landings: Sequence[LandingSettings]) -> list[UnresolvedAssetJobDefinition]:
    """One job per landing. No sync waits for it: after one that failed it reads what is there."""
    return [
        dg.define_asset_job(
            job_name(landing.name),
            selection=dg.AssetSelection.assets(asset_key(landing.name)),
            executor_def=IN_PROCESS,
            description=f"Lands the records of {landing.name}, and looks how old they are.",
        )
        for landing in landings
    ]


def build_landing_schedules(
    settings: Settings, jobs: Iterable[UnresolvedAssetJobDefinition]
) -> list[dg.ScheduleDefinition]:
    """The schedules of these settings: up to two per landing.

    Args:
        settings: Say when.
        jobs: One per landing, in the order of the settings.
    """
    return [
        _schedule(landing, job, mode=mode, cron=cron, timezone=settings.schedule.timezone)
        for landing, job in zip(settings.landings, jobs, strict=True)
        for mode in _MODES
        if (cron := getattr(landing.schedule, mode)) is not None
    ]


def _schedule(
    landing: LandingSettings,
    job: UnresolvedAssetJobDefinition,
    *,
    mode: LandingMode,
    cron: str,
    timezone: str,
) -> dg.ScheduleDefinition:
    name, request = landing.name, LandRequest(mode=mode)
    what = "every record" if mode == "full" else "the records that changed"

    @dg.schedule(
        name=schedule_name(name, mode=mode),
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Fetches {what} of {name}, unless that is under way or the origin asked to be "
        "left alone.",
    )
    def landing_schedule(
        context: dg.ScheduleEvaluationContext, sync: dg.ResourceParam[SyncContext]
    ) -> dg.RunRequest | dg.SkipReason:
        busy = _modes_under_way(context.instance, name)
        if "full" in busy or (busy and mode == "incremental"):
            return dg.SkipReason(f"{name} is being landed")
        # A database that cannot be reached fails the tick, which the scheduler tries again.
        with withholding_foreign_messages():
            until = age_of(sync, name).not_before
        if until is not None and until > sync.now():
            return dg.SkipReason(
                f"the origin asked to be left alone until {until.isoformat()}; then "
                "deferred_landings_sensor starts the job"
            )
        return landing_request(
            request, landing=name, key=context.scheduled_execution_time.isoformat()
        )

    return landing_schedule


def landing_request(request: LandRequest, *, landing: str, key: str) -> dg.RunRequest:
    """Ask for a landing.

    Args:
        request: How.
        landing: Its name.
        key: What is new about it, e.g. its time: two requests with one are one run.
    """
    return dg.RunRequest(
        job_name=job_name(landing),
        run_key=f"{landing}/{request.mode}@{key}",
        run_config=run_config(request, landing=landing),
    )


def is_under_way(instance: dg.DagsterInstance, landing: str) -> bool:
    """Whether a run of its job has not ended."""
    return bool(_modes_under_way(instance, landing))


def _modes_under_way(instance: dg.DagsterInstance, landing: str) -> set[str]:
    """Modes of the runs of its job that have not ended."""
    runs = instance.get_runs(
        dg.RunsFilter(job_name=job_name(landing), statuses=list(NOT_FINISHED_STATUSES))
    )
    return {_mode_of(run, landing) for run in runs}


def _mode_of(run: dg.DagsterRun, landing: str) -> str:
    """The mode in the run config; ``full`` where it says none."""
    config: Any = run.run_config
    for key in ("ops", asset_name(landing), "config", "mode"):
        config = config.get(key) if isinstance(config, Mapping) else None
    return "full" if config is None else str(config)
