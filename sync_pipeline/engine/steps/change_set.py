"""The change set of a scope: staged part by part before its texts are embedded, sealed afterwards.

In between, texts without a vector may be embedded anywhere, see ``embed.embed_part``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa

from sync_pipeline.core.errors import PlanOutdatedError, PostponedError
from sync_pipeline.core.ports import FailedDocument, Fence
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.spending import Purpose
from sync_pipeline.core.vocabulary import Vocabulary
from sync_pipeline.engine.canaries import require_same_model
from sync_pipeline.engine.changes import Refusal, iter_changes, note_failure
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import ensure_index
from sync_pipeline.engine.staged import (
    MISSING_SCHEMA,
    EmbeddedTexts,
    MissingTexts,
    StagedChanges,
    StagedComparison,
    StagedExport,
    UnembeddedText,
    dataset_name,
    inherited,
    write_table,
)
from sync_pipeline.engine.staged_columns import hash_column, text_column
from sync_pipeline.engine.steps.compare import (
    NO_CHANGES,
    Comparison,
    change_digest,
    iter_comparisons,
)
from sync_pipeline.engine.steps.priority import has_ranks, iter_by_priority
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.texts import (
    ViewTexts,
    needed_texts,
    truncated_texts,
    view_texts,
    with_passages,
    with_truncated,
)
from sync_pipeline.engine.watching import watched

_MISSING_BYTES: Final = 64 * 2**20
"""Texts of one part take no more, however long they are."""


@watched("compare", of="export")
def compare_scope(
    sync: SyncContext,
    *,
    export: StagedExport,
    fence: Fence,
    planned: str | None = None,
) -> StagedComparison:
    """Stage what the index needs, and every text that has no vector; embeds and writes nothing.

    Compares the export with what the points carry and with our record, part by part.

    Args:
        sync: The ports.
        export: What to compare.
        fence: The lease under which it was made.
        planned: Digest of the changes of a saved plan; anything else is refused.

    Raises:
        DuplicateDocumentError: two rows of the snapshot have the same id.
        PlanOutdatedError: other changes than planned.
        IndexMismatchError: the index was built with other settings.
        ModelUnavailableError: a model that nobody has seen cannot be loaded; asked only if a
            text is missing.
        ModelChangedError: it gives other vectors than those in the cache.
        StoppedError: asked to stop.
    """
    began = sync.seconds()
    ensure_index(sync)
    staging = _Staging(sync, export=export, counts=export.counts)
    compared = iter_comparisons(sync, export=export)
    if planned is not None:
        compared = _as_planned(compared, planned=planned, scope_key=export.scope_key)
    with counted(lambda: staging.counts):
        for comparison in iter_by_priority(sync, compared, export=export):
            sync.checkpoint(scope=export.scope)
            staging.add(comparison)
            sync.progress.advance("compare", done=comparison.part + 1, total=export.parts)
    staging.finish()
    return StagedComparison(
        **inherited(
            export,
            counts=staging.counts,
            seconds=replace(export.seconds, embed=sync.seconds() - began),
        ),
        changes=staging.changes,
        changes_rows=staging.changes_rows,
        stale=staging.stale,
        stale_rows=staging.stale_rows,
        fence_token=fence.token,
        missing=staging.missing,
    )


def _as_planned(
    comparisons: Iterable[Comparison], *, planned: str, scope_key: str
) -> Iterator[Comparison]:
    """Yield the same, if all of them together are what was planned.

    Raises:
        PlanOutdatedError: after the last one, where they are not.
    """
    digest = NO_CHANGES
    for comparison in comparisons:
        digest = change_digest(digest, comparison)
        yield comparison
    if digest != planned:
        raise PlanOutdatedError(scope_key=scope_key)


@dataclass(slots=True)
class _Staging:
    """A change set that is being staged."""

    sync: SyncContext
    export: StagedExport
    counts: Counts
    """Of the run so far."""
    changes: list[str] = field(default_factory=list)
    changes_rows: int = 0
    stale: list[str] = field(default_factory=list)
    stale_rows: int = 0
    missing: list[MissingTexts] = field(default_factory=list)
    held: list[pa.Table] = field(default_factory=list)
    """Missing texts that are not staged yet (``MISSING_SCHEMA``)."""
    held_rows: int = 0
    held_bytes: int = 0
    found: dict[str, set[bytes]] = field(default_factory=dict)
    """By model id the embed hashes of all that is missing, 100 bytes each."""
    pieces: int = 0

    def add(self, comparison: Comparison) -> None:
        """Stage what one part needs."""
        self.counts += comparison.counts
        views = view_texts(self.sync, comparison.changes)
        truncated = truncated_texts(views)
        changes = with_passages(comparison.changes, views)
        changes = with_truncated(changes, views, truncated=truncated)
        self.changes_rows += self._write("changed_documents", self.changes, _bare(changes, views))
        self.stale_rows += self._write("stale_points", self.stale, comparison.gone)
        for model_id, texts in needed_texts(views).items():
            of_model = [view for view in views if view.spec.model_id == model_id]
            self._hold(model_id, texts, views=of_model)
        # Without ranks nothing comes before anything else.
        self.pieces += has_ranks(self.sync)

    def finish(self) -> None:
        """Stage what is still held."""
        if self.held:
            table = pa.concat_tables(self.held)
            name = self._name("missing_texts", len(self.missing))
            write_table(self.sync.staging, name, table)
            self.missing.append(MissingTexts(dataset=name, texts=table.num_rows))
            self.held, self.held_rows, self.held_bytes = [], 0, 0

    def _write(self, step: str, names: list[str], table: pa.Table) -> int:
        if table.num_rows:
            name = self._name(step, len(names))
            write_table(self.sync.staging, name, table)
            names.append(name)
        return table.num_rows

    def _name(self, step: str, number: int) -> str:
        folder = dataset_name(step, scope=self.export.scope, run_id=self.export.run_id)
        return f"{folder}/{number:06d}"

    def _hold(self, model_id: str, texts: Mapping[str, str], *, views: Sequence[ViewTexts]) -> None:
        """Keep the texts of one part that have no vector, each once."""
        missing = self._missing(model_id, texts)
        self.counts += Counts(texts=len(texts), cache_hits=len(texts) - len(missing))
        if missing:
            self._require_known(model_id)
        size = self.sync.options.part_texts
        for start, stop in _slices(len(missing), first=size - self.held_rows, size=size):
            table = _missing_table(
                model_id,
                {key: texts[key] for key in missing[start:stop]},
                views=views,
                piece=self.pieces,
            )
            self.held.append(table)
            self.held_rows += table.num_rows
            self.held_bytes += table.nbytes
            if self.held_rows >= size or self.held_bytes >= _MISSING_BYTES:
                self.finish()

    def _missing(self, model_id: str, texts: Mapping[str, str]) -> list[str]:
        """Embed hashes that neither the cache has nor an earlier part, in their order."""
        scope = self.export.scope
        missing = self.sync.cache.claim(
            model_id=self.sync.cache_key(scope, model_id),
            text_hashes=list(texts),
            scope=scope,
            owner=self.export.run_id,
        )
        found = self.found.setdefault(model_id, set())
        new = [key for key in texts if key in missing and bytes.fromhex(key) not in found]
        found.update(map(bytes.fromhex, new))
        return new

    def _require_known(self, model_id: str) -> None:
        """Compare a model of which no canaries are recorded with what the cache has of it.

        Whoever embeds compares it with its canaries, and needs no export for that. Where that is
        postponed now, so is all that would be embedded.
        """
        if not self.sync.canaries.reference(model_id=model_id):
            meter = self.sync.meter(
                scope=self.export.scope, run_id=self.export.run_id, purpose=Purpose.CANARIES
            )
            with suppress(PostponedError):
                require_same_model(
                    self.sync, meter.on(self.sync.embedders[model_id]), export=self.export
                )


def _slices(count: int, *, first: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut ``count`` items into ``(start, stop)``: at most ``first`` of them, then ``size`` each."""
    start, stop = 0, first
    while start < count:
        yield start, min(stop, count)
        start, stop = stop, stop + size


