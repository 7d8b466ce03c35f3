"""Step 3: write what is new or changed, and record what the store has confirmed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
import orjson

from sync_pipeline.core.batching import batched_by_size
from sync_pipeline.core.diff import Action
from sync_pipeline.core.errors import PermanentError, TransientError
from sync_pipeline.core.payload import TEXT, stamped
from sync_pipeline.core.point import Point, Vector
from sync_pipeline.core.ports import FailedDocument, Fence
from sync_pipeline.core.reports import Counts
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.changes import Change, iter_changes, note_failure
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import (
    before_write,
    note_writing,
    noting_late_writes,
    require_lease,
)
from sync_pipeline.engine.overlap import read_ahead, record_behind
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.watching import watched

_MAX_PASSAGES: Final = 4_000
"""Of one write, at 384 dimensions 6 MB: the store makes lists of them, ten times as large."""


@dataclass(slots=True)
class _Tally:
    """Counts of a write that is under way."""

    counts: Counts
    """Of the run so far."""
    failed_of: dict[str, int]
    absent_of: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Documents of a change set, and everything that is needed to write them."""

    changes: list[Change]
    points: dict[str, Point]
    """By document id: of those whose point is written."""
    payloads: dict[str, dict[str, object]]
    """By document id: of those whose payload alone is written."""


@watched("upsert", of="staged")
def upsert_scope(sync: SyncContext, *, staged: StagedChanges, fence: Fence) -> AppliedChanges:
    """Write points and payloads in batches; record each batch once the store confirmed it.

    Nothing is deleted. A batch that the store refuses is halved until the
    culprit is alone; it is recorded as failed and the rest goes on. Documents
    that a newer snapshot has written meanwhile are left alone.

    Raises:
        SupersededError: another run has the scope now.
        StoreUnavailableError: a write was not confirmed; run the step again.
        StoppedError: asked to stop.
    """
    began = sync.seconds()
    tally = _Tally(staged.counts, dict(staged.failed_of), dict(staged.absent_of))
    done = 0
    if staged.changes_rows:
        note_writing(sync, fence)
    with (
        counted(lambda: tally.counts),
        noting_late_writes(sync, fence),
        closing(read_ahead(_iter_batches(sync, staged=staged))) as batches,
        record_behind(partial(_record, sync, staged)) as record,
    ):
        for batch in batches:
            before_write(sync, fence)
            record(_write(sync, staged=staged, batch=batch, tally=tally))
            done += len(batch.changes)
            sync.progress.advance("upsert", done=done, total=staged.changes_rows)
    if staged.changes_rows:
        # The last write may have been a late one too, and the run end here.
        require_lease(sync, fence)
    if staged.counts.texts:
        sync.cache.release(scope=staged.scope, owner=staged.run_id)
    return AppliedChanges(
        staged=staged,
        counts=tally.counts,
        seconds=replace(staged.seconds, upsert=sync.seconds() - began),
        failed_of=tally.failed_of,
        absent_of=tally.absent_of,
    )


def _iter_batches(sync: SyncContext, *, staged: StagedChanges) -> Iterator[_Batch]:
    """Batches of the change set, with their points made."""
    revision = staged.revision
    for name in staged.changes:
        dataset = sync.staging.open_dataset(name)
        for changes in _cut_by_vectors(
            iter_changes(rows, sync.views)
            for rows in dataset.iter_batches(0, batch_size=sync.options.upsert_batch_size)
        ):
            now = sync.now()
            payloads = {
                change.document_id: _payload(change, synced_at=now, revision=revision)
                for change in changes
                if change.action is not Action.RECORD
            }
            yield _Batch(
                changes=changes,
                points=_points(sync, staged, changes, payloads=payloads),
                payloads={
                    change.document_id: payloads[change.document_id]
                    for change in changes
                    if change.action is Action.PAYLOAD
                },
            )


def _cut_by_vectors(batches: Iterable[Iterable[Change]]) -> Iterator[list[Change]]:
    """The same batches, cut where the vectors of one would take too much memory."""
    for changes in batches:
        yield from batched_by_size(
            changes,
            max_items=sys.maxsize,
            max_bytes=_MAX_PASSAGES,
            size_of=lambda change: sum(map(len, change.passages.values())),
        )


