"""Step 4: delete what a complete export did not contain. Always last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync_pipeline.core.batching import batched
from sync_pipeline.core.changes import ChangeBatch
from sync_pipeline.core.cleanup import plan_cleanup
from sync_pipeline.core.errors import UnconfirmedSyncError
from sync_pipeline.core.ports import Fence, VectorStore
from sync_pipeline.core.reports import CleanupReport
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.lease import before_write
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, read_texts, run_folder


@dataclass(frozen=True, slots=True)
class _Gone:
    """Point ids of a scope whose row is gone."""

    stale: list[str]
    """Still in the index."""
    forgotten: list[str]
    """Only in our record."""


def clean_scope(sync: SyncContext, *, applied: AppliedChanges, fence: Fence) -> CleanupReport:
    """Delete the scope's stale points, then measure that the index equals the export.

    Only an ``AppliedChanges`` leads here: it comes from a complete export whose
    new and changed documents were written first. A point that another scope
    has taken over meanwhile is not touched, nor one that was written from a later
    snapshot: this process may have slept since it last asked for its lease.

    Raises:
        MassDeletionRefusedError: before anything was deleted.
        UnconfirmedSyncError: the index does not hold what it should; nothing is recorded as done.
        SupersededError: another run has the scope now.
    """
    began = sync.seconds()
    staged = applied.staged
    scope = staged.scope
    gone = _read_gone(sync, staged=staged)
    with sync.store() as store:
        indexed = store.count(staged.collection, scope_key=scope.key)
    stale = plan_cleanup(
        scope=scope, stale=set(gone.stale), indexed=indexed, policy=sync.options.cleanup
    )
    for ids in batched(stale, sync.options.delete_batch_size):
        before_write(sync, fence)
        with sync.store() as store:
            store.delete(
                staged.collection, ids, scope_key=scope.key, up_to_revision=staged.revision
            )
        _forget(sync, staged=staged, point_ids=ids)
    for ids in batched(gone.forgotten, sync.options.delete_batch_size):
        before_write(sync, fence)
        _forget(sync, staged=staged, point_ids=ids)
    # Whoever was overtaken during the last delete must not take the index for its own work.
    before_write(sync, fence)
    moved_away = sync.state.take_departed(collection=staged.collection, scope=scope)
    _confirm(sync, applied=applied, moved_away=moved_away)
    sync.staging.delete(run_folder(scope=scope, run_id=staged.run_id))
    return CleanupReport(
        indexed=indexed,
        deleted=len(stale),
        moved_away=moved_away,
        seconds=sync.seconds() - began,
    )


def _read_gone(sync: SyncContext, *, staged: StagedChanges) -> _Gone:
    if not staged.stale_points + staged.forgotten:
        return _Gone([], [])
    gone = _Gone([], [])
    dataset = sync.staging.open_dataset(staged.stale)
    for part in range(staged.parts):
        for row in dataset.read(part).to_pylist():
            (gone.stale if row["is_indexed"] else gone.forgotten).append(row["point_id"])
    return gone


def _forget(sync: SyncContext, *, staged: StagedChanges, point_ids: Sequence[str]) -> None:
    sync.state.delete(
        collection=staged.collection,
        scope=staged.scope,
        point_ids=point_ids,
        up_to=staged.taken_at,
    )


def _confirm(sync: SyncContext, *, applied: AppliedChanges, moved_away: int) -> None:
    """Measure the index; record success only if it is what the export says.

    Documents that moved to another scope between our export and now are in that
    scope already, so the count may be lower by as many.
    """
    staged = applied.staged
    expected = staged.documents - applied.absent
    with sync.store() as store:
        points = store.count(staged.collection, scope_key=staged.scope_key)
        found = points if staged.touched is None else _count_touched(sync, staged, store)
    if not expected - moved_away <= found <= expected:
        raise UnconfirmedSyncError(scope_key=staged.scope_key, expected=expected, points=found)
    if staged.touched is None:
        rows, documents, quarantined = staged.rows, staged.documents, staged.quarantined
    else:
        quarantined = sync.quarantine.count_by_scope(scope=staged.scope).get(staged.scope_key, 0)
        rows, documents = points + quarantined, points
    sync.scopes.record_success(
        collection=staged.collection,
        scope=staged.scope,
        rows=rows,
        documents=documents,
        quarantined=quarantined,
        failed=applied.failed,
        snapshot_at=staged.taken_at,
        is_full=staged.is_full,
        # A scope with failed documents must not seem unchanged: they are tried again.
        digest=None if applied.failed else staged.source_digest,
    )
    _consume_events(sync, staged=staged)


def _count_touched(sync: SyncContext, staged: StagedChanges, store: VectorStore) -> int:
    """Count the touched points that are in the index under this scope."""
    ids = read_texts(sync.staging.open_dataset(str(staged.touched)), column="point_id")
    return sum(
        point.payload.get("scope_key") == staged.scope_key
        for point in iter_points(store, staged.collection, ids)
    )


def _consume_events(sync: SyncContext, *, staged: StagedChanges) -> None:
    """Forget the change events that this sync has answered."""
    if sync.feed is None or staged.events is None:
        return
    ids = sync.staging.open_dataset(staged.events).read(0).column("event_id").to_pylist()
    sync.feed.consume(
        ChangeBatch(
            scope=staged.scope,
            keys=tuple(staged.event_keys),
            event_ids=tuple(int(found) for found in ids if found is not None),
            rows=frozenset(),
            truncated=frozenset(),
            has_more=False,
        )
    )
