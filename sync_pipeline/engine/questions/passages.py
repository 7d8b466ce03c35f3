"""Which passage of a long text a search is nearest to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sync_pipeline.core.payload import text_spans_of
from sync_pipeline.core.point import BestPassage, StoredPoint, Vector
from sync_pipeline.core.ports import IndexReader
from sync_pipeline.engine.cutting import cut_text
from sync_pipeline.engine.reading import Reading


def best_passages(
    sync: Reading,
    index: IndexReader,
    points: Sequence[StoredPoint],
    *,
    vectors: Mapping[str, Vector],
) -> dict[str, tuple[BestPassage, ...]]:
    """The passage of each long view that is nearest to a search, per point id.

    The texts are cut once more, and the vectors read from the index: nothing of it is kept.

    Args:
        sync: Names the long views and has their tokenizers.
        index: Of the same generation.
        points: The hits.
        vectors: Of the search text, by view.
    """
    searched = {view: vectors[view] for view in sync.spec.long_views if view in vectors}
    if not searched or not points:
        return {}
    ids = [point.point_id for point in points]
    stored = index.retrieve(ids, with_vectors=True, as_search=True)
    return {
        point.point_id: tuple(
            passage
            for view, vector in searched.items()
            if (passage := _best(sync, point, view, vector)) is not None
        )
        for point in stored
    }


def _best(sync: Reading, point: StoredPoint, view: str, vector: Vector) -> BestPassage | None:
    """None where the point has no such text, or was written by a program that cuts otherwise."""
    span, kept = text_spans_of(point.payload).get(view), point.vectors.get(view)
    if span is None or kept is None:
        return None
    begin, end = span
    text = point.text[begin:end]
    passages = cut_text(sync.spec.view(view), text, embedder=sync.models.of(view))
    if len(passages) < len(kept):
        return None
    scores = kept @ vector
    best = int(np.argmax(scores))
    passage = passages[best]
    return BestPassage(
        view=view,
        start=begin + passage.start,
        stop=begin + passage.stop,
        text=passage.of(text),
        score=float(scores[best]),
    )
