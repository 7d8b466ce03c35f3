"""What is asked of a scope in the index after a sync: few questions, cheap at any size.

``clean_scope`` has already counted before it recorded success. These look at the
points themselves, at a random sample of them, with no model and nothing written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np

from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.payload import owner_fields
from sync_pipeline.core.point import (
    NORM_TOLERANCE,
    CollectionSpec,
    SearchQuery,
    StoredPoint,
    Vector,
)
from sync_pipeline.core.ports import EntitySnapshot, IndexReader
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.engine.questions.sampling import sample_points
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, read_record

SAMPLE_SIZE: Final = 100
"""Most points that are read with their vectors."""
FIRST_HITS: Final = 10
"""A document's own text finds it among so many."""

Fact = str | int | float
Passages = Mapping[str, Mapping[str, Sequence[str]]]
"""Per document id and long view the embed hashes of the passages of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One claim about a scope, and whether it holds."""

    claim: str
    passed: bool
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Numbers and ids to look at; never a document's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDocument:
    """A sampled point, one of its views, and the cached vector of that view's text."""

    point: StoredPoint
    view: str
    vector: Vector
    is_passage: bool = False
    """Whether it is that of one passage of a long text; others may have the same."""


def check_scope(sync: Reading, *, scope: Scope, seed: str) -> list[CheckResult]:
    """Ask everything of one scope; writes nothing and loads no model.

    Args:
        sync: Index, record and embedding cache are read.
        scope: Whose points.
        seed: Chooses the sample; another run looks at other points.
    """
    # One lease for all of it: opening the embedded index costs 25 ms.
    with sync.index() as index:
        points = index.count_by_entity(scope_key=scope.key)
        sample = sample_points(
            sync,
            index,
            scope=scope,
            size=SAMPLE_SIZE,
            random=Random(seed),  # noqa: S311 - a sample
        )
        passages = (
            sync.state.passages(document_ids=[point.document_id for point in sample])
            if sync.spec.long_views
            else {}
        )
        known = _known_documents(sync, scope=scope, sample=sample, passages=passages)
        searched = _find_known_document(index, sync=sync, scope=scope, sample=sample, known=known)
    record = read_record(sync, scope=scope)
    counted = points_match_rows(points=points, record=record)
    if not counted.passed:
        recorded = sync.state.count_by_entity(scope=scope)
        synced = {
            name: statuses.get("synced", 0)
            for name, statuses in recorded.get(scope.key, {}).items()
        }
        counted = points_match_rows(points=points, record=record, recorded=synced)
    return [
        counted,
        points_carry_their_scope(scope=scope, sample=sample),
        vectors_are_valid(sample=sample, spec=sync.spec, passages=passages),
        searched,
    ]


def points_match_rows(
    *,
    points: Mapping[str, int],
    record: ScopeRecord,
    recorded: Mapping[str, int] | None = None,
) -> CheckResult:
    """Whether the scope has, of each entity, a point for every row that can have one.

    A failed document may still have an older point. Documents that another scope
    took over after the sync are points there; the record has moved with them.

    Args:
        points: Per entity the exact count in the index; those that the settings do not
            name are nobody's business here.
        record: What the last successful sync recorded.
        recorded: Per entity the documents recorded as synced now; asked where the rest
            does not agree.
    """
    claim = "points_match_rows"
    counted = sum(points.get(name, 0) for name in record.names)
    if record.missing:
        return CheckResult(claim=claim, passed=False, facts={"points": counted, "rows": "unknown"})
    differing = [
        name
        for name, snapshot in record.entities.items()
        if not _fewest(snapshot, recorded) <= points.get(name, 0) <= snapshot.documents
    ]
    facts: dict[str, Fact] = {
        "points": counted,
        "rows": record.rows,
        "documents": record.documents,
        "quarantined": record.quarantined,
        "failed": record.failed,
    }
    if differing:
        facts["differing"] = ", ".join(
            f"{name}: {points.get(name, 0)} points for {record.entities[name].documents} documents"
            for name in differing
        )
    return CheckResult(claim=claim, passed=not differing, facts=facts)


def _fewest(snapshot: EntitySnapshot, recorded: Mapping[str, int] | None) -> int:
    """The least points that an entity must have."""
    fewest = snapshot.documents - snapshot.failed
    return fewest if recorded is None else min(fewest, recorded.get(snapshot.entity_type, 0))


def points_carry_their_scope(*, scope: Scope, sample: Sequence[StoredPoint]) -> CheckResult:
    """Whether everything that a point says about its owner names this scope."""
    strangers = [point.point_id for point in sample if not _belongs(point, scope=scope)]
    return _sampled("points_carry_their_scope", sample=sample, wrong=strangers)


def vectors_are_valid(
    *, sample: Sequence[StoredPoint], spec: CollectionSpec, passages: Passages
) -> CheckResult:
    """Whether each point has all vectors of every view with a text, fit to be searched.

    Args:
        sample: Points with their vectors.
        spec: What the collection is made for.
        passages: What is recorded of their long texts.
    """
    wrong = [
        point.point_id
        for point in sample
        if point.vectors.keys() != point.embed_hashes.keys()
        or not all(
            _is_valid(
                vector,
                view=spec.view(view),
                passages=len(passages.get(point.document_id, {}).get(view, ())),
            )
            for view, vector in point.vectors.items()
        )
    ]
    result = _sampled("vectors_are_valid", sample=sample, wrong=wrong)
    return CheckResult(
        claim=result.claim,
        passed=result.passed,
        facts={**result.facts, "dimension": spec.dimension},
    )


