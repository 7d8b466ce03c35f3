"""What a scope needs: an export against the index and our record, part by part; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from sync_pipeline.core.diff import Action, Diff, diff_documents, match_sorted
from sync_pipeline.core.errors import DuplicateDocumentError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import PointDigests
from sync_pipeline.core.ports import Dataset
from sync_pipeline.core.reports import Counts
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.staged import (
    STALE_SCHEMA,
    StagedExport,
    gather,
    part_bounds,
    point_digests,
    read_texts,
    table_digests,
)

NO_CHANGES: Final = ""
"""Where the digest of a scope's changes begins."""


@dataclass(frozen=True, slots=True)
class Part:
    """One range of point ids of a scope, from all three sides, each in ascending order."""

    number: int
    table: pa.Table
    """The documents of the export (``staged.document_schema``)."""
    exported: PointDigests
    """Of those documents, row by row."""
    indexed: PointDigests
    recorded: PointDigests


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one part of a scope needs."""

    part: int
    changes: pa.Table
    """Documents that need anything, each with its action (``staged.change_schema``)."""
    gone: pa.Table
    """What has to go (``staged.STALE_SCHEMA``)."""
    diff: Diff

    @property
    def counts(self) -> Counts:
        """What was found."""
        diff = self.diff
        forgotten = self.gone.num_rows - len(diff.stale)
        return Counts(
            new=len(diff.new),
            changed=len(diff.changed),
            payload_changed=len(diff.payload),
            unchanged=diff.unchanged,
            stale=len(diff.stale),
            repaired=len(diff.record) + forgotten,
        )


def iter_comparisons(sync: Reading, *, export: StagedExport) -> Iterator[Comparison]:
    """Compare part by part, in ascending order of point id.

    Raises:
        DuplicateDocumentError: two rows of the snapshot have the same id.
    """
    for part in iter_parts(sync, export=export):
        diff = diff_documents(exported=part.exported, indexed=part.indexed, recorded=part.recorded)
        gone = _stale_table(sync, part=part, diff=diff)
        yield Comparison(part.number, _tagged(part.table, diff), gone, diff)


def iter_parts(sync: Reading, *, export: StagedExport) -> Iterator[Part]:
    """Read an export, and what the index and our record hold of it, in ascending order of point id.

    Raises:
        DuplicateDocumentError: two rows of the snapshot have the same id.
    """
    # Once for all parts: what it says of its files grows with their number.
    dataset = sync.staging.open_dataset(export.dataset)
    for number in range(export.parts):
        exported, table = _read_part(dataset, export=export, part=number)
        indexed, recorded = _read_known(sync, export=export, part=number, exported=exported)
        yield Part(number, table=table, exported=exported, indexed=indexed, recorded=recorded)


def change_digest(before: str, comparison: Comparison) -> str:
    """Fold what a part needs into a digest: equal for equal work, see ``plan``."""
    columns = ("action", "point_id", "content", "payload_hash")
    changed = (value for name in columns for value in comparison.changes.column(name).to_pylist())
    gone = comparison.gone.column("point_id").to_pylist()
    return digest(before, *map(str, changed), "gone", *map(str, gone))


def _read_part(
    dataset: Dataset, *, export: StagedExport, part: int
) -> tuple[PointDigests, pa.Table]:
    """One part of the export in ascending order of point id, with its digests."""
    table = _completed(dataset.read(part))
    digests, order = table_digests(table)
    table = table.take(order)
    twice = np.flatnonzero(digests.point_ids[1:] == digests.point_ids[:-1])
    if len(twice):
        raise DuplicateDocumentError(
            scope_key=export.scope_key,
            document_ids=[
                str(name) for name in table.column("document_id").take(twice).to_pylist()
            ],
        )
    return digests, table


def _completed(table: pa.Table) -> pa.Table:
    """The documents with the columns that an earlier release did not stage."""
    if "cut" in table.schema.names:
        return table
    return table.append_column("cut", pa.nulls(table.num_rows, pa.list_(pa.string())))


def _read_known(
    sync: Reading, *, export: StagedExport, part: int, exported: PointDigests
) -> tuple[PointDigests, PointDigests]:
    """What the index and our record hold of one range of the scope, or of what was touched."""
    if export.touched is not None:
        return _read_touched(sync, export=export, dataset=export.touched, exported=exported)
    start, stop = part_bounds(export.parts)[part]
    with ThreadPoolExecutor(max_workers=1) as pool:
        recording = pool.submit(_read_recorded, sync, export=export, start=start, stop=stop)
        with sync.index() as index:
            indexed = gather(
                index.iter_digests(
                    scope_key=export.scope_key,
                    views=sync.views,
                    entity_types=sync.entity_names,
                    start=start,
                    stop=stop,
                )
            )
        return indexed, recording.result()


def _read_recorded(
    sync: Reading, *, export: StagedExport, start: str | None, stop: str | None
) -> PointDigests:
    return gather(
        sync.state.iter_digests(
            scope=export.scope,
            views=sync.views,
            entity_types=sync.entity_names,
            start=start,
            stop=stop,
        )
    )


def _read_touched(
    sync: Reading, *, export: StagedExport, dataset: str, exported: PointDigests
) -> tuple[PointDigests, PointDigests]:
    """What the index holds of the touched points; our record is taken to be right about them.

    A full sync mends the record. Here every touched point without a row is taken
    for recorded, so that its record is deleted, if there is one.
    """
    ids = read_texts(sync.staging.open_dataset(dataset), column="point_id")
    with sync.index() as index:
        points = iter_points(index, ids)
        indexed = point_digests(points, scope_key=export.scope_key, views=sync.views)
    touched = np.array(ids, dtype="S36")
    at = match_sorted(touched, exported.point_ids)
    has_row = at >= 0
    contents = np.zeros(len(touched), dtype="S32")
    payloads = np.zeros(len(touched), dtype="S32")
    contents[has_row] = exported.contents[at[has_row]]
    payloads[has_row] = exported.payloads[at[has_row]]
    return indexed, PointDigests(point_ids=touched, contents=contents, payloads=payloads)


def _tagged(table: pa.Table, diff: Diff) -> pa.Table:
    """The documents that need anything, each with its action."""
    by_action = {
        Action.NEW: diff.new,
        Action.CHANGED: diff.changed,
        Action.PAYLOAD: diff.payload,
        Action.RECORD: diff.record,
    }
    positions = np.concatenate(list(by_action.values()))
    actions = [str(action) for action, places in by_action.items() for _ in range(len(places))]
    tagged = table.take(positions).add_column(0, "action", pa.array(actions, pa.string()))
    return tagged.append_column("refusal", pa.nulls(len(actions), pa.string()))


def _stale_table(sync: Reading, *, part: Part, diff: Diff) -> pa.Table:
    """What has to go: points without a row, and records with neither row nor point.

    Of a point that has gone meanwhile only the record is left.
    """
    stale = part.indexed.point_ids[diff.stale]
    recorded, exported = part.recorded.point_ids, part.exported.point_ids
    is_forgotten = (match_sorted(recorded, exported) < 0) & (match_sorted(recorded, stale) < 0)
    ids = np.concatenate([stale, recorded[is_forgotten]]).astype("U36").tolist()
    entities: dict[str, str] = {}
    if len(stale):
        with sync.index() as index:
            entities = {
                point.point_id: point.entity_type for point in iter_points(index, ids[: len(stale)])
            }
    return pa.table(
        {"point_id": ids, "entity_type": [entities.get(point_id) for point_id in ids]},
        schema=STALE_SCHEMA,
    )
