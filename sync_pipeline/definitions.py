"""Everything that Dagster sees, on one page."""

from __future__ import annotations

import dagster as dg

from sync_pipeline.defs.alerts import build_alert_sensors, build_budget_sensors
from sync_pipeline.defs.dagster_private import with_bound_jobs, with_run_tags
from sync_pipeline.defs.executors import IN_PROCESS
from sync_pipeline.defs.groups import build_group_job
from sync_pipeline.defs.io_managers import staged_manifests
from sync_pipeline.defs.jobs import (
    CHECKS,
    build_big_scope_job,
    build_maintenance_job,
    build_sync_assets,
    environment_tags,
    sync_scope_job,
)
from sync_pipeline.defs.landing import build_landed_assets, build_landing_checks
from sync_pipeline.defs.landing_jobs import build_landing_jobs, build_landing_schedules
from sync_pipeline.defs.landing_sensors import build_landing_sensors
from sync_pipeline.defs.resources import SyncResource
from sync_pipeline.defs.schedules import build_schedules
from sync_pipeline.defs.sensors import SYNC_SENSORS, dead_runs_sensor, waiting_runs_sensor
from sync_pipeline.redaction import redact_logs
from sync_pipeline.settings import Settings, load_settings


def build_definitions(*, settings: Settings | None = None, **overrides: object) -> dg.Definitions:
    """Assemble assets, checks, jobs, schedules and sensors.

    Args:
        settings: Say when schedules run and how long things are kept; defaults where None.
        overrides: Resources by name, above all ``sync``: a plain ``SyncContext`` in
            place of the one that the settings would give.
    """
    settings = Settings() if settings is None else settings
    tags = environment_tags(settings.environment)
    maintenance_job = with_run_tags(build_maintenance_job(settings), tags)
    scope_job = with_run_tags(sync_scope_job, tags)
    resources = {"sync": SyncResource(), "staged_manifests": staged_manifests} | overrides
    big_scope_job = with_run_tags(build_big_scope_job(settings), tags)
    group_job = with_run_tags(build_group_job(sync=resources["sync"]), tags)
    landings = settings.landings
    landing_jobs = [with_run_tags(job, tags) for job in build_landing_jobs(landings)]
    return dg.Definitions(
        assets=[
            *build_landed_assets(landings),
            *build_sync_assets([landing.name for landing in landings]),
        ],
        asset_checks=[*CHECKS, *build_landing_checks(landings)],
        jobs=[scope_job, big_scope_job, group_job, maintenance_job, *landing_jobs],
        schedules=[
            *build_schedules(settings, maintenance_job=maintenance_job, scope_job=scope_job),
            *build_landing_schedules(settings, landing_jobs),
        ],
        sensors=[
            *with_bound_jobs(SYNC_SENSORS, [scope_job, big_scope_job, group_job]),
            *build_landing_sensors(landings, landing_jobs),
            dead_runs_sensor,
            # Without priorities runs are started in the order in which they were asked for.
            *([waiting_runs_sensor] if settings.scopes.priority else []),
            *build_alert_sensors(settings.alerts),
            *build_budget_sensors(settings),
        ],
        resources=resources,
        # Also for runs that the UI starts from assets, where each step would be a process of its
        # own otherwise.
        executor=IN_PROCESS,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What a code location loads: importing this module reads nothing, calling this the settings.

    Raises:
        SettingsError: every mistake in the settings, shown by Dagster as it is.
    """
    settings = load_settings()
    redact_logs(secrets=settings.secret_values)
    return build_definitions(settings=settings)
