"""Runs of the command line: the same job, in its own process, recorded in the same history."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import dagster as dg

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import MAX_OUTAGES
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.ports import Progress, StopSignal
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.io_managers import staged_manifests
from sync_pipeline.defs.jobs import (
    ASSETS,
    CHECKS,
    build_sync_assets,
    environment_tags,
    forget_partition,
    run_config,
    sync_scope_job,
)
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.run_history import close_dead_runs
from sync_pipeline.engine.context import RunOptions, SyncContext
from sync_pipeline.engine.index import require_own_alias
from sync_pipeline.engine.landing.land import LandRequest
from sync_pipeline.engine.questions.doctor import Finding
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, StagedExport
from sync_pipeline.hosting.automation import examine_automation
from sync_pipeline.hosting.dev import run_dev
from sync_pipeline.hosting.instance import open_instance
from sync_pipeline.hosting.landing_runs import run_landings
from sync_pipeline.hosting.programs import become
from sync_pipeline.hosting.runs_here import OUTAGE_NAMES, run_here
from sync_pipeline.hosting.worker import run_workers
from sync_pipeline.operations.ports import DagsterProgram
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import open_installation


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of one scope."""

    report: ScopeReport
    error_name: str | None = None
    """Class name of the error that ended it."""


class DagsterOrchestrator:
    """Runs ``sync_scope_job`` in this process; ``operations.ports.Orchestrator`` promises what."""

    def run_scopes(
        self,
        settings: Settings,
        scopes: Sequence[Scope],
        *,
        options: RunOptions,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[ScopeReport], None],
    ) -> list[ScopeReport]:
        """Sync scopes one after the other, in the order given.

        Raises:
            ConfigurationError: settings, source or index are wrong for every scope alike.
            TransientError: a database or the index cannot be reached to begin with.
        """
        installation = open_installation(settings)
        sync = replace(installation.sync, progress=progress, should_stop=should_stop)
        _require_sound(sync)
        with open_instance(installation, environment=os.environ) as instance:
            close_dead_runs(instance, sync)
            return run_scopes(
                instance,
                sync,
                scopes,
                options=options,
                on_report=on_report,
                environment=settings.environment,
            )

    def run_landings(
        self,
        settings: Settings,
        names: Sequence[str],
        *,
        request: LandRequest,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[LandingReport], None],
    ) -> list[LandingReport]:
        """Land records, one landing after the other, in the order given.

        Raises:
            ConfigurationError: the settings are wrong for every landing alike, or lack one.
            TransientError: a database cannot be reached to begin with.
        """
        landings = [settings.landing(name) for name in names]
        installation = open_installation(settings)
        sync = replace(installation.sync, progress=progress, should_stop=should_stop)
        with open_instance(installation, environment=os.environ) as instance:
            close_dead_runs(instance, sync)
            return run_landings(
                instance,
                sync,
                landings,
                request=request,
                on_report=on_report,
                environment=settings.environment,
            )

    def examine_automation(self, settings: Settings) -> Finding:
        """Look at what was switched off; see ``automation.examine_automation``."""
        installation = open_installation(settings)
        with open_instance(installation, environment=os.environ) as instance:
            return examine_automation(instance, settings)

    def forget_scope(self, settings: Settings, scope: Scope) -> None:
        """Delete the scope's partition and its assets' latest manifests."""
        installation = open_installation(settings)
        with open_instance(installation, environment=os.environ) as instance:
            forget_partition(instance, installation.sync, scope.key)

    def run_dev(self, settings: Settings, *, host: str, port: int, is_behind_proxy: bool) -> int:
        """Run the user interface and the daemon until stopped; see ``dev.run_dev``."""
        return run_dev(
            open_installation(settings),
            host=host,
            port=port,
            environment=os.environ,
            is_behind_proxy=is_behind_proxy,
        )

    def run_workers(self, settings: Settings, *, queues: Sequence[str], concurrency: int) -> int:
        """Work on queues of Celery until stopped; see ``worker.run_workers``."""
        return run_workers(
            open_installation(settings),
            queues=queues,
            concurrency=concurrency,
            environment=os.environ,
        )

    def become_dagster(
        self,
        settings: Settings,
        *,
        program: DagsterProgram,
        arguments: Sequence[str],
        is_behind_proxy: bool,
    ) -> NoReturn:
        """Go on as one of Dagster's programs; see ``programs.become``."""
        become(
            program,
            arguments,
            installation=open_installation(settings),
            environment=os.environ,
            is_behind_proxy=is_behind_proxy,
        )


