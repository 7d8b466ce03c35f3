"""The steps of a sync as assets; each is a shell around one function of the engine.

The second one, ``embedded_documents``, is in ``embedding``.

A docstring here describes the data: Dagster shows it in its catalogue. What a
step does and may raise stands with the function of the engine that it calls.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from sync_pipeline.core.errors import ConfigurationError, SyncPipelineError
from sync_pipeline.core.hashing import RENDERING_VERSION
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.defs.failures import RETRIES
from sync_pipeline.defs.io_managers import IO_MANAGER_KEY
from sync_pipeline.defs.partitions import scope_partitions
from sync_pipeline.defs.recording import record_success
from sync_pipeline.defs.steps import scope_step, shown
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, StagedExport
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.sync import begin_scope, current_applied, current_changes
from sync_pipeline.engine.steps.upsert import upsert_scope
from sync_pipeline.engine.switching import go_live_when_filled


def _scope_asset(*kinds: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset with one partition per scope, retried as ``failures`` says."""
    return dg.asset(
        partitions_def=scope_partitions,
        group_name="sync",
        kinds=set(kinds),
        code_version=RENDERING_VERSION,
        retry_policy=RETRIES,
        io_manager_key=IO_MANAGER_KEY,
    )


class ExportConfig(dg.Config):
    """Which rows one run reads."""

    mode: Literal["full", "incremental"] = Field(
        default="full",
        description="full compares every row with the index; incremental looks only at rows that "
        "the change feed or their own time of change name, and becomes full where that is not "
        "enough.",
    )


@_scope_asset("postgres", "parquet")
def exported_documents(
    context: dg.AssetExecutionContext,
    config: ExportConfig,
    sync: dg.ResourceParam[SyncContext],
) -> dg.MaterializeResult[StagedExport]:
    """Every row of the scope in one snapshot of the source, as documents.

    In an incremental run only the rows that may have changed. Rows that cannot
    become documents are in the quarantine, with the reason.
    """
    with scope_step(context, sync, reached=None) as step:
        export = begin_scope(
            step.sync,
            scope=step.scope,
            run_id=step.run_id,
            fence=step.fence,
            mode=config.mode,
        )
        step.done = export.counts
    return dg.MaterializeResult(
        value=export,
        metadata=shown("export", export.counts, seconds=export.seconds.export, note=export.note),
    )


@_scope_asset("qdrant")
def upserted_points(
    context: dg.AssetExecutionContext,
    sync: dg.ResourceParam[SyncContext],
    embedded_documents: StagedChanges,
) -> dg.MaterializeResult[AppliedChanges]:
    """The scope's points with every new and changed document, stale ones still among them."""
    with scope_step(context, sync, reached=embedded_documents) as step:
        staged = current_changes(
            step.sync, staged=embedded_documents, run_id=step.run_id, fence=step.fence
        )
        applied = upsert_scope(step.sync, staged=staged, fence=step.fence)
        step.done = applied.counts
    return dg.MaterializeResult(
        value=applied, metadata=shown("upsert", applied.counts, seconds=applied.seconds.upsert)
    )


class CleanupConfig(dg.Config):
    """What one run may be allowed beyond the settings."""

    # Bounds stand in CleanupPolicy: Dagster would retry a field's own for a minute.
    max_deleted_fraction: float | None = Field(
        default=None,
        description="Largest share of the scope's points that this run may delete. Empty: the "
        "settings' limit. 1 confirms that the rows are really gone.",
    )
    approve_deletions: int | None = Field(
        default=None,
        description="How many points this run may delete beyond that limit: exactly so many, as "
        "the refusal of an earlier run says. Another number is refused again.",
    )


@_scope_asset("qdrant")
def stale_cleanup(
    context: dg.AssetExecutionContext,
    config: CleanupConfig,
    sync: dg.ResourceParam[SyncContext],
    upserted_points: AppliedChanges,
) -> dg.MaterializeResult[ScopeReport]:
    """The scope's points without those whose row is gone: exactly the rows of the snapshot.

    Its result is the report of the run. Where more would be deleted than one run
    may, nothing is, and what was written before stays.
    """
    with scope_step(context, sync, reached=upserted_points) as step:
        limited = with_limit(step.sync, config)
        applied = current_applied(
            limited, applied=upserted_points, run_id=step.run_id, fence=step.fence
        )
        report = clean_scope(limited, applied=applied, fence=step.fence)
        step.done = report
    report = _with_switch(context, sync, report)
    record_success(context, sync, report=report, is_full=applied.staged.is_full)
    return dg.MaterializeResult(
        value=report,
        metadata=shown(
            "cleanup", report, seconds=report.seconds.cleanup, generation=applied.staged.collection
        ),
    )


def _with_switch(
    context: dg.AssetExecutionContext, sync: SyncContext, report: ScopeReport
) -> ScopeReport:
    """The report with what became of a new generation, where this scope was the last to fill it.

    The scope is in step by now: whatever keeps the generation from serving is told, and the
    next sync or somebody else tries again.
    """
    try:
        switched = go_live_when_filled(sync)
    except SyncPipelineError as error:
        context.log.warning("whether the new generation can serve is not known: %s", error)
        return report
    return report if switched is None else switched.noted(report)


def with_limit(sync: SyncContext, config: CleanupConfig) -> SyncContext:
    """The context with this run's own limit on deletes, if it has one."""
    fraction = config.max_deleted_fraction
    policy = sync.options.cleanup
    try:
        policy = replace(
            policy,
            max_deleted_fraction=policy.max_deleted_fraction if fraction is None else fraction,
            approved_deletions=config.approve_deletions,
        )
    except ValueError as error:
        raise ConfigurationError(f"the run config cannot be used: {error}") from error
    return replace(sync, options=replace(sync.options, cleanup=policy))