def known_document_is_found(
    *, found: Mapping[str, tuple[KnownDocument, Sequence[StoredPoint]]], documents: int
) -> CheckResult:
    """Whether in every view a search for a document's own text brings it, or one of the same text.

    Args:
        found: Per view the document that was searched for, and the first hits, best first.
        documents: How many of the sample could have been searched for.
    """
    places = {view: _place(known, hits) for view, (known, hits) in found.items()}
    first = next(iter(found.values()))[0]
    lost = [view for view, place in places.items() if place is None]
    facts: dict[str, Fact] = {
        "document_id": first.point.document_id,
        "place": places[first.view] or f"not among the first {FIRST_HITS}",
        "sampled": documents,
    }
    if len(places) > 1:
        facts["views"] = ", ".join(
            f"{view}: {place or 'not found'}" for view, place in sorted(places.items())
        )
    if lost:
        facts["lost"] = ", ".join(
            f"{view}: {found[view][0].point.document_id}" for view in sorted(lost)
        )
    return CheckResult(claim="known_document_is_found", passed=not lost, facts=facts)


def _place(known: KnownDocument, hits: Sequence[StoredPoint]) -> int | None:
    """Where a document stands among the hits, or the first one with the very same text."""
    own = known.point.embed_hashes[known.view]
    for place, hit in enumerate(hits, start=1):
        if hit.point_id == known.point.point_id or hit.embed_hashes.get(known.view) == own:
            return place
    # As many others may have the very same passage.
    return FIRST_HITS if known.is_passage and len(hits) == FIRST_HITS else None


def _find_known_document(
    index: IndexReader,
    *,
    sync: Reading,
    scope: Scope,
    sample: Sequence[StoredPoint],
    known: Sequence[KnownDocument],
) -> CheckResult:
    if not known:
        reason = "no sampled document has its vector in the cache" if sample else "empty scope"
        return CheckResult(
            claim="known_document_is_found", passed=True, facts={"skipped": reason, "sampled": 0}
        )
    chosen: dict[str, KnownDocument] = {}
    for candidate in known:
        chosen.setdefault(candidate.view, candidate)
    found = {
        view: (candidate, _search_for(index, sync=sync, scope=scope, known=candidate))
        for view, candidate in chosen.items()
    }
    documents = len({candidate.point.point_id for candidate in known})
    return known_document_is_found(found=found, documents=documents)


def _search_for(
    index: IndexReader, *, sync: Reading, scope: Scope, known: KnownDocument
) -> list[StoredPoint]:
    """Search by the text of one view, and by words where that is the document's whole text."""
    is_whole = list(known.point.embed_hashes) == [known.view] and not known.is_passage
    query = SearchQuery(
        scope_keys=scope.visible_keys,
        vectors={known.view: known.vector},
        sparse=sync.sparse.encode_query(known.point.text) if is_whole else None,
        limit=FIRST_HITS,
    )
    return [hit for _, hit in index.query(query)]


def _known_documents(
    sync: Reading, *, scope: Scope, sample: Sequence[StoredPoint], passages: Passages
) -> list[KnownDocument]:
    """Views of points whose text has its vector in the cache; of a long one its last passage."""
    texts: dict[str, list[tuple[StoredPoint, str, str]]] = {}
    for point in sample:
        for view, whole in point.embed_hashes.items():
            if view not in sync.views:
                continue
            spec = sync.spec.view(view)
            parts = passages.get(point.document_id, {}).get(view, ())
            keys = parts[-1:] if spec.is_long else [whole]
            texts.setdefault(spec.model_id, []).extend((point, view, key) for key in keys)
    known = []
    for model_id, found in texts.items():
        cached = sync.cache.get(
            model_id=sync.cache_key(scope, model_id),
            text_hashes=sorted({key for _, _, key in found}),
        )
        known += [
            KnownDocument(
                point=point,
                view=view,
                vector=cached[key],
                is_passage=sync.spec.view(view).is_long,
            )
            for point, view, key in found
            if key in cached
        ]
    return known


def _belongs(point: StoredPoint, *, scope: Scope) -> bool:
    return (
        owner_fields(scope).items() <= point.payload.items()
        and point.document_id.startswith(f"{scope.kind}-")
        and point_id(point.document_id) == point.point_id
    )


def _is_valid(vector: Vector, *, view: ViewSpec, passages: int) -> bool:
    """Whether a view has what it should: one vector, or as many as there are passages recorded."""
    shape = (passages, view.dimension) if view.is_long else (view.dimension,)
    return (
        vector.shape == shape
        and bool(np.isfinite(vector).all())
        and bool((abs(np.linalg.norm(vector, axis=-1) - 1) <= NORM_TOLERANCE).all())
    )


def _sampled(claim: str, *, sample: Sequence[StoredPoint], wrong: Sequence[str]) -> CheckResult:
    facts: dict[str, Fact] = {"sampled": len(sample), "wrong": len(wrong)}
    if wrong:
        facts["examples"] = ", ".join(sorted(wrong)[:5])
    return CheckResult(claim=claim, passed=not wrong, facts=facts)