def run_scopes(
    instance: dg.DagsterInstance,
    sync: SyncContext,
    scopes: Sequence[Scope],
    *,
    options: RunOptions,
    on_report: Callable[[ScopeReport], None],
    environment: NamedEnvironment | None = None,
) -> list[ScopeReport]:
    """Run the job once per scope, each a run of its own in the history."""
    instance.add_dynamic_partitions(PARTITIONS_NAME, [scope.key for scope in scopes])
    job = _job(sync)
    reports: list[ScopeReport] = []
    outages = 0
    for scope in scopes:
        reason = _why_not_begun(sync, outages=outages, reports=reports)
        if reason is None:
            config = run_config(options, scope=scope)
            run = _run_scope(
                instance, job, sync, scope=scope, config=config, tags=environment_tags(environment)
            )
            outages = outages + 1 if run.error_name in OUTAGE_NAMES else 0
            report = run.report
        else:
            report = ScopeReport(scope_key=scope.key, status="skipped", error=reason)
        reports.append(report)
        on_report(report)
    return reports


def _job(sync: SyncContext) -> dg.JobDefinition:
    """The job of every scope, with these ports instead of those of the settings."""
    landings = () if sync.landings is None else sync.landings.names
    return dg.Definitions(
        assets=build_sync_assets(landings),
        asset_checks=CHECKS,
        jobs=[sync_scope_job],
        resources={"sync": sync, "staged_manifests": staged_manifests},
    ).resolve_job_def(sync_scope_job.name)


def _require_sound(sync: SyncContext) -> None:
    """Find out before the first run what would be wrong with every one of them."""
    sync.source.check_schema(sync.entities)
    require_own_alias(sync)


def _why_not_begun(
    sync: SyncContext, *, outages: int, reports: Sequence[ScopeReport]
) -> str | None:
    if sync.should_stop():
        return "not begun: asked to stop"
    if outages >= MAX_OUTAGES:
        return f"not begun, for the {outages} scopes before it failed alike: {reports[-1].error}"
    return None


def _run_scope(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    sync: SyncContext,
    *,
    scope: Scope,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> _Run:
    result, ending = run_here(
        instance,
        job,
        sync,
        config=config,
        tags=tags,
        partition_key=scope.key,
        scope=scope.key,
    )
    report = _report(_outputs(result), scope=scope, run_id=result.run_id)
    if ending is None:
        return _Run(report)
    if ending.stopped_reason is None:
        report = replace(report, status="failed", error=ending.message)
    else:
        report = report.stopped(ending.stopped_reason, error=ending.message, counts=ending.counts)
    return _Run(report, ending.error_name)


def _report(outputs: Mapping[str, object], *, scope: Scope, run_id: str) -> ScopeReport:
    """What the steps did that came to their end."""
    for asset in reversed(ASSETS):
        match outputs.get(asset.key.path[-1]):
            case ScopeReport() as report:
                return report
            case StagedExport() | StagedChanges() | AppliedChanges() as reached:
                return reached.report()
    return ScopeReport(scope_key=scope.key, status="failed", run_id=run_id)


def _outputs(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """Values of the assets that were materialised, by asset."""
    return {
        event.asset_key.path[-1]: result.asset_value(event.asset_key)
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }
