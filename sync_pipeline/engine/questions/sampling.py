"""Some points of a scope, chosen at random."""

from __future__ import annotations

import uuid
from itertools import islice
from random import Random

from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.ports import IndexReader
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.reading import Reading


def sample_points(
    sync: Reading, index: IndexReader, *, scope: Scope, size: int, random: Random
) -> list[StoredPoint]:
    """Read points in id order from a random place on, and from the start where that is the end.

    Point ids are hashes: neighbours have nothing in common.

    Args:
        sync: Names the entities whose points count.
        index: Of the same generation.
        scope: Whose points.
        size: Most of them.
        random: Chooses the place.

    Returns:
        Points with their vectors; all of them where there are no more than ``size``.
    """
    start = str(uuid.UUID(int=random.getrandbits(128)))
    ids: list[str] = []
    for first, stop in ((start, None), (None, start)):
        if len(ids) >= size:
            break
        batches = index.iter_digests(
            scope_key=scope.key,
            views=sync.views,
            entity_types=sync.entity_names,
            start=first,
            stop=stop,
            batch_size=size,
        )
        found = (str(point_id) for batch in batches for point_id in batch.point_ids.astype("U36"))
        ids += islice(found, size - len(ids))
    return index.retrieve(ids, with_vectors=True) if ids else []
