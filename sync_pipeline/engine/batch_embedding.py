"""Texts that are embedded overnight for less: handed over, awaited across restarts, collected."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.batching import batched
from sync_pipeline.core.ports import (
    BatchAnswer,
    BatchEmbedder,
    EmbeddingBatches,
    OpenBatch,
)

HANDING_OVER_SECONDS: Final = 900.0
"""How long another process may take to hand a batch over, before it is taken to have died."""
_KEPT_AT_ONCE: Final = 500

Keep = Callable[[Sequence[str], NDArray[np.float32]], None]
"""Puts vectors into the cache, by the hashes of their texts."""


@dataclass(slots=True)
class BatchOutcome:
    """What became of texts that may be embedded by the batch."""

    collected: set[str] = field(default_factory=set)
    """Hashes of those whose vectors are in the cache now."""
    tokens: int = 0
    """That they took."""
    left: set[str] = field(default_factory=set)
    """Hashes of those to embed one call after the other: too few for a batch, or refused there."""
    waiting: set[str] = field(default_factory=set)
    """Hashes of those that a batch has which is under way."""


def embed_by_batch(
    texts: Mapping[str, str],
    *,
    embedder: BatchEmbedder,
    batches: EmbeddingBatches,
    keep: Keep,
    cache_key: str,
) -> BatchOutcome:
    """Collect what batches have ready, and hand over what is worth one.

    To be called again until nothing is waiting, by whatever process: which text is in which
    batch is recorded before the batch is handed over.

    Args:
        texts: Missing texts, by hash.
        embedder: The service.
        batches: The record.
        keep: Puts vectors into the cache.
        cache_key: Of the cache, for these texts.

    Raises:
        SyncPipelineError: see ``BatchEmbedder``; what was handed over by then is recorded.
    """
    outcome = BatchOutcome()
    for batch in batches.list_open(cache_key=cache_key, text_hashes=list(texts)):
        _look_after(batch, outcome, embedder=embedder, batches=batches, keep=keep)
    for hashes in (outcome.collected, outcome.waiting, outcome.left):
        hashes.intersection_update(texts)
    free = [key for key in texts if key not in outcome.collected | outcome.waiting | outcome.left]
    if len(free) < embedder.from_texts:
        outcome.left.update(free)
        return outcome
    for some in batched(free, embedder.max_batch_texts):
        name = uuid.uuid4().hex
        planned = batches.plan(name=name, cache_key=cache_key, text_hashes=some)
        if planned:
            # Where this fails, the batch is looked for by its name before it is given up.
            batch_id = embedder.submit({key: texts[key] for key in sorted(planned)}, name=name)
            batches.note(name=name, batch_id=batch_id)
        # Those that are not planned are in a batch of another process.
        outcome.waiting.update(some)
    return outcome


def _look_after(
    batch: OpenBatch,
    outcome: BatchOutcome,
    *,
    embedder: BatchEmbedder,
    batches: EmbeddingBatches,
    keep: Keep,
) -> None:
    """Find out about one open batch, and collect it if it is over."""
    batch_id = batch.batch_id
    if batch_id is None:
        batch_id = embedder.find(batch.name)
        if batch_id is None:
            if batch.age_seconds < HANDING_OVER_SECONDS:
                outcome.waiting |= batch.text_hashes
            else:
                batches.close(name=batch.name)
            return
        batches.note(name=batch.name, batch_id=batch_id)
    progress = embedder.look(batch_id)
    if not progress.is_over:
        outcome.waiting |= batch.text_hashes
        return
    if progress.is_queue_full:
        if batch.age_seconds < HANDING_OVER_SECONDS:
            outcome.waiting |= batch.text_hashes
        else:
            batches.close(name=batch.name)
        return
    ours = (it for it in embedder.iter_answers(batch_id) if it.text_hash in batch.text_hashes)
    collected = _collect(ours, outcome, keep=keep)
    outcome.left |= batch.text_hashes - collected
    batches.close(name=batch.name)
    embedder.discard(batch_id)


def _collect(answers: Iterable[BatchAnswer], outcome: BatchOutcome, *, keep: Keep) -> set[str]:
    """Keep the vectors of a batch, some at a time; whose they are."""
    collected: set[str] = set()
    for some in batched(answers, _KEPT_AT_ONCE):
        found = {it.text_hash: it.vector for it in some if it.vector is not None}
        if found:
            keep(list(found), np.stack(list(found.values())))
        collected.update(found)
        outcome.tokens += sum(it.tokens for it in some)
    outcome.collected |= collected
    return collected