def _bare(changes: pa.Table, views: Sequence[ViewTexts]) -> pa.Table:
    """The change set without its texts: what has no vector yet is staged once, by its hash."""
    return changes.drop_columns([text_column(view.spec.name) for view in views])


def _missing_table(
    model_id: str,
    texts: Mapping[str, str],
    *,
    views: Sequence[ViewTexts],
    piece: int,
) -> pa.Table:
    names = [[view.spec.name for view in views if key in view.texts] for key in texts]
    return pa.table(
        {
            "model_id": [model_id] * len(texts),
            "text_hash": list(texts),
            "text": list(texts.values()),
            "views": names,
            "piece": [piece] * len(texts),
        },
        schema=MISSING_SCHEMA,
    )


@watched("seal", of="comparison")
def seal_changes(
    sync: SyncContext,
    *,
    comparison: StagedComparison,
    embedded: Sequence[EmbeddedTexts] = (),
) -> StagedChanges:
    """Make of a comparison whose texts were embedded what can be written.

    Documents all of whose texts the model refuses are set aside and recorded as failed; of the
    others only the refused views are. Documents whose texts have to wait are written without
    those vectors, and pending. Sealing again what was sealed gives the same.

    Args:
        sync: The ports.
        comparison: What to write.
        embedded: What became of the parts that were embedded elsewhere.
    """
    began = sync.seconds()
    everywhere = [*comparison.embedded, *embedded]
    unembedded = {
        key: part.reasons[at] for part in everywhere for key, at in part.unembedded.items()
    }
    tally = _Tally(sum((part.counts for part in embedded), comparison.counts))
    changes, rows = comparison.changes, comparison.changes_rows
    if unembedded:
        changes, rows = _set_aside_all(
            sync, comparison=comparison, unembedded=unembedded, tally=tally
        )
    before = comparison.seconds
    spent = before.embed + sum(part.seconds for part in embedded)
    return StagedChanges(
        **inherited(
            comparison,
            counts=tally.counts,
            seconds=replace(before, embed=spent + sync.seconds() - began),
            unknown=_joined([part.unknown for part in everywhere]),
            note=_with_postponed(comparison.note, unembedded.values()),
        ),
        changes=changes,
        changes_rows=rows,
        stale=comparison.stale,
        stale_rows=comparison.stale_rows,
        fence_token=comparison.fence_token,
        failed_of=tally.failed_of,
        absent_of=tally.absent_of,
    )


