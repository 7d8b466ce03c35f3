"""The four steps as one, and what binds them: a step never works on another run's leftovers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.staged import (
    AppliedChanges,
    EmbeddedTexts,
    StagedChanges,
    StagedComparison,
    StagedExport,
)
from sync_pipeline.engine.steps.beside import keep_others_in_step
from sync_pipeline.engine.steps.change_set import seal_changes
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.embed import embed_scope
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline.engine.steps.upsert import upsert_scope

Reached = StagedExport | StagedComparison | StagedChanges | AppliedChanges
"""How far a sync came: what its last finished step handed over."""


def begin_scope(
    sync: SyncContext, *, scope: Scope, run_id: str, fence: Fence, mode: SyncMode = "full"
) -> StagedExport:
    """Step 1 of a sync: every other generation is brought in step, then the scope is exported.

    Raises:
        BoundToOneMachineError: several machines would each fill a database or an index of its own.
        SyncPipelineError: see ``export_scope`` and ``beside.keep_others_in_step``.
    """
    if sync.unfit is not None:
        raise sync.unfit
    beside = keep_others_in_step(sync, scope=scope, run_id=run_id, fence=fence, mode=mode)
    export = export_scope(sync, scope=scope, run_id=run_id, fence=fence, mode=mode)
    return replace(export, answered=beside.answered, out_of_step=beside.out_of_step)


def current_export(
    sync: SyncContext, *, export: StagedExport, run_id: str, fence: Fence
) -> StagedExport:
    """The export to compare: the staged one, or a new one where that is out of date.

    Compared later, an old export would delete what a run in between has added.
    """
    if _is_current(sync, export, run_id=run_id, fence=fence):
        return export
    return begin_scope(sync, scope=export.scope, run_id=run_id, fence=fence, mode=export.mode)


def current_changes(
    sync: SyncContext, *, staged: StagedChanges, run_id: str, fence: Fence
) -> StagedChanges:
    """The change set to apply: the staged one, or a new one where that is out of date.

    A change set is out of date when another run made it (a step executed again by itself),
    when another run has held the scope since, or when it was made for another collection
    (the settings changed in between). Making it again is cheap: the vectors are in the cache.
    """
    if _is_current(sync, staged, run_id=run_id, fence=fence):
        return staged
    export = begin_scope(sync, scope=staged.scope, run_id=run_id, fence=fence, mode=staged.mode)
    return embed_scope(sync, export=export, fence=fence)


def sealed_changes(
    sync: SyncContext,
    *,
    comparison: StagedComparison,
    embedded: Sequence[EmbeddedTexts],
    run_id: str,
    fence: Fence,
) -> StagedChanges:
    """The change set that was compared and embedded, or a new one where that is out of date."""
    if _is_current(sync, comparison, run_id=run_id, fence=fence):
        return seal_changes(sync, comparison=comparison, embedded=embedded)
    scope, mode = comparison.scope, comparison.mode
    export = begin_scope(sync, scope=scope, run_id=run_id, fence=fence, mode=mode)
    return embed_scope(sync, export=export, fence=fence)


def _is_current(
    sync: SyncContext,
    staged: StagedExport | StagedComparison | StagedChanges,
    *,
    run_id: str,
    fence: Fence,
) -> bool:
    made_by = staged.run_id, staged.fence_token, staged.collection
    return made_by == (run_id, fence.token, sync.spec.collection)


def current_applied(
    sync: SyncContext, *, applied: AppliedChanges, run_id: str, fence: Fence
) -> AppliedChanges:
    """What was written by this run, written again where another run has come in between."""
    staged = current_changes(sync, staged=applied.staged, run_id=run_id, fence=fence)
    if staged is applied.staged:
        return applied
    return upsert_scope(sync, staged=staged, fence=fence)


def sync_scope(
    sync: SyncContext,
    *,
    scope: Scope,
    run_id: str,
    mode: SyncMode = "full",
    planned: str | None = None,
    on_reached: Callable[[Reached], None] | None = None,
) -> ScopeReport:
    """Bring one scope in step: export, embed, upsert, clean up. What the Dagster job does.

    Args:
        sync: The ports.
        scope: Which one.
        run_id: Owns the lease and what is staged.
        mode: Which rows to look at.
        planned: The changes of a saved plan; None for whatever is found.
        on_reached: Told after each step but the last what it handed over.

    Returns:
        What was done; of a run that was stopped, until then.

    Raises:
        SyncPipelineError: as the steps do; what was written before stays.
    """
    reached: Reached | None = None

    def reach(step: Reached) -> None:
        nonlocal reached
        reached = step
        if on_reached is not None:
            on_reached(step)

    try:
        with scope_lease(sync, scope=scope, owner=run_id) as fence:
            export = begin_scope(sync, scope=scope, run_id=run_id, fence=fence, mode=mode)
            reach(export)
            staged = embed_scope(sync, export=export, fence=fence, planned=planned)
            reach(staged)
            applied = upsert_scope(sync, staged=staged, fence=fence)
            reach(applied)
            return clean_scope(sync, applied=applied, fence=fence)
    except StoppedError as stop:
        nothing = ScopeReport(scope_key=scope.key, status="failed", run_id=run_id)
        report = nothing if reached is None else reached.report()
        return report.stopped(stop.stopped_reason, error=str(stop), counts=stop.counts)
