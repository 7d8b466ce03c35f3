"""The four steps of a sync as assets; each is a shell around one function of the engine.

A docstring here describes the data: Dagster shows it in its catalogue. What a
step does and may raise stands with the function of the engine that it calls.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from sync_pipeline.core.errors import ConfigurationError, SyncPipelineError
from sync_pipeline.core.hashing import RENDERING_VERSION
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.reports import Counts, ScopeReport, Step, shown_counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.failures import RETRIES, as_dagster_failures
from sync_pipeline.defs.partitions import scope_partitions
from sync_pipeline.defs.recording import record_success, recording_failure
from sync_pipeline.defs.run_history import name_process
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, StagedExport
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.embed import embed_scope
from sync_pipeline.engine.steps.sync import (
    Reached,
    begin_scope,
    current_applied,
    current_changes,
    current_export,
)
from sync_pipeline.engine.steps.upsert import upsert_scope
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.switching import go_live_when_filled


def _scope_asset(*kinds: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset with one partition per scope, retried as ``failures`` says."""
    return dg.asset(
        partitions_def=scope_partitions,
        group_name="sync",
        kinds=set(kinds),
        code_version=RENDERING_VERSION,
        retry_policy=RETRIES,
        io_manager_key="staged_manifests",
    )


@dataclass(slots=True, kw_only=True)
class _Step:
    """One scope's turn in one step of a run."""

    sync: SyncContext
    scope: Scope
    fence: Fence
    run_id: str
    done: Counts
    """By the run so far: set at the end of the step, which may still be stopped then."""


@contextmanager
def _scope_step(
    context: dg.AssetExecutionContext, sync: SyncContext, *, reached: Reached | None
) -> Iterator[_Step]:
    """What every step needs: the scope's lease, a clean stop, failures that Dagster understands.

    Args:
        context: Which scope and run.
        sync: The ports.
        reached: What the step before this one handed over; None for the first.
    """
    scope, run_id = Scope.from_key(context.partition_key), context.run.run_id
    before = Counts() if reached is None else reached.counts
    name_process(context.instance, run=context.run)
    step: _Step | None = None
    with (
        recording_failure(context, sync, reached=reached),
        as_dagster_failures(retry_number=context.retry_number),
        counted(lambda: before if step is None else step.done),
        stopping_on_signals(sync) as stoppable,
        scope_lease(stoppable, scope=scope, owner=run_id) as fence,
    ):
        stoppable.checkpoint(scope=scope)
        step = _Step(sync=stoppable, scope=scope, fence=fence, run_id=run_id, done=before)
        yield step


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
    with _scope_step(context, sync, reached=None) as step:
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
        metadata=_shown("export", export.counts, seconds=export.seconds.export, note=export.note),
    )


class EmbedConfig(dg.Config):
    """What one run is held to."""

    change_digest: str | None = Field(
        default=None,
        description="Identifies the changes of a saved plan; the run is refused if it would make "
        "any others. Empty: whatever the comparison finds.",
    )


@_scope_asset("python", "parquet")
def embedded_documents(
    context: dg.AssetExecutionContext,
    config: EmbedConfig,
    sync: dg.ResourceParam[SyncContext],
    exported_documents: StagedExport,
) -> dg.MaterializeResult[StagedChanges]:
    """What has to be written to and deleted from the index, with every vector it needs.

    Vectors are in the embedding cache; the index is not written yet.
    """
    with _scope_step(context, sync, reached=exported_documents) as step:
        export = current_export(
            step.sync, export=exported_documents, run_id=step.run_id, fence=step.fence
        )
        staged = embed_scope(
            step.sync, export=export, fence=step.fence, planned=config.change_digest
        )
        step.done = staged.counts
    return dg.MaterializeResult(
        value=staged,
        metadata=_shown(
            "embed", staged.counts, seconds=staged.seconds.embed, unknown=staged.unknown
        ),
    )


@_scope_asset("qdrant")
def upserted_points(
    context: dg.AssetExecutionContext,
    sync: dg.ResourceParam[SyncContext],
    embedded_documents: StagedChanges,
) -> dg.MaterializeResult[AppliedChanges]:
    """The scope's points with every new and changed document, stale ones still among them."""
    with _scope_step(context, sync, reached=embedded_documents) as step:
        staged = current_changes(
            step.sync, staged=embedded_documents, run_id=step.run_id, fence=step.fence
        )
        applied = upsert_scope(step.sync, staged=staged, fence=step.fence)
        step.done = applied.counts
    return dg.MaterializeResult(
        value=applied, metadata=_shown("upsert", applied.counts, seconds=applied.seconds.upsert)
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
    with _scope_step(context, sync, reached=upserted_points) as step:
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
        metadata=_shown(
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


def _shown(step: Step, counts: Counts, *, seconds: float, **more: object) -> dict[str, Any]:
    """A step's result as metadata that people read; seconds to the millisecond."""
    facts = {name: value for name, value in more.items() if value is not None}
    return {**shown_counts(step, counts), "seconds": round(seconds, 3), **facts}
