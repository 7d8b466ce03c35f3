"""One run taken step by step, as Dagster does: the lease is given back between two steps."""

from __future__ import annotations

from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, StagedExport
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.embed import embed_scope
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline.engine.steps.sync import current_applied, current_changes, current_export
from sync_pipeline.engine.steps.upsert import upsert_scope


class SteppedRun:
    """Takes the four steps one by one; anything may happen in between."""

    def __init__(
        self, sync: SyncContext, *, scope_key: str, run_id: str, mode: SyncMode = "full"
    ) -> None:
        self._sync = sync
        self._mode: SyncMode = mode
        self.scope = Scope.from_key(scope_key)
        self.run_id = run_id
        self.export: StagedExport | None = None
        self.staged: StagedChanges | None = None
        self.applied: AppliedChanges | None = None
        self.report: ScopeReport | None = None

    @property
    def is_done(self) -> bool:
        """Whether the last step was taken."""
        return self.report is not None

    def step(self) -> None:
        """Take the next step."""
        sync, run_id = self._sync, self.run_id
        with scope_lease(sync, scope=self.scope, owner=run_id) as fence:
            if self.export is None:
                self.export = export_scope(
                    sync, scope=self.scope, run_id=run_id, fence=fence, mode=self._mode
                )
            elif self.staged is None:
                export = current_export(sync, export=self.export, run_id=run_id, fence=fence)
                self.staged = embed_scope(sync, export=export, fence=fence)
            elif self.applied is None:
                staged = current_changes(sync, staged=self.staged, run_id=run_id, fence=fence)
                self.applied = upsert_scope(sync, staged=staged, fence=fence)
            else:
                applied = current_applied(sync, applied=self.applied, run_id=run_id, fence=fence)
                self.report = clean_scope(sync, applied=applied, fence=fence)

    def finish(self) -> ScopeReport:
        """Take all steps that are left."""
        while self.report is None:
            self.step()
        return self.report
