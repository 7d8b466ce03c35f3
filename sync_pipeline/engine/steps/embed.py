"""Step 2: compare with the index, embed what is new, stage what has to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from sync_pipeline.core.batching import batched_by_size, by_length
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    BatchUnderWayError,
    BudgetExceededError,
    PermanentError,
    PostponedError,
)
from sync_pipeline.core.ports import Embedder, Fence
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.row_dataclass import row_dataclass
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import Purpose
from sync_pipeline.core.vocabulary import TokenCount, Vocabulary
from sync_pipeline.core.waiting import stoppable
from sync_pipeline.engine.batch_embedding import embed_by_batch
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.canaries import require_same_model
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.metering import Meter, fitting, summing_up
from sync_pipeline.engine.overlap import in_flight, record_behind
from sync_pipeline.engine.staged import (
    EmbeddedTexts,
    MissingTexts,
    StagedChanges,
    StagedComparison,
    StagedExport,
    UnembeddedText,
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
    unembedded: dict[str, UnembeddedText] = field(default_factory=dict)
    """By embed hash those that have no vector."""

    def note(self, counts: Sequence[TokenCount], *, views: Sequence[Sequence[str]]) -> None:
        """Count embedded texts, each for every view that has it."""
        by_view: dict[str, list[TokenCount]] = {}
        for count, names in zip(counts, views, strict=True):
            for view in names:
                by_view.setdefault(view, []).append(count)
        for view, view_counts in by_view.items():
            self.unknown[view] = self.unknown.get(view, Vocabulary()) + Vocabulary.of(view_counts)


@row_dataclass(frozen=True, slots=True)
class _Text:
    """A missing text; a row of ``staged.MISSING_SCHEMA``."""

    text: str
    views: Sequence[str]


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
    with counted(lambda: so_far + tally.counts), stoppable(sync.should_stop):
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
    at = {why: place for place, why in enumerate(dict.fromkeys(tally.unembedded.values()))}
    return EmbeddedTexts(
        counts=tally.counts,
        seconds=sync.seconds() - began,
        unknown={view: vocabulary.to_dict() for view, vocabulary in sorted(tally.unknown.items())},
        unembedded={key: at[why] for key, why in tally.unembedded.items()},
        reasons=list(at),
    )


def _iter_turns(table: pa.Table) -> Iterator[tuple[str, dict[str, _Text]]]:
    """Missing texts by embed hash, piece by piece and in each model by model."""
    for _, piece in split_by_place(table, table.column("piece").to_numpy()):
        texts: dict[str, dict[str, _Text]] = {}
        columns = ("model_id", "text_hash", "text", "views")
        rows = zip(*(piece.column(name).to_pylist() for name in columns), strict=True)
        for model_id, text_hash, text, views in rows:
            texts.setdefault(model_id, {})[text_hash] = _Text(text, views)
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
    to_embed = {key: text.text for key, text in texts.items() if key in missing}
    tally.counts += Counts(cache_hits=len(texts) - len(to_embed))
    if not to_embed:
        return
    meter = sync.meter(scope=scope, run_id=run_id)
    try:
        require_same_model(sync, meter.on(embedder, purpose=Purpose.CANARIES))
    except PostponedError as error:
        tally.unembedded |= dict.fromkeys(to_embed, UnembeddedText.of(error))
        return
    to_embed = _without_batched(
        sync, embedder, scope=scope, texts=to_embed, meter=meter, tally=tally
    )
    began = sync.seconds()
    embedded_before = tally.counts.embedded_texts
    with summing_up(meter, seconds=sync.seconds) as summing:
        for keys, embedded in _embed_batches(
            sync, summing.on(embedder), scope=scope, texts=to_embed, tally=tally
        ):
            tally.counts += Counts(
                embedded_texts=len(keys),
                embedded_tokens=embedded.tokens,
                truncated=sum(embedded.truncated),
            )
            tally.note(embedded.counts, views=[texts[key].views for key in keys])
            done = done_before + tally.counts.embedded_texts
            sync.progress.advance("embed", done=done, total=total)
    embedded_texts = tally.counts.embedded_texts - embedded_before
    if embedded_texts >= _ENOUGH_TO_MEASURE:
        sync.rates.record(
            model_id=embedder.model_id, texts=embedded_texts, seconds=sync.seconds() - began
        )


def _without_batched(
    sync: SyncContext,
    embedder: Embedder,
    *,
    scope: Scope,
    texts: dict[str, str],
    meter: Meter,
    tally: _Tally,
) -> dict[str, str]:
    """The texts that are embedded now: without those that a service embeds by the batch.

    What a batch has ready is collected. Where a budget bounds anything, none is handed over:
    what it takes is known only when it is done.
    """
    desk = embedder.by_batch
    if desk is None or sync.batches is None or sync.options.budgets.bounds_anything:
        return texts
    cache_key = sync.cache_key(scope, embedder.model_id)
    outcome = embed_by_batch(
        texts,
        embedder=desk,
        batches=sync.batches,
        keep=lambda keys, vectors: sync.cache.put(
            model_id=cache_key, text_hashes=keys, vectors=vectors
        ),
        cache_key=cache_key,
    )
    if outcome.collected or outcome.tokens:
        meter.book_batch(embedder, texts=len(outcome.collected), tokens=outcome.tokens)
        tally.counts += Counts(
            embedded_texts=len(outcome.collected), embedded_tokens=outcome.tokens
        )
    if outcome.waiting:
        why = UnembeddedText.of(BatchUnderWayError(texts=len(outcome.waiting)))
        tally.unembedded |= dict.fromkeys(outcome.waiting, why)
    return {key: text for key, text in texts.items() if key in outcome.left}


def _embed_batches(
    sync: SyncContext,
    embedder: Embedder,
    *,
    scope: Scope,
    texts: Mapping[str, str],
    tally: _Tally,
) -> Iterator[tuple[list[str], Embedded]]:
    """Embed distinct texts, longest first, several calls at once, and cache each batch at once.

    Yields:
        Per batch the hashes of the texts that were embedded, and the answer.
    """
    keys, values = list(texts), list(texts.values())
    embed = _Batches(embedder, values)

    def batches() -> Iterator[list[int]]:
        for batch in batched_by_size(
            by_length(values),
            max_items=min(sync.options.embed_chunk_size, embedder.max_batch),
            max_bytes=embedder.max_batch_bytes,
            size_of=lambda place: len(values[place].encode()),
        ):
            if embed.failed is not None:
                return
            sync.checkpoint(scope=scope)
            yield batch

    def keep(done: tuple[Sequence[int], Embedded]) -> None:
        run, embedded = done
        sync.cache.put(
            model_id=sync.cache_key(scope, embedder.model_id),
            text_hashes=[keys[position] for position in run],
            vectors=embedded.vectors,
        )

    with record_behind(keep) as keep_behind:
        for outcome in in_flight(embed.batch, batches(), most=embedder.concurrency):
            for place, why in outcome.unembedded.items():
                tally.unembedded[keys[place]] = why
            for run, embedded in outcome.done:
                keep_behind((run, embedded))
                yield [keys[place] for place in run], embedded
    if embed.failed is not None:
        raise embed.failed


@dataclass(slots=True)
class _Outcome:
    """What became of one batch: its texts by their place."""

    done: list[tuple[Sequence[int], Embedded]] = field(default_factory=list)
    unembedded: dict[int, UnembeddedText] = field(default_factory=dict)

    def note(self, places: Sequence[int], error: PermanentError | PostponedError) -> None:
        """Note texts without a vector."""
        self.unembedded |= dict.fromkeys(places, UnembeddedText.of(error))

    def rest(self, places: Sequence[int]) -> list[int]:
        """Those of which nothing is known."""
        embedded = {place for run, _ in self.done for place in run}
        return [it for it in places if it not in embedded and it not in self.unembedded]


@dataclass(slots=True)
class _Batches:
    """Embeds batches of texts, in several threads; notes which of them are refused or wait."""

    embedder: Embedder
    values: Sequence[str]
    closed: PostponedError | None = None
    """Why nothing is embedded any more."""
    failed: Exception | None = None
    """The first error: it is raised once the answers that were under way are kept."""

    def batch(self, places: Sequence[int]) -> _Outcome:
        """Embed the texts at these places, as far as budgets admit them."""
        outcome = _Outcome()
        todo, size = list(places), len(places)
        while todo and self.failed is None:
            if self.closed is not None:
                outcome.note(todo, self.closed)
                break
            try:
                self._embed(todo[:size], outcome)
            except BudgetExceededError as error:
                waiting = outcome.rest(todo)
                texts = [self.values[place] for place in waiting]
                size = fitting(self.embedder, texts, left=error.tokens_left)
                if not size:
                    outcome.note(waiting, error)
            except PostponedError as error:
                self.closed = error
            except Exception as error:  # noqa: BLE001 - raised once what was done is kept
                self._fail(error)
                break
            todo = outcome.rest(todo)
        return outcome

    def _fail(self, error: Exception) -> None:
        """Begin nothing more; another thread may have found out before."""
        if self.failed is None:
            self.failed = error

    def _embed(self, places: Sequence[int], outcome: _Outcome) -> None:
        """Embed texts in one call, or in more where one of them is refused."""

        def embed(run: Sequence[int]) -> Embedded:
            answer = self.embedder.embed([self.values[place] for place in run])
            return answer.checked(
                count=len(run),
                dimension=self.embedder.dimension,
                origin=f"the model {self.embedder.model_id}",
            )

        def blame(place: int, error: PermanentError) -> None:
            outcome.note([place], error)

        for run, embedded in apply_bisecting(places, embed, blame=blame):
            outcome.done.append((run, embedded))
