"""What has to have a vector for a change set: whole texts, and the passages of long ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from sync_pipeline.core.hashing import embed_hasher
from sync_pipeline.core.point import MAX_NUMBERS_PER_VIEW
from sync_pipeline.core.ports import Embedder
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.engine.changes import POINT_ACTIONS
from sync_pipeline.engine.cutting import cut_text
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.staged_columns import hash_column, passages_column, text_column

_WRITES_POINT: Final = [str(action) for action in POINT_ACTIONS]


@dataclass(slots=True)
class ViewTexts:
    """The texts of one view in a change set."""

    spec: ViewSpec
    embedder: Embedder
    texts: dict[str, str] = field(default_factory=dict)
    """Distinct ones by embed hash; of a long view its passages."""
    needed: set[str] = field(default_factory=set)
    """Embed hashes of those that are of a new or changed document: they need a vector."""
    passages: dict[str, list[str]] = field(default_factory=dict)
    """Of a long view: by the embed hash of a whole text the hashes of its passages, in order."""
    cut: set[str] = field(default_factory=set)
    """Embed hashes of whole texts that have more passages than the index can hold."""
    vectors: int = 0
    """How many the points of new and changed documents have, in all."""


def view_texts(sync: Reading, changes: pa.Table) -> list[ViewTexts]:
    """The distinct texts of a change set, view by view."""
    is_written = np.isin(changes.column("action").to_numpy(), _WRITES_POINT).tolist()
    found = []
    for spec in sync.spec.view_specs:
        keys = changes.column(hash_column(spec.name)).to_pylist()
        texts = changes.column(text_column(spec.name)).to_pylist()
        whole = {key: text for key, text in zip(keys, texts, strict=True) if key and text}
        written = [key for key, writes in zip(keys, is_written, strict=True) if writes and key]
        needed = set(written)
        view = ViewTexts(spec, sync.models.of(spec.name))
        if spec.is_long:
            _cut(view, whole)
            view.needed = {part for key in needed for part in view.passages.get(key, ())}
            view.vectors = sum(len(view.passages.get(key, ())) for key in written)
        else:
            view.texts, view.needed = whole, needed & whole.keys()
            view.vectors = len(written)
        found.append(view)
    return found


def needed_texts(views: Sequence[ViewTexts]) -> dict[str, dict[str, str]]:
    """The distinct texts that need a vector by model id, and then by embed hash, in their order."""
    texts: dict[str, dict[str, str]] = {}
    for view in views:
        needed = {key: text for key, text in view.texts.items() if key in view.needed}
        if needed:
            texts.setdefault(view.spec.model_id, {}).update(needed)
    return texts


def truncated_texts(views: Sequence[ViewTexts]) -> set[str]:
    """Embed hashes of the texts and passages that are longer than their model's window."""
    return {
        key
        for view in views
        for key, is_cut in zip(
            view.texts, view.embedder.find_truncated(list(view.texts.values())), strict=True
        )
        if is_cut
    }


def with_passages(changes: pa.Table, views: Sequence[ViewTexts]) -> pa.Table:
    """The change set with the hashes of the passages of each long text."""
    for view in views:
        if view.spec.is_long:
            keys = changes.column(hash_column(view.spec.name)).to_pylist()
            passages = pa.array(
                [view.passages.get(str(key)) for key in keys], pa.list_(pa.string())
            )
            changes = changes.append_column(passages_column(view.spec.name), passages)
    return changes


def with_truncated(
    changes: pa.Table, views: Sequence[ViewTexts], *, truncated: AbstractSet[str]
) -> pa.Table:
    """The change set with the views of each document of whose text only a part has a vector.

    Args:
        changes: With the views that the source itself cut in ``cut``.
        views: Of it.
        truncated: Embed hashes of texts that are longer than their model's window.
    """
    unread = {view.spec.name: _unread(changes, view, truncated=truncated) for view in views}
    if not any(unread.values()) and changes.column("cut").null_count == changes.num_rows:
        return changes
    named = [
        sorted({*(cut or ()), *(view for view, places in unread.items() if place in places)})
        for place, cut in enumerate(changes.column("cut").to_pylist())
    ]
    at = changes.schema.get_field_index("cut")
    return changes.set_column(
        at, "cut", pa.array([cut or None for cut in named], pa.list_(pa.string()))
    )


def _unread(changes: pa.Table, view: ViewTexts, *, truncated: AbstractSet[str]) -> set[int]:
    """Places of the documents of whose text in a view the model does not read all."""
    unread = truncated | view.cut
    unread |= {key for key, parts in view.passages.items() if not truncated.isdisjoint(parts)}
    if not unread:
        return set()
    keys = changes.column(hash_column(view.spec.name)).to_pylist()
    return {place for place, key in enumerate(keys) if key in unread}


def _cut(view: ViewTexts, whole: Mapping[str, str]) -> None:
    """Cut the texts of a long view, as many passages of each as a point can have."""
    embed_hash = embed_hasher(view.spec.model_id)
    most = MAX_NUMBERS_PER_VIEW // view.spec.dimension
    for key, text in whole.items():
        passages = cut_text(view.spec, text, embedder=view.embedder)
        if len(passages) > most:
            view.cut.add(key)
        parts = [passage.of(text) for passage in passages[:most]]
        hashes = [embed_hash(part) for part in parts]
        view.passages[key] = hashes
        view.texts.update(zip(hashes, parts, strict=True))
