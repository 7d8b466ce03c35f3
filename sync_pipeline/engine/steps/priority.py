"""What comes first of a scope: its changes in the order of their ranks, across parts and entities.

Parts are ranges of point id, which say nothing of importance. So where an entity has a
priority, what is found part by part is laid aside once, cut by rank instead, and then taken
in pieces, the first rank first. Within a piece the model may take texts in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sync_pipeline.core.diff import Diff
from sync_pipeline.core.priority import LAST_CHARACTER, RANK_CHARACTERS, iter_pieces
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.spread import MAX_FAN_OUT
from sync_pipeline.engine.staged import (
    RANK_COLUMN,
    STALE_SCHEMA,
    StagedExport,
    change_schema,
    column_bytes,
    dataset_name,
    split_by_place,
)
from sync_pipeline.engine.steps.compare import Comparison

CHUNKS_PER_PIECE: Final = 8
"""How many documents a piece has at most, in chunks of ``SyncOptions.embed_chunk_size``: enough
that texts of like length still find each other. Computed for parts of 12,500 texts in calls of 64,
tokens with padding: pieces of 2,048 have 6 % more than a whole part where lengths are those of a
catalogue and 22 % more where they differ a lot; 1,024: 11 and 38 %, 4,096: 3 and 11 %."""

_TURN: Final = "turn"
"""Column with a document's rank, as long as any, and the end of its point id, a hash, which
spreads documents of one rank evenly."""

_TIE_CHARACTERS: Final = 12
_TURN_CHARACTERS: Final = RANK_CHARACTERS + _TIE_CHARACTERS

_NO_PLACES: Final[NDArray[np.intp]] = np.array([], dtype=np.intp)
_NOTHING: Final = Diff(
    new=_NO_PLACES,
    changed=_NO_PLACES,
    payload=_NO_PLACES,
    record=_NO_PLACES,
    unchanged=0,
    stale=_NO_PLACES,
)


def has_ranks(sync: Reading) -> bool:
    """Whether something comes first: whether an entity has a priority."""
    return any(entity.priority for entity in sync.entities)


def iter_by_priority(
    sync: SyncContext, comparisons: Iterable[Comparison], *, export: StagedExport
) -> Iterator[Comparison]:
    """Yield what a scope needs; where documents have ranks, the first ones first.

    Without a priority, what is compared is passed on as it comes. With one, each part is
    passed on without its documents, and these follow in pieces, cut into parts by rank.
    All are compared by then, so nothing is read twice.

    Args:
        sync: Names priority and views; stages what is laid aside.
        comparisons: Part by part. Whether documents have ranks was decided when they were
            exported, maybe with other settings.
        export: What is compared.
    """
    names = change_schema(sync.views).names
    if not has_ranks(sync):
        for comparison in comparisons:
            yield replace(comparison, changes=comparison.changes.select(names))
        return
    laid_aside = dataset_name("changes_by_rank", scope=export.scope, run_id=export.run_id)
    parts = min(export.parts, MAX_FAN_OUT)
    schema = change_schema(sync.views).append(pa.field(_TURN, pa.string()))
    with sync.staging.open_writer(laid_aside, schema=schema, parts=parts) as writer:
        bounds: NDArray[np.bytes_] | None = None
        for comparison in comparisons:
            changes = comparison.changes.select(names)
            table = changes.append_column(_TURN, pa.array(_turns(comparison.changes), pa.string()))
            turns = column_bytes(table, _TURN, _TURN_CHARACTERS)
            if len(turns):
                bounds = even_bounds(turns, parts=parts) if bounds is None else bounds
                place = np.searchsorted(bounds, turns, side="right")
                for part, rows in split_by_place(table, place):
                    writer.write(part, rows)
            yield replace(comparison, changes=changes.slice(0, 0))
    dataset = sync.staging.open_dataset(laid_aside)
    size = CHUNKS_PER_PIECE * sync.options.embed_chunk_size
    for part in range(parts):
        table = dataset.read(part)
        table = table.take(np.argsort(column_bytes(table, _TURN, _TURN_CHARACTERS)))
        in_order = [str(turn) for turn in table.column(_TURN).to_pylist()]
        for start, stop in iter_pieces(in_order, size=size):
            piece = table.slice(start, stop - start).select(names)
            yield Comparison(part, piece, STALE_SCHEMA.empty_table(), _NOTHING)
    sync.staging.delete(laid_aside)


def even_bounds(turns: NDArray[np.bytes_], *, parts: int) -> NDArray[np.bytes_]:
    """Where to cut so that each part gets as many documents as any.

    Args:
        turns: Of some documents. Those of one range of point ids speak for all others, since
            point ids are hashes.
        parts: How many.

    Returns:
        The first turn of each part but the first, in order.
    """
    return np.sort(turns)[[len(turns) * part // parts for part in range(1, parts)]]


def _turns(changes: pa.Table) -> list[str]:
    """What orders documents: those whose rank nobody knows come last."""
    is_ranked = RANK_COLUMN in changes.column_names
    ranks = changes.column(RANK_COLUMN).to_pylist() if is_ranked else [""] * changes.num_rows
    return [
        str(rank).ljust(RANK_CHARACTERS, LAST_CHARACTER) + str(point_id)[-_TIE_CHARACTERS:]
        for rank, point_id in zip(ranks, changes.column("point_id").to_pylist(), strict=True)
    ]
