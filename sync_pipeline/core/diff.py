"""What has to be done: the source snapshot against what the points carry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.point import PointDigests


class Action(StrEnum):
    """What a document needs."""

    NEW = "new"
    CHANGED = "changed"
    PAYLOAD = "payload"
    RECORD = "record"
    """The index is right; only our record of it is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Positions in the exported and indexed digests, by what they need.

    ``new``, ``changed``, ``payload`` and ``record`` are positions in the export;
    ``stale`` are positions in the index. Everything else is unchanged.
    """

    new: NDArray[np.intp]
    changed: NDArray[np.intp]
    payload: NDArray[np.intp]
    record: NDArray[np.intp]
    unchanged: int
    stale: NDArray[np.intp]


def match_sorted(left: NDArray[np.bytes_], right: NDArray[np.bytes_]) -> NDArray[np.intp]:
    """For each of ``left`` its position in ``right``, -1 where it is absent; ``right`` sorted."""
    if not len(right):
        return np.full(len(left), -1, dtype=np.intp)
    places = np.searchsorted(right, left)
    places[places == len(right)] = 0
    return np.where(right[places] == left, places, -1)


def diff_documents(
    *, exported: PointDigests, indexed: PointDigests, recorded: PointDigests
) -> Diff:
    """Compare an export with the index and with our record, all sorted by point id.

    The index decides what is written to it; the record only decides whether the
    record is mended. So no bookkeeping can cause a write to be skipped.

    Args:
        exported: Every document of the scope in one snapshot (or one id range of it).
        indexed: What the points of the scope carry, same id range.
        recorded: What ``index_state`` holds as synced, same id range.
    """
    at = match_sorted(exported.point_ids, indexed.point_ids)
    present = at >= 0
    same_content = np.zeros(len(exported), dtype=bool)
    same_payload = np.zeros(len(exported), dtype=bool)
    same_content[present] = exported.contents[present] == indexed.contents[at[present]]
    same_payload[present] = exported.payloads[present] == indexed.payloads[at[present]]
    unchanged = same_content & same_payload
    stale = np.ones(len(indexed), dtype=bool)
    stale[at[present]] = False
    record_at = match_sorted(exported.point_ids, recorded.point_ids)
    has_record = record_at >= 0
    same_record = np.zeros(len(exported), dtype=bool)
    same_record[has_record] = (
        exported.contents[has_record] == recorded.contents[record_at[has_record]]
    ) & (exported.payloads[has_record] == recorded.payloads[record_at[has_record]])
    return Diff(
        new=np.flatnonzero(~present),
        changed=np.flatnonzero(present & ~same_content),
        payload=np.flatnonzero(same_content & ~same_payload),
        record=np.flatnonzero(unchanged & ~same_record),
        unchanged=int(unchanged.sum()),
        stale=np.flatnonzero(stale),
    )
