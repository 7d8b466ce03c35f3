"""Landings of the command line: the same jobs, in its own process, in the same history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import dagster as dg

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import RateLimitedError, SyncPipelineError
from sync_pipeline.core.landing.report import LandingReport, LandingStatus
from sync_pipeline.defs.jobs import environment_tags
from sync_pipeline.defs.landing import (
    build_landed_assets,
    build_landing_checks,
    landings_of,
    run_config,
)
from sync_pipeline.defs.landing_jobs import build_landing_jobs
from sync_pipeline.defs.landing_names import asset_name
from sync_pipeline.defs.landing_reports import read_report
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.land import LandRequest
from sync_pipeline.hosting.runs_here import OUTAGE_NAMES, Ending, run_here
from sync_pipeline.settings import LandingSettings


def run_landings(
    instance: dg.DagsterInstance,
    sync: SyncContext,
    landings: Sequence[LandingSettings],
    *,
    request: LandRequest,
    on_report: Callable[[LandingReport], None],
    environment: NamedEnvironment | None = None,
) -> list[LandingReport]:
    """Run the job of each landing, a run of its own in the history."""
    reports: list[LandingReport] = []
    outage: str | None = None
    for landing in landings:
        report = _not_begun(sync, landing.name, request=request, outage=outage)
        if report is None:
            report, ending = _run(
                instance, sync, landing, request=request, tags=environment_tags(environment)
            )
            if ending is not None and ending.error_name in OUTAGE_NAMES:
                outage = ending.message
        reports.append(report)
        on_report(report)
    return reports


def _not_begun(
    sync: SyncContext, name: str, *, request: LandRequest, outage: str | None
) -> LandingReport | None:
    """The report of a landing that has no turn; None where it has one."""
    if sync.should_stop():
        return LandingReport(
            name=name, mode=request.mode, status="stopped", error="not begun: asked to stop"
        )
    if outage is not None:
        error = f"not begun, for the database failed in the landing before it: {outage}"
        return LandingReport(name=name, mode=request.mode, status="failed", error=error)
    return None


def _run(
    instance: dg.DagsterInstance,
    sync: SyncContext,
    landing: LandingSettings,
    *,
    request: LandRequest,
    tags: dict[str, str],
) -> tuple[LandingReport, Ending | None]:
    (job,) = build_landing_jobs([landing])
    definitions = dg.Definitions(
        assets=build_landed_assets([landing]),
        asset_checks=build_landing_checks([landing]),
        jobs=[job],
        resources={"sync": sync},
    )
    result, ending = run_here(
        instance,
        definitions.resolve_job_def(job.name),
        sync,
        config=run_config(request, landing=landing.name),
        tags=tags,
        landing=landing.name,
    )
    name, run_id = landing.name, result.run_id
    for event in result.asset_materializations_for_node(asset_name(name)):
        shown = {key: fact.value for key, fact in event.metadata.items()}
        return read_report(shown, name=name, run_id=run_id), ending
    return _of_a_failure(sync, name, request=request, run_id=run_id, ending=ending), ending


def _of_a_failure(
    sync: SyncContext, name: str, *, request: LandRequest, run_id: str, ending: Ending | None
) -> LandingReport:
    """What became of a run that did not land everything: how far its pass is is kept."""
    report = LandingReport(
        name=name,
        mode=request.mode,
        status=_status(ending),
        run_id=run_id,
        error="the run made nothing" if ending is None else ending.message,
    )
    with suppress(SyncPipelineError):
        landings = landings_of(sync, name)
        record = landings.store.get(landings.landing(name))
        state = record.open_pass
        if state is None:
            return replace(report, rows=record.rows)
        return replace(
            report,
            mode=state.mode,
            pass_id=state.pass_id,
            resumed=state.resumed > 0,
            fetched=state.records,
            rows=record.rows,
            rejected=dict(state.rejected),
            pages=state.pages,
            requests=state.requests,
            mended_seams=state.mended_seams,
            waited_seconds=state.waited_seconds,
        )
    return report


def _status(ending: Ending | None) -> LandingStatus:
    if ending is not None and ending.stopped_reason is not None:
        return "stopped"
    if ending is not None and ending.error_name == RateLimitedError.__name__:
        return "deferred"
    return "failed"