def _write(
    sync: SyncContext, *, staged: StagedChanges, batch: _Batch, tally: _Tally
) -> list[Change]:
    """Write one batch; return the documents that are in the index now."""
    written = [change for change in batch.changes if change.action is Action.RECORD]
    failures: list[FailedDocument] = []

    def blame(change: Change, error: PermanentError) -> None:
        note_failure(change, failed_of=tally.failed_of, absent_of=tally.absent_of)
        tally.counts += Counts(failed=1)
        failures.append(change.as_failed(error))

    def upsert(run: Sequence[Change]) -> None:
        index.upsert([batch.points[change.document_id] for change in run])

    def write_payloads(run: Sequence[Change]) -> None:
        payloads = [(change.point_id, batch.payloads[change.document_id]) for change in run]
        index.write_payloads(payloads)

    points = [change for change in batch.changes if change.document_id in batch.points]
    payloads = [change for change in batch.changes if change.document_id in batch.payloads]
    with sync.index() as index:
        for run, _ in apply_bisecting(points, upsert, blame=blame):
            tally.counts += Counts(points_written=len(run))
            written += run
        for run, _ in apply_bisecting(payloads, write_payloads, blame=blame):
            tally.counts += Counts(payloads_written=len(run))
            written += run
    if failures:
        sync.state.record_failed(scope=staged.scope, failures=failures)
    return written


def _record(sync: SyncContext, staged: StagedChanges, changes: Sequence[Change]) -> None:
    """Note what the store has confirmed."""
    sync.state.record_synced(
        scope=staged.scope,
        rows=changes,
        snapshot_at=staged.taken_at,
        vector_version=sync.spec.model_id,
    )
    refused = [change.as_failed(change.refusal) for change in changes if change.refusal]
    if refused:
        sync.state.record_failed(scope=staged.scope, failures=refused)


def _points(
    sync: SyncContext,
    staged: StagedChanges,
    changes: Sequence[Change],
    *,
    payloads: Mapping[str, dict[str, object]],
) -> dict[str, Point]:
    """Points of new and changed documents, by document id.

    Raises:
        TransientError: see ``_cached_vectors``.
    """
    written = [change for change in changes if change.writes_point]
    vectors = _cached_vectors(sync, staged, written)
    texts = [str(payloads[change.document_id][TEXT]) for change in written]
    return {
        change.document_id: Point(
            point_id=change.point_id,
            vectors={view: _vector(vectors, change, view) for view in change.embed_hashes},
            sparse=weights,
            payload=payloads[change.document_id],
        )
        for change, weights in zip(written, sync.sparse.encode_documents(texts), strict=True)
    }


def _cached_vectors(
    sync: SyncContext, staged: StagedChanges, changes: Sequence[Change]
) -> dict[str, Vector]:
    """The vectors of all texts and passages, by embed hash.

    Raises:
        TransientError: some have left the cache since they were embedded.
    """
    needed: dict[str, set[str]] = {}
    for view in sync.views:
        keys = needed.setdefault(sync.spec.view(view).model_id, set())
        for change in changes:
            if view in change.embed_hashes:
                keys.update(change.vector_keys(view))
    vectors: dict[str, Vector] = {}
    for model_id, keys in needed.items():
        vectors |= sync.cache.get(
            model_id=sync.cache_key(staged.scope, model_id), text_hashes=sorted(keys)
        )
    wanted = sum(map(len, needed.values()))
    if len(vectors) != wanted:
        raise TransientError(
            f"{wanted - len(vectors)} of {wanted} vectors have left the embedding cache since "
            "they were embedded; run the scope again, they will be embedded again"
        )
    return vectors


def _vector(vectors: Mapping[str, Vector], change: Change, view: str) -> Vector:
    """What a view of a document has: one vector, or one per passage."""
    if view in change.passages:
        return np.stack([vectors[key] for key in change.passages[view]])
    return vectors[change.embed_hashes[view]]


def _payload(change: Change, *, synced_at: datetime, revision: int) -> dict[str, object]:
    """A point's payload: what the document says, and the hashes that later runs compare."""
    return stamped(
        orjson.loads(change.payload),
        embed_hashes=change.embed_hashes,
        payload_hash=change.payload_hash,
        synced_at=synced_at,
        revision=revision,
    )
