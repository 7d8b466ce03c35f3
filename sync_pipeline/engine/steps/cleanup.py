"""Step 4: delete what a complete export did not contain. Always last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync_pipeline.core.batching import batched
from sync_pipeline.core.changes import ChangeBatch
from sync_pipeline.core.cleanup import plan_cleanup
from sync_pipeline.core.errors import OutOfStepError, UnconfirmedSyncError
from sync_pipeline.core.ports import EntityResult, Fence, IndexReader
from sync_pipeline.core.reports import Counts, ScopeReport
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.lease import before_write, note_writing, noting_late_writes
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, read_texts, run_folder
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.watching import watched


@dataclass(frozen=True, slots=True)
class _Gone:
    """Point ids of a scope whose row is gone."""

    stale: dict[str, set[str]] = field(default_factory=dict)
    """Still in the index, per entity."""
    forgotten: list[str] = field(default_factory=list)
    """Only in our record."""


@watched("cleanup", of="applied")
def clean_scope(sync: SyncContext, *, applied: AppliedChanges, fence: Fence) -> ScopeReport:
    """Delete the scope's stale points, then measure that the index equals the export.

    Only an ``AppliedChanges`` leads here: it comes from a complete export whose
    new and changed documents were written first. Everything is judged per entity, and
    what the settings do not name is neither counted nor touched. A point that another scope
    has taken over meanwhile is not touched, nor one that was written from a later
    snapshot: this process may have slept since it last asked for its lease.

    Returns:
        What the whole run did. A document that another scope has taken over counts as
        deleted here and as new there, whichever of the two was synced first.

    Raises:
        MassDeletionRefusedError: before anything was deleted.
        UnconfirmedSyncError: the index does not hold what it should; nothing is recorded as done.
        OutOfStepError: done here, but another generation could not be kept in step.
        SupersededError: another run has the scope now.
        StoppedError: asked to stop.
    """
    began = sync.seconds()
    staged = applied.staged
    scope = staged.scope
    counts = applied.counts
    gone = _read_gone(sync, staged=staged)
    stale: list[str] = []
    if gone.stale:
        with sync.index() as index:
            indexed = index.count_by_entity(scope_key=scope.key)
        stale = plan_cleanup(
            scope=scope, stale=gone.stale, indexed=indexed, policy=sync.options.cleanup
        )
    if staged.stale_rows:
        note_writing(sync, fence)
    with counted(lambda: counts), noting_late_writes(sync, fence):
        for ids in batched(stale, sync.options.delete_batch_size):
            before_write(sync, fence)
            with sync.index() as index:
                index.delete(ids, scope_key=scope.key, up_to_revision=staged.revision)
            counts += Counts(points_deleted=len(ids), deleted=len(ids))
            _forget(sync, staged=staged, point_ids=ids)
        for ids in batched(gone.forgotten, sync.options.delete_batch_size):
            before_write(sync, fence)
            _forget(sync, staged=staged, point_ids=ids)
        # Whoever was overtaken during the last delete must not take the index for its own work.
        before_write(sync, fence)
    moved_away = sync.state.take_departed(scope=scope, entity_types=sync.entity_names)
    points = _confirm(sync, applied=applied, moved_away=moved_away, fence=fence)
    sync.staging.delete(run_folder(scope=scope, run_id=staged.run_id))
    if staged.out_of_step is not None:
        raise OutOfStepError(
            collection=staged.collection, scope_key=scope.key, reason=staged.out_of_step
        )
    moved = sum(moved_away.values())
    counts += Counts(indexed=points + len(stale), moved_away=moved, deleted=moved)
    return replace(
        applied.report(),
        status="success",
        seconds=replace(applied.seconds, cleanup=sync.seconds() - began),
        **counts.numbers(),
    )


def _read_gone(sync: SyncContext, *, staged: StagedChanges) -> _Gone:
    gone = _Gone()
    for name in staged.stale:
        for row in sync.staging.open_dataset(name).read(0).to_pylist():
            if row["entity_type"] is None:
                gone.forgotten.append(row["point_id"])
            else:
                gone.stale.setdefault(row["entity_type"], set()).add(row["point_id"])
    return gone


def _forget(sync: SyncContext, *, staged: StagedChanges, point_ids: Sequence[str]) -> None:
    sync.state.delete(scope=staged.scope, point_ids=point_ids, up_to=staged.taken_at)


def _confirm(
    sync: SyncContext, *, applied: AppliedChanges, moved_away: Mapping[str, int], fence: Fence
) -> int:
    """Measure the index; record success only if it is, entity by entity, what the export says.

    Documents that moved to another scope between our export and now are in that
    scope already, so the count may be lower by as many.

    Returns:
        Points of the entities of the settings.
    """
    staged = applied.staged
    with sync.index() as index:
        points = index.count_by_entity(scope_key=staged.scope_key)
        counted = points if staged.is_full else _count_touched(sync, staged, index)
    for entity in staged.entities:
        name = entity.entity_type
        expected = entity.documents - applied.absent_of.get(name, 0)
        if not expected - moved_away.get(name, 0) <= counted.get(name, 0) <= expected:
            raise UnconfirmedSyncError(
                scope_key=staged.scope_key,
                entity_type=name,
                expected=expected,
                points=counted.get(name, 0),
            )
    sync.scopes.record_success(
        fence,
        entities=_results(sync, applied=applied, points=points),
        snapshot_at=staged.taken_at,
        is_full=staged.is_full,
    )
    _consume_events(sync, staged=staged)
    return sum(points.get(name, 0) for name in sync.entity_names)


def _results(
    sync: SyncContext, *, applied: AppliedChanges, points: Mapping[str, int]
) -> list[EntityResult]:
    """What is recorded of each entity: of an incremental sync what the index now holds."""
    staged = applied.staged
    listed: Mapping[str, int] = {}
    if not staged.is_full:
        by_scope = sync.quarantine.count_by_entity(scope=staged.scope)
        listed = by_scope.get(staged.scope_key, {})
    results: list[EntityResult] = []
    for entity in staged.entities:
        name = entity.entity_type
        failed = applied.failed_of.get(name, 0)
        documents, quarantined = entity.documents, entity.quarantined
        if not staged.is_full:
            documents, quarantined = points.get(name, 0), listed.get(name, 0)
        results.append(
            EntityResult(
                entity_type=name,
                rows=entity.rows if staged.is_full else documents + quarantined,
                documents=documents,
                quarantined=quarantined,
                failed=failed,
                # What has failed must not seem unchanged: it is tried again.
                digest=None if failed else entity.digest,
                feed_epoch=entity.feed_epoch,
            )
        )
    return results


def _count_touched(sync: SyncContext, staged: StagedChanges, index: IndexReader) -> dict[str, int]:
    """Count per entity the touched points that are in the index under this scope."""
    ids = read_texts(sync.staging.open_dataset(str(staged.touched)), column="point_id")
    return Counter(
        point.entity_type
        for point in iter_points(index, ids)
        if point.scope_key == staged.scope_key
    )


def read_event_ids(sync: SyncContext, dataset: str) -> set[int]:
    """The change events of a staged dataset (``staged.EVENT_SCHEMA``)."""
    table = sync.staging.open_dataset(dataset).read(0)
    return {int(event_id) for event_id in table.column("event_id").to_numpy()}


def _consume_events(sync: SyncContext, *, staged: StagedChanges) -> None:
    """Forget the change events that this sync has answered, and every other generation too."""
    if sync.feed is None or staged.events is None or sync.keeps_in_step or staged.out_of_step:
        return
    ids = read_event_ids(sync, staged.events)
    if staged.answered is not None:
        ids &= read_event_ids(sync, staged.answered)
    sync.feed.consume(
        ChangeBatch(
            scope=staged.scope,
            keys=tuple(staged.event_keys),
            event_ids=tuple(sorted(ids)),
            rows=frozenset(),
            truncated=frozenset(),
            has_more=False,
        )
    )