def _with_postponed(note: str | None, unembedded: Iterable[UnembeddedText]) -> str | None:
    """What there is to know of a run, and why texts of it have to wait."""
    why = next((text.error for text in unembedded if text.is_postponed), None)
    return "; ".join(part for part in (note, why) if part) or None


def _joined(
    parts: Sequence[Mapping[str, Mapping[str, int]]],
) -> dict[str, dict[str, int]]:
    """Per view what the model knows of the texts of all parts."""
    views: dict[str, Vocabulary] = {}
    for part in parts:
        for view, counts in part.items():
            views[view] = views.get(view, Vocabulary()) + Vocabulary(**counts)
    return {view: vocabulary.to_dict() for view, vocabulary in sorted(views.items())}


@dataclass(slots=True)
class _Tally:
    """Counts of a change set that is being sealed."""

    counts: Counts
    """Of the run so far."""
    failed_of: dict[str, int] = field(default_factory=dict)
    absent_of: dict[str, int] = field(default_factory=dict)


def _set_aside_all(
    sync: SyncContext,
    *,
    comparison: StagedComparison,
    unembedded: Mapping[str, UnembeddedText],
    tally: _Tally,
) -> tuple[list[str], int]:
    """Stage the parts anew that have texts without a vector; the parts, and their documents.

    Under names of their own: what was compared stays as it was, for whoever seals it again.
    """
    names: list[str] = []
    rows = 0
    sealed = dataset_name("sealed_documents", scope=comparison.scope, run_id=comparison.run_id)
    for number, name in enumerate(comparison.changes):
        changes = sync.staging.open_dataset(name).read(0)
        kept = _set_aside(
            sync, comparison=comparison, changes=changes, unembedded=unembedded, tally=tally
        )
        rows += changes.num_rows if kept is None else kept.num_rows
        if kept is None:
            names.append(name)
        elif kept.num_rows:
            names.append(f"{sealed}/{number:06d}")
            write_table(sync.staging, names[-1], kept)
    return names, rows


def _set_aside(
    sync: SyncContext,
    *,
    comparison: StagedComparison,
    changes: pa.Table,
    unembedded: Mapping[str, UnembeddedText],
    tally: _Tally,
) -> pa.Table | None:
    """Take texts without a vector out of the documents that are written; record the rest as failed.

    Returns:
        The documents that are written, each without the views that have no vector; None where
        every document has all of its vectors.
    """
    failures: list[FailedDocument] = []
    kept: list[int] = []
    refusals: list[str | None] = []
    blanked: dict[str, set[int]] = {}
    for place, change in enumerate(iter_changes(changes, sync.views)):
        embedded = change.embed_hashes if change.writes_point else {}
        errors = {
            view: unembedded[key]
            for view in embedded
            for key in change.vector_keys(view)
            if key in unembedded
        }
        refused = [why for why in errors.values() if not why.is_postponed]
        is_written = len(refused) < len(embedded) or not embedded
        if is_written:
            kept.append(place)
            refusals.append(None)
        if not errors:
            continue
        for view in errors:
            blanked.setdefault(view, set()).add(place)
        note_failure(
            change,
            failed_of=tally.failed_of,
            absent_of=tally.absent_of,
            is_written=is_written,
        )
        tally.counts += Counts(failed=1) if refused else Counts(pending=1)
        refusal = Refusal.of([*refused, *errors.values()][0], views=list(errors))
        if is_written:
            refusals[-1] = refusal.to_json()
        else:
            failures.append(change.as_failed(refusal))
    if not blanked:
        return None
    sync.state.record_failed(scope=comparison.scope, failures=failures)
    changes = _without_texts(changes, blanked)
    # An array with a type: PyArrow cannot take an empty list of nothing.
    changes = changes.take(np.array(kept, dtype=np.int64))
    at = changes.schema.get_field_index("refusal")
    return changes.set_column(at, "refusal", pa.array(refusals, pa.string()))


def _without_texts(changes: pa.Table, blanked: Mapping[str, set[int]]) -> pa.Table:
    """The documents without the hashes of texts that have no vector, view by view."""
    for view, places in blanked.items():
        name = hash_column(view)
        keys = changes.column(name).to_pylist()
        keys = ["" if place in places else key for place, key in enumerate(keys)]
        at = changes.schema.get_field_index(name)
        changes = changes.set_column(at, name, pa.array(keys, pa.string()))
    return changes
