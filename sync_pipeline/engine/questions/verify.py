"""Source, record and index compared document by document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.diff import match_sorted
from sync_pipeline.core.errors import DuplicateDocumentError
from sync_pipeline.core.point import PointDigests, StoredPoint
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.steps.compare import Part, iter_parts
from sync_pipeline.engine.steps.export import preview_export

EXAMPLES: Final = 20
"""Most ids named per kind of difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One scope of ``verify --json``."""

    scope_key: str
    source_documents: int
    state_documents: int
    points: int
    missing: int
    """Documents without a point, or without a record of it."""
    extra: int
    """Points or records without a document."""
    wrong_scope: int
    """Documents whose point carries another scope."""
    mismatched: int
    """Points or records whose content is not the document's."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None
    """Why the scope could not be compared to its end; None where it was."""

    @property
    def is_clean(self) -> bool:
        """Whether source, record and index agree."""
        differs = self.missing or self.extra or self.wrong_scope or self.mismatched
        return self.error is None and not differs


@dataclass(slots=True)
class _Tally:
    """Counts of a verification that is under way, and documents that show them."""

    source_documents: int = 0
    state_documents: int = 0
    points: int = 0
    missing: int = 0
    extra: int = 0
    wrong_scope: int = 0
    mismatched: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def show(self, kind: str, names: Iterable[str]) -> None:
        """Keep the first names of a kind of difference."""
        earlier = self.examples.get(kind, [])
        if examples := [*earlier, *names]:
            self.examples[kind] = examples[:EXAMPLES]


def verify_scope(sync: Reading, *, scope: Scope) -> Verification:
    """Render the scope anew and compare it with every point and record.

    Writes neither index nor state; documents are staged meanwhile, so that a scope
    of any size is compared in parts of bounded size. Rows of the scope that have the same
    id are an error of the scope, and no reason not to verify the others.

    Raises:
        SourceUnavailableError: the source cannot be read.
        StoppedError: asked to stop.
    """
    tally = _Tally()
    fault: str | None = None
    try:
        with preview_export(sync, scope=scope, mode="full") as export:
            for part in iter_parts(sync, export=export):
                _verify_part(sync, part=part, tally=tally)
                done, total = tally.source_documents, export.counts.documents
                sync.progress.advance("verify", done=done, total=total)
                sync.checkpoint(scope=scope)
    except DuplicateDocumentError as error:
        fault = str(error)
    tallied = {name: getattr(tally, name) for name in _Tally.__slots__}
    return Verification(scope_key=scope.key, error=fault, **tallied)


def _verify_part(sync: Reading, *, part: Part, tally: _Tally) -> None:
    exported, indexed, recorded = part.exported, part.indexed, part.recorded
    absent = _without(exported, indexed)
    is_elsewhere = _is_elsewhere(sync, exported.point_ids[absent])
    missing = np.setdiff1d(
        np.union1d(absent, _without(exported, recorded)), absent[is_elsewhere], assume_unique=True
    )
    mismatched = np.union1d(_differing(exported, indexed), _differing(exported, recorded))
    extra = indexed.point_ids[_without(indexed, exported)]
    forgotten = recorded.point_ids[_without(recorded, exported)]
    tally.source_documents += len(exported)
    tally.state_documents += len(recorded)
    tally.points += len(indexed)
    tally.missing += len(missing)
    tally.extra += len(np.union1d(extra, forgotten))
    tally.wrong_scope += int(is_elsewhere.sum())
    tally.mismatched += len(mismatched)
    tally.show("missing", _names(part, missing))
    tally.show("extra", _strangers(sync, extra[:EXAMPLES]))
    tally.show("wrong_scope", _names(part, absent[is_elsewhere]))
    tally.show("mismatched", _names(part, mismatched))


def _without(these: PointDigests, others: PointDigests) -> NDArray[np.intp]:
    """Where ``these`` have points that ``others`` lack."""
    return np.flatnonzero(match_sorted(these.point_ids, others.point_ids) < 0)


def _differing(exported: PointDigests, other: PointDigests) -> NDArray[np.intp]:
    """Where the export has points that ``other`` has with different content."""
    at = match_sorted(exported.point_ids, other.point_ids)
    here = np.flatnonzero(at >= 0)
    there = at[here]
    differs = (exported.contents[here] != other.contents[there]) | (
        exported.payloads[here] != other.payloads[there]
    )
    places: NDArray[np.intp] = here[differs]
    return places


def _names(part: Part, places: NDArray[np.intp]) -> list[str]:
    """Document ids at the first of these places of the export."""
    shown = part.table.column("document_id").take(places[:EXAMPLES])
    return [str(name) for name in shown.to_pylist()]


def _is_elsewhere(sync: Reading, ids: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which points exist after all, though not in the scope they were looked for in."""
    existing = [point.point_id.encode() for point in _read(sync, ids)]
    return np.isin(ids, np.array(existing, dtype=ids.dtype))


def _strangers(sync: Reading, ids: NDArray[np.bytes_]) -> list[str]:
    """What points without a row say that they are."""
    return [point.document_id for point in _read(sync, ids)]


def _read(sync: Reading, ids: NDArray[np.bytes_]) -> list[StoredPoint]:
    if not len(ids):
        return []
    with sync.index() as index:
        return list(iter_points(index, ids.astype("U36").tolist()))
