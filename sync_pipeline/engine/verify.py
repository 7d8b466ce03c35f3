"""Source, record and index compared document by document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sync_pipeline.core.diff import match_sorted
from sync_pipeline.core.document import Document, DocumentBuilder
from sync_pipeline.core.point import PointDigests, StoredPoint
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import check_index
from sync_pipeline.engine.staged import content_digest, gather

EXAMPLES = 20
"""Most ids named per kind of difference."""
RETRIEVE_BATCH = 500
"""Points read at once when looking closer."""


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

    @property
    def is_clean(self) -> bool:
        """Whether source, record and index agree."""
        return not (self.missing or self.extra or self.wrong_scope or self.mismatched)


def verify_scope(sync: SyncContext, *, scope: Scope) -> Verification:
    """Render the scope anew and compare it with every point and record; writes nothing.

    Raises:
        IndexMismatchError: the index was built with other settings.
        SourceUnavailableError: the source cannot be read.
    """
    documents, exported = _read_source(sync, scope=scope)
    collection = sync.spec.collection
    with sync.store() as store:
        check_index(sync, store)
        indexed = gather(store.iter_digests(collection, scope_key=scope.key, views=sync.views))
        absent = exported.point_ids[match_sorted(exported.point_ids, indexed.point_ids) < 0]
        elsewhere = _elsewhere(store.retrieve(collection, ids) for ids in _chunks(absent))
        extra = indexed.point_ids[match_sorted(indexed.point_ids, exported.point_ids) < 0]
        strangers = [
            str(point.payload.get("document_id", point.point_id))
            for ids in _chunks(extra[:EXAMPLES])
            for point in store.retrieve(collection, ids)
        ]
    recorded = gather(sync.state.iter_digests(collection=collection, scope=scope, views=sync.views))
    unrecorded = exported.point_ids[match_sorted(exported.point_ids, recorded.point_ids) < 0]
    forgotten = recorded.point_ids[match_sorted(recorded.point_ids, exported.point_ids) < 0]
    missing = (set(_texts(absent)) | set(_texts(unrecorded))) - elsewhere
    names = {
        "missing": [documents[key] for key in sorted(missing)],
        "extra": strangers,
        "wrong_scope": [documents[key] for key in sorted(elsewhere)],
        "mismatched": [
            documents[key]
            for key in sorted(_differing(exported, indexed) | _differing(exported, recorded))
        ],
    }
    return Verification(
        scope_key=scope.key,
        source_documents=len(exported),
        state_documents=len(recorded),
        points=len(indexed),
        missing=len(missing),
        extra=len(set(_texts(extra)) | set(_texts(forgotten))),
        wrong_scope=len(elsewhere),
        mismatched=len(names["mismatched"]),
        examples={kind: found[:EXAMPLES] for kind, found in names.items() if found},
    )


def _read_source(sync: SyncContext, *, scope: Scope) -> tuple[dict[str, str], PointDigests]:
    """Document ids by point id, and digests, of the scope as it is in the source now."""
    sync.source.check_schema(sync.entities)
    found: list[tuple[str, str, str, str]] = []
    with sync.source.open_snapshot() as snapshot:
        for entity in sync.entities:
            views = [name for name, _ in entity.views]
            builder = DocumentBuilder(entity=entity, scope=scope, model_id=sync.embedder.model_id)
            for rows in snapshot.iter_rows(entity=entity, scope=scope):
                found += [
                    (
                        built.point_id,
                        content_digest(built, views),
                        built.payload_hash,
                        built.document_id,
                    )
                    for built in map(builder.build, rows)
                    if isinstance(built, Document)
                ]
                sync.progress.advance("verify", done=len(found), total=None)
                sync.checkpoint(scope=scope)
    found.sort()
    digests = PointDigests(
        point_ids=np.array([row[0] for row in found], dtype="S36"),
        contents=np.array([row[1] for row in found], dtype="S32"),
        payloads=np.array([row[2] for row in found], dtype="S32"),
    )
    return {row[0]: row[3] for row in found}, digests


def _texts(ids: Sequence[bytes] | np.ndarray) -> list[str]:
    return [str(found) for found in np.asarray(ids).astype("U36")]


def _chunks(ids: np.ndarray) -> list[list[str]]:
    texts = _texts(ids)
    return [texts[at : at + RETRIEVE_BATCH] for at in range(0, len(texts), RETRIEVE_BATCH)]


def _elsewhere(batches: Iterable[list[StoredPoint]]) -> set[str]:
    """Point ids that exist, though not in the scope they were looked for in."""
    return {point.point_id for batch in batches for point in batch}


def _differing(exported: PointDigests, other: PointDigests) -> set[str]:
    """Point ids present on both sides with different content."""
    at = match_sorted(exported.point_ids, other.point_ids)
    here = np.flatnonzero(at >= 0)
    there = at[here]
    differs = (exported.contents[here] != other.contents[there]) | (
        exported.payloads[here] != other.payloads[there]
    )
    return set(_texts(exported.point_ids[here[differs]]))
