"""Step 3: write what is new or changed, and record what the store has confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from sync_pipeline.core.diff import Action
from sync_pipeline.core.errors import PermanentError, TransientError
from sync_pipeline.core.point import Point
from sync_pipeline.core.ports import FailedDocument, Fence, StateRow
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.compare import POINT_ACTIONS
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.embed import note_failure
from sync_pipeline.engine.lease import before_write
from sync_pipeline.engine.overlap import read_ahead, record_behind
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, hash_column

Row = Mapping[str, Any]
"""One document of a change set, by column."""


@dataclass(slots=True)
class _Tally:
    """Counts of a write that is under way."""

    points_written: int = 0
    payloads_written: int = 0
    failed_of: dict[str, int] = field(default_factory=dict)
    absent_of: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of a change set, and everything that is needed to write them."""

    rows: list[Row]
    points: dict[str, Point]
    """By document id: of the rows whose point is written."""
    payloads: dict[str, dict[str, object]]
    """By document id: of the rows whose payload alone is written."""


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
    tally = _Tally(failed_of=dict(staged.failed_of), absent_of=dict(staged.absent_of))
    total = staged.new + staged.changed + staged.payload_changed + staged.recorded
    done = 0
    with (
        closing(read_ahead(_iter_batches(sync, staged=staged))) as batches,
        record_behind(partial(_record, sync, staged)) as record,
    ):
        for batch in batches:
            before_write(sync, fence)
            record(_write(sync, staged=staged, batch=batch, tally=tally))
            done += len(batch.rows)
            sync.progress.advance("upsert", done=done, total=total)
    return AppliedChanges(
        staged=staged,
        points_written=tally.points_written,
        payloads_written=tally.payloads_written,
        failed_of=tally.failed_of,
        absent_of=tally.absent_of,
        seconds=sync.seconds() - began,
    )


def _iter_batches(sync: SyncContext, *, staged: StagedChanges) -> Iterator[_Batch]:
    """Batches of the change set, with their points made."""
    dataset = sync.staging.open_dataset(staged.changes)
    for part in range(staged.parts):
        for batch in dataset.iter_batches(part, batch_size=sync.options.upsert_batch_size):
            rows = _without_newer(sync, staged=staged, rows=list(batch.to_pylist()))
            payload_rows = [row for row in rows if row["action"] == Action.PAYLOAD]
            point_rows = [row for row in rows if row["action"] in POINT_ACTIONS]
            # The same for all: made for each row, it took as long as the rest of a payload.
            stamp = {"synced_at": sync.now().isoformat(), "source_revision": staged.revision}
            yield _Batch(
                rows=rows,
                points=_points(sync, staged, point_rows, stamp=stamp),
                payloads={
                    row["document_id"]: _payload(row, views=sync.views, stamp=stamp)
                    for row in payload_rows
                },
            )


def _without_newer(sync: SyncContext, *, staged: StagedChanges, rows: list[Row]) -> list[Row]:
    """Leave out documents that a newer snapshot has written, where the store cannot."""
    with sync.store() as store:
        if store.capabilities.conditional_writes:
            return rows
    newer = sync.state.newer_than(
        collection=staged.collection,
        document_ids=[row["document_id"] for row in rows],
        snapshot_at=staged.taken_at,
    )
    return [row for row in rows if row["document_id"] not in newer]


def _write(sync: SyncContext, *, staged: StagedChanges, batch: _Batch, tally: _Tally) -> list[Row]:
    """Write one batch; return the rows that are in the index now."""
    written = [row for row in batch.rows if row["action"] == Action.RECORD]
    failures: list[FailedDocument] = []

    def blame(row: Row, error: PermanentError) -> None:
        note_failure(row, failed_of=tally.failed_of, absent_of=tally.absent_of)
        failures.append(_failed(row, error))

    def upsert(run: Sequence[Row]) -> None:
        store.upsert(staged.collection, [batch.points[row["document_id"]] for row in run])

    def write_payloads(run: Sequence[Row]) -> None:
        payloads = [(row["point_id"], batch.payloads[row["document_id"]]) for row in run]
        store.write_payloads(staged.collection, payloads)

    points = [row for row in batch.rows if row["document_id"] in batch.points]
    payloads = [row for row in batch.rows if row["document_id"] in batch.payloads]
    with sync.store() as store:
        for run, _ in apply_bisecting(points, upsert, blame=blame):
            tally.points_written += len(run)
            written += run
        for run, _ in apply_bisecting(payloads, write_payloads, blame=blame):
            tally.payloads_written += len(run)
            written += run
    if failures:
        sync.state.record_failed(
            collection=staged.collection, scope=staged.scope, failures=failures
        )
    return written


def _record(sync: SyncContext, staged: StagedChanges, rows: Sequence[Row]) -> None:
    """Note what the store has confirmed."""
    sync.state.record_synced(
        collection=staged.collection,
        scope=staged.scope,
        rows=[_state_row(row, sync.views) for row in rows],
        snapshot_at=staged.taken_at,
        vector_version=sync.embedder.model_id,
    )


def _points(
    sync: SyncContext,
    staged: StagedChanges,
    rows: Sequence[Row],
    *,
    stamp: Mapping[str, object],
) -> dict[str, Point]:
    """Points of new and changed documents, by document id.

    Raises:
        TransientError: a vector has left the cache since it was embedded.
    """
    keys = [_embed_hashes(row, sync.views) for row in rows]
    wanted = {key for by_view in keys for key in by_view.values()}
    found = sync.cache.get(model_id=sync.cache_model(staged.scope), text_hashes=sorted(wanted))
    if len(found) != len(wanted):
        raise TransientError(
            f"{len(wanted) - len(found)} of {len(wanted)} vectors have left the embedding cache "
            "since they were embedded; run the scope again, they will be embedded again"
        )
    payloads = [_payload(row, views=sync.views, stamp=stamp) for row in rows]
    sparse = sync.sparse.encode_documents([str(payload["text"]) for payload in payloads])
    return {
        row["document_id"]: Point(
            point_id=row["point_id"],
            vectors={view: found[key] for view, key in by_view.items()},
            sparse=weights,
            payload=payload,
        )
        for row, by_view, payload, weights in zip(rows, keys, payloads, sparse, strict=True)
    }


def _payload(row: Row, *, views: Sequence[str], stamp: Mapping[str, object]) -> dict[str, object]:
    """A point's payload: what the document says, and the hashes that later runs compare."""
    payload: dict[str, object] = orjson.loads(row["payload"])
    payload["embed_hash"] = _embed_hashes(row, views)
    payload["payload_hash"] = row["payload_hash"]
    payload.update(stamp)
    return payload


def _embed_hashes(row: Row, views: Sequence[str]) -> dict[str, str]:
    return {view: row[hash_column(view)] for view in views if row[hash_column(view)]}


def _state_row(row: Row, views: Sequence[str]) -> StateRow:
    return StateRow(
        document_id=row["document_id"],
        point_id=row["point_id"],
        entity_type=row["entity_type"],
        db_id=row["db_id"],
        embed_hashes=_embed_hashes(row, views),
        payload_hash=row["payload_hash"],
    )


def _failed(row: Row, error: PermanentError) -> FailedDocument:
    return FailedDocument(
        document_id=row["document_id"],
        point_id=row["point_id"],
        entity_type=row["entity_type"],
        db_id=row["db_id"],
        error_code=type(error).__name__,
        error=str(error),
    )
