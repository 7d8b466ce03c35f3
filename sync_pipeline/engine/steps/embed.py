"""Step 2: compare with the index, embed what is new, stage what has to be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sync_pipeline.core.batching import batched, by_length
from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.ports import Embedder, FailedDocument, Fence
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.vocabulary import TokenCount, Vocabulary
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.canaries import require_same_model
from sync_pipeline.engine.changes import Refusal, iter_changes, note_failure
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import ensure_index
from sync_pipeline.engine.overlap import record_behind
from sync_pipeline.engine.staged import (
    STALE_SCHEMA,
    StagedChanges,
    StagedExport,
    change_schema,
    dataset_name,
    hash_column,
    inherited,
)
from sync_pipeline.engine.steps.compare import iter_comparisons, require_planned
from sync_pipeline.engine.steps.priority import iter_by_priority
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.texts import (
    ViewTexts,
    needed_texts,
    truncated_texts,
    view_texts,
    with_passages,
    with_truncated,
)

_ENOUGH_TO_MEASURE: Final = 256
"""Fewer texts say more about loading the model than about its speed."""


@dataclass(slots=True)
class _Tally:
    """Counts of a comparison that is under way."""

    counts: Counts
    """Of the run so far."""
    changes_rows: int = 0
    stale_rows: int = 0
    failed_of: dict[str, int] = field(default_factory=dict)
    absent_of: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, Vocabulary] = field(default_factory=dict)
    """Per view, of the texts that were embedded."""

    def note(self, counts: Iterable[tuple[Sequence[str], TokenCount]]) -> None:
        """Count embedded texts, each for every view that has it."""
        by_view: dict[str, list[TokenCount]] = {}
        for views, count in counts:
            for view in views:
                by_view.setdefault(view, []).append(count)
        for view, view_counts in by_view.items():
            self.unknown[view] = self.unknown.get(view, Vocabulary()) + Vocabulary.of(view_counts)


@dataclass(slots=True)
class _Refused:
    """Texts that the model refuses, by hash, with the reason."""

    errors: dict[str, PermanentError] = field(default_factory=dict)


def embed_scope(
    sync: SyncContext,
    *,
    export: StagedExport,
    fence: Fence,
    planned: str | None = None,
) -> StagedChanges:
    """Work out what the index needs, and put every vector it needs into the cache.

    Compares the export with what the points carry and with our record, part by
    part; the index is not written. Vectors reach the cache batch by batch, one
    batch behind the model, so an interrupted run goes on where it stopped.

    Args:
        sync: The ports.
        export: What to compare.
        fence: The lease under which it was made.
        planned: Digest of the changes of a saved plan; anything else is refused.

    Raises:
        DuplicateDocumentError: two rows of the snapshot have the same id.
        PlanOutdatedError: other changes than planned; nothing was embedded.
        IndexMismatchError: the index was built with other settings.
        ModelUnavailableError: the model cannot be loaded; asked only if a text is missing.
        ModelChangedError: it gives other vectors than it used to; nothing was embedded.
        StoppedError: asked to stop; what was embedded is in the cache.
    """
    began = sync.seconds()
    scope = export.scope
    ensure_index(sync)
    if planned is not None:
        require_planned(sync, export=export, planned=planned)
    names = {
        step: dataset_name(step, scope=scope, run_id=export.run_id)
        for step in ("changed_documents", "stale_points")
    }
    tally = _Tally(export.counts)
    with (
        counted(lambda: tally.counts),
        sync.staging.open_writer(
            names["changed_documents"],
            schema=change_schema(sync.views, long_views=sync.spec.long_views),
            parts=export.parts,
        ) as changes,
        sync.staging.open_writer(
            names["stale_points"], schema=STALE_SCHEMA, parts=export.parts
        ) as stale,
    ):
        found = iter_comparisons(sync, export=export)
        for comparison in iter_by_priority(sync, found, export=export):
            tally.counts += comparison.counts
            embedded = _embed_missing(sync, export=export, changes=comparison.changes, tally=tally)
            changes.write(comparison.part, embedded)
            stale.write(comparison.part, comparison.gone)
            tally.changes_rows += embedded.num_rows
            tally.stale_rows += comparison.gone.num_rows
            sync.progress.advance("compare", done=comparison.part + 1, total=export.parts)
    return StagedChanges(
        **inherited(
            export,
            counts=tally.counts,
            seconds=replace(export.seconds, embed=sync.seconds() - began),
            unknown={
                view: vocabulary.to_dict() for view, vocabulary in sorted(tally.unknown.items())
            },
        ),
        changes=names["changed_documents"],
        changes_rows=tally.changes_rows,
        stale=names["stale_points"],
        stale_rows=tally.stale_rows,
        fence_token=fence.token,
        failed_of=tally.failed_of,
        absent_of=tally.absent_of,
    )


def _embed_missing(
    sync: SyncContext, *, export: StagedExport, changes: pa.Table, tally: _Tally
) -> pa.Table:
    """Embed what the cache lacks; set aside the documents whose text a model refuses.

    Returns:
        The documents that are written (``staged.change_schema``).
    """
    views = view_texts(sync, changes)
    changes = with_passages(changes, views)
    truncated = truncated_texts(views)
    refused: dict[str, PermanentError] = {}
    for model_id, texts in needed_texts(views).items():
        refused |= _embed_texts(
            sync,
            sync.embedders[model_id],
            export=export,
            texts=texts,
            truncated=truncated,
            views=[view for view in views if view.spec.model_id == model_id],
            tally=tally,
        )
    changes = with_truncated(changes, views, truncated=truncated)
    if not refused:
        return changes
    whole = _refused_texts(views, refused=refused)
    return _set_aside(sync, scope=export.scope, changes=changes, refused=whole, tally=tally)


def _embed_texts(
    sync: SyncContext,
    embedder: Embedder,
    *,
    export: StagedExport,
    texts: Mapping[str, str],
    truncated: AbstractSet[str],
    views: Sequence[ViewTexts],
    tally: _Tally,
) -> dict[str, PermanentError]:
    """Put the vectors that the cache lacks into it; what the model refuses, by embed hash."""
    scope = export.scope
    missing = sync.cache.claim(
        model_id=sync.cache_key(scope, embedder.model_id),
        text_hashes=list(texts),
        scope=scope,
        owner=export.run_id,
    )
    if missing:
        require_same_model(sync, embedder, export=export)
    refused = _Refused()
    to_embed = {key: text for key, text in texts.items() if key in missing}
    tally.counts += Counts(texts=len(texts), cache_hits=len(texts) - len(to_embed))
    began = sync.seconds()
    for keys, counts in _embed_batches(
        sync, embedder, scope=scope, texts=to_embed, refused=refused
    ):
        tally.counts += Counts(
            embedded_texts=len(keys),
            embedded_tokens=sum(count.tokens for count in counts),
            truncated=sum(key in truncated for key in keys),
        )
        tally.note(
            ([view.spec.name for view in views if key in view.texts], count)
            for key, count in zip(keys, counts, strict=True)
        )
        sync.progress.advance("embed", done=tally.counts.embedded_texts, total=None)
    if len(to_embed) >= _ENOUGH_TO_MEASURE:
        sync.rates.record(
            model_id=embedder.model_id,
            texts=len(to_embed),
            seconds=sync.seconds() - began,
        )
    return refused.errors


def _embed_batches(
    sync: SyncContext,
    embedder: Embedder,
    *,
    scope: Scope,
    texts: Mapping[str, str],
    refused: _Refused,
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
        refused.errors[keys[position]] = error

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


def _refused_texts(
    views: Sequence[ViewTexts], *, refused: Mapping[str, PermanentError]
) -> dict[str, PermanentError]:
    """The embed hashes of whole texts that are refused, or a passage of which is."""
    whole = dict(refused)
    for view in views:
        for key, passages in view.passages.items():
            errors = [refused[passage] for passage in passages if passage in refused]
            if errors:
                whole[key] = errors[0]
    return whole


def _set_aside(
    sync: SyncContext,
    *,
    scope: Scope,
    changes: pa.Table,
    refused: Mapping[str, PermanentError],
    tally: _Tally,
) -> pa.Table:
    """Take refused texts out of the documents that have others; record the rest as failed.

    Returns:
        The documents that are written, those with a refused view without it.
    """
    failures: list[FailedDocument] = []
    kept: list[int] = []
    refusals: list[str | None] = []
    for place, change in enumerate(iter_changes(changes, sync.views)):
        embedded = change.embed_hashes if change.writes_point else {}
        views = [view for view, key in embedded.items() if key in refused]
        is_written = len(views) < len(embedded) or not embedded
        if is_written:
            kept.append(place)
            refusals.append(None)
        if not views:
            continue
        note_failure(
            change,
            failed_of=tally.failed_of,
            absent_of=tally.absent_of,
            is_written=is_written,
        )
        tally.counts += Counts(failed=1)
        refusal = Refusal.of(refused[embedded[views[0]]], views=views)
        if is_written:
            refusals[-1] = refusal.to_json()
        else:
            failures.append(change.as_failed(refusal))
    sync.state.record_failed(scope=scope, failures=failures)
    # An array with a type: PyArrow cannot take an empty list of nothing.
    return _without_texts(
        changes.take(np.array(kept, dtype=np.int64)), refused.keys(), sync.views, refusals
    )


def _without_texts(
    changes: pa.Table,
    refused: AbstractSet[str],
    views: Sequence[str],
    refusals: Sequence[str | None],
) -> pa.Table:
    """The documents with what is refused of each, and without the hashes of refused texts."""
    for view in views:
        name = hash_column(view)
        keys = ["" if key in refused else key for key in changes.column(name).to_pylist()]
        changes = changes.set_column(
            changes.schema.get_field_index(name), name, pa.array(keys, pa.string())
        )
    place = changes.schema.get_field_index("refusal")
    return changes.set_column(place, "refusal", pa.array(refusals, pa.string()))
