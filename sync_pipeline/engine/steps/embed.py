"""Step 2: compare with the index, embed what is new, stage what has to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sync_pipeline.core.batching import batched, by_length
from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.ports import Embedder, Fence
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.vocabulary import TokenCount, Vocabulary
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.canaries import require_same_model
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.overlap import record_behind
from sync_pipeline.engine.staged import (
    EmbeddedTexts,
    MissingTexts,
    RefusedText,
    StagedChanges,
    StagedComparison,
    StagedExport,
    split_by_place,
)
from sync_pipeline.engine.steps.change_set import compare_scope, seal_changes
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.watching import watched

_ENOUGH_TO_MEASURE: Final = 256
"""Fewer texts say more about loading the model than about its speed."""


def embed_scope(
    sync: SyncContext,
    *,
    export: StagedExport,
    fence: Fence,
    planned: str | None = None,
) -> StagedChanges:
    """Work out what the index needs, and put every vector it needs into the cache.

    The index is not written. What several machines do part by part is done here one part after
    the other.

    Args:
        sync: The ports.
        export: What to compare.
        fence: The lease under which it was made.
        planned: Digest of the changes of a saved plan; anything else is refused.

    Raises:
        SyncPipelineError: see ``compare_scope`` and ``embed_part``.
    """
    comparison = compare_scope(sync, export=export, fence=fence, planned=planned)
    return seal_changes(sync, comparison=embed_missing(sync, comparison=comparison))


def embed_missing(sync: SyncContext, *, comparison: StagedComparison) -> StagedComparison:
    """Embed all parts of the missing texts here, one after the other.

    Returns:
        The same with what became of them.

    Raises:
        SyncPipelineError: see ``embed_part``.
    """
    for part in comparison.missing:
        embedded = embed_part(
            sync,
            part,
            scope=comparison.scope,
            run_id=comparison.run_id,
            so_far=comparison.counts,
            total=comparison.missing_texts,
        )
        spent = comparison.seconds.embed + embedded.seconds
        comparison = replace(
            comparison,
            embedded=[*comparison.embedded, embedded],
            counts=comparison.counts + embedded.counts,
            seconds=replace(comparison.seconds, embed=spent),
        )
    return comparison


@dataclass(slots=True)
class _Tally:
    """Counts of a part that is being embedded."""

    counts: Counts = field(default_factory=Counts)
    unknown: dict[str, Vocabulary] = field(default_factory=dict)
    """Per view, of the texts that were embedded."""
    refused: dict[str, RefusedText] = field(default_factory=dict)
    """By embed hash."""

    def note(self, counts: Sequence[TokenCount], *, views: Sequence[Sequence[str]]) -> None:
        """Count embedded texts, each for every view that has it."""
        by_view: dict[str, list[TokenCount]] = {}
        for count, names in zip(counts, views, strict=True):
            for view in names:
                by_view.setdefault(view, []).append(count)
        for view, view_counts in by_view.items():
            self.unknown[view] = self.unknown.get(view, Vocabulary()) + Vocabulary.of(view_counts)


@dataclass(frozen=True, slots=True)
class _Text:
    """A missing text; a row of ``staged.MISSING_SCHEMA``."""

    text: str
    views: Sequence[str]
    is_truncated: bool


@watched("embed")
def embed_part(
    sync: SyncContext,
    part: MissingTexts,
    *,
    scope: Scope,
    run_id: str,
    so_far: Counts,
    total: int,
) -> EmbeddedTexts:
    """Embed texts that have no vector, and put the vectors into the cache, which is all it writes.

    Needs the texts and the cache and nothing else: it may run anywhere, at the same time as
    other parts and without the scope's lease. What is in the cache by now is not embedded again.
    Vectors reach it batch by batch, one batch behind the model, so a part that was cut off goes
    on where it stopped.

    Args:
        sync: The ports; of the generation its models.
        part: Which texts.
        scope: Whose they are.
        run_id: For which run.
        so_far: What the run did before; said where it is stopped here.
        total: How many texts the run has to embed, for progress.

    Raises:
        ModelUnavailableError: the model cannot be loaded.
        ModelChangedError: it gives other vectors than it used to; nothing was embedded.
        StoppedError: asked to stop; what was embedded is in the cache.
    """
    began = sync.seconds()
    tally = _Tally()
    table = sync.staging.open_dataset(part.dataset).read(0)
    with counted(lambda: so_far + tally.counts):
        for model_id, texts in _iter_turns(table):
            _embed_texts(
                sync,
                sync.embedders[model_id],
                scope=scope,
                run_id=run_id,
                texts=texts,
                tally=tally,
                done_before=so_far.embedded_texts,
                total=total,
            )
    return EmbeddedTexts(
        counts=tally.counts,
        seconds=sync.seconds() - began,
        unknown={view: vocabulary.to_dict() for view, vocabulary in sorted(tally.unknown.items())},
        refused=tally.refused,
    )


def _iter_turns(table: pa.Table) -> Iterator[tuple[str, dict[str, _Text]]]:
    """Missing texts by embed hash, piece by piece and in each model by model."""
    for _, piece in split_by_place(table, table.column("piece").to_numpy()):
        texts: dict[str, dict[str, _Text]] = {}
        for row in piece.to_pylist():
            texts.setdefault(row["model_id"], {})[row["text_hash"]] = _Text(
                row["text"], row["views"], row["is_truncated"]
            )
        yield from texts.items()


def _embed_texts(
    sync: SyncContext,
    embedder: Embedder,
    *,
    scope: Scope,
    run_id: str,
    texts: Mapping[str, _Text],
    tally: _Tally,
    done_before: int,
    total: int,
) -> None:
    """Put the vectors that the cache still lacks into it."""
    missing = sync.cache.claim(
        model_id=sync.cache_key(scope, embedder.model_id),
        text_hashes=list(texts),
        scope=scope,
        owner=run_id,
    )
    if missing:
        require_same_model(sync, embedder)
    to_embed = {key: text.text for key, text in texts.items() if key in missing}
    tally.counts += Counts(cache_hits=len(texts) - len(to_embed))
    began = sync.seconds()
    for keys, counts in _embed_batches(sync, embedder, scope=scope, texts=to_embed, tally=tally):
        embedded = [texts[key] for key in keys]
        tally.counts += Counts(
            embedded_texts=len(keys),
            embedded_tokens=sum(count.tokens for count in counts),
            truncated=sum(text.is_truncated for text in embedded),
        )
        tally.note(counts, views=[text.views for text in embedded])
        sync.progress.advance("embed", done=done_before + tally.counts.embedded_texts, total=total)
    if len(to_embed) >= _ENOUGH_TO_MEASURE:
        sync.rates.record(
            model_id=embedder.model_id,
            texts=len(to_embed),
            seconds=sync.seconds() - began,
        )


def _embed_batches(
    sync: SyncContext,
    embedder: Embedder,
    *,
    scope: Scope,
    texts: Mapping[str, str],
    tally: _Tally,
) -> Iterator[tuple[list[str], list[TokenCount]]]:
    """Embed distinct texts, longest first, and cache each batch at once.

    Yields:
        Per batch the hashes of the texts that were embedded, and the tokens of each.
    """
    keys, values = list(texts), list(texts.values())

    def embed(run: Sequence[int]) -> NDArray[np.float32]:
        chosen = [values[position] for position in run]
        vectors = embedder.embed(chosen)
        origin = f"the model {embedder.model_id}"
        check_vectors(vectors, dimension=embedder.dimension, origin=origin)
        if len(vectors) != len(run):
            raise PermanentError(f"{origin} returned {len(vectors)} vectors for {len(run)} texts")
        return vectors

    def blame(position: int, error: PermanentError) -> None:
        tally.refused[keys[position]] = RefusedText.of(error)

    def keep(done: tuple[Sequence[int], NDArray[np.float32]]) -> None:
        run, vectors = done
        sync.cache.put(
            model_id=sync.cache_key(scope, embedder.model_id),
            text_hashes=[keys[position] for position in run],
            vectors=vectors,
        )

    chunk = min(sync.options.embed_chunk_size, embedder.max_batch)
    with record_behind(keep) as keep_behind:
        for batch in batched(by_length(values), chunk):
            sync.checkpoint(scope=scope)
            for run, vectors in apply_bisecting(batch, embed, blame=blame):
                keep_behind((run, vectors))
                done = [values[at] for at in run]
                # What was embedded last costs nothing to count.
                yield [keys[at] for at in run], embedder.count_unknown(done)
