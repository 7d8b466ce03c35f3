"""What a sync would do, exactly, without doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sync_pipeline.core.cleanup import plan_cleanup
from sync_pipeline.core.diff import Action
from sync_pipeline.core.errors import MassDeletionRefusedError
from sync_pipeline.core.reports import Counts, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import NO_COST
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.steps.compare import (
    NO_CHANGES,
    Comparison,
    change_digest,
    iter_comparisons,
)
from sync_pipeline.engine.steps.export import preview_export
from sync_pipeline.engine.texts import needed_texts, view_texts

_BYTES_PER_NUMBER: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePlan:
    """One scope of ``plan --json``."""

    scope_key: str
    new: int
    changed: int
    payload_changed: int
    unchanged: int
    deletes: int
    texts_to_embed: int
    """Distinct texts that the cache does not have."""
    tokens: int
    """Of those texts."""
    estimated_seconds: float | None
    """For embedding, at the rate last measured; None where the model was never used."""
    estimated_cost: float | None
    """At the provider's price; None where it has none."""
    blocked_by: str | None
    """Why the deletes would be refused; None where they would not."""
    change_digest: str
    """Identifies exactly this set of changes, see ``sync --plan``."""
    archived: int = 0
    """Documents that keep text and payload and have no vectors."""
    vector_bytes: int = 0
    """Of the vectors that are written, a number being four bytes."""
    note: str | None = None
    """Why an incremental sync would compare everything; None where it would not."""


@dataclass(slots=True)
class _Tally:
    counts: Counts = field(default_factory=Counts)
    new_of: Counter[str] = field(default_factory=Counter)
    stale: dict[str, set[str]] = field(default_factory=dict)
    """Per entity the ids of its stale points."""
    texts: dict[str, set[str]] = field(default_factory=dict)
    """By model id the embed hashes of the texts to embed; the texts themselves would be too much
    to keep."""
    tokens: Counter[str] = field(default_factory=Counter)
    """By model id."""
    vector_bytes: int = 0
    digest: str = NO_CHANGES


def plan_scope(sync: Reading, *, scope: Scope, mode: SyncMode = "full") -> ScopePlan:
    """Compare one scope as a sync would; writes neither index nor state, loads no model.

    Raises:
        SourceUnavailableError: the source cannot be read.
    """
    tally = _Tally()
    with preview_export(sync, scope=scope, mode=mode) as export:
        for comparison in iter_comparisons(sync, export=export):
            tally.counts += comparison.counts
            views = view_texts(sync, comparison.changes)
            for model_id, texts in needed_texts(views).items():
                _count_texts(sync, scope, model_id, texts, tally=tally)
            tally.vector_bytes += sum(
                view.vectors * view.spec.dimension * _BYTES_PER_NUMBER for view in views
            )
            _count_deletes(comparison, tally=tally)
            tally.digest = change_digest(tally.digest, comparison)
            sync.progress.advance("compare", done=comparison.part + 1, total=export.parts)
        note = export.note
        tally.counts += Counts(archived=export.counts.archived)
    return _plan(sync, scope=scope, tally=tally, note=note)


def _count_deletes(comparison: Comparison, *, tally: _Tally) -> None:
    for row in comparison.gone.to_pylist():
        if row["entity_type"] is not None:
            tally.stale.setdefault(row["entity_type"], set()).add(row["point_id"])
    actions = comparison.changes.column("action").to_pylist()
    entities = comparison.changes.column("entity_type").to_pylist()
    tally.new_of.update(
        str(name)
        for name, action in zip(entities, actions, strict=True)
        if action == str(Action.NEW)
    )


def _count_texts(
    sync: Reading, scope: Scope, model_id: str, texts: Mapping[str, str], *, tally: _Tally
) -> None:
    """Count those that the cache lacks and that no earlier part had."""
    missing = sync.cache.missing(model_id=sync.cache_key(scope, model_id), text_hashes=list(texts))
    new = missing - tally.texts.setdefault(model_id, set())
    if new:
        tally.texts[model_id] |= new
        tally.tokens[model_id] += sync.embedders[model_id].count_tokens([texts[key] for key in new])


def _plan(sync: Reading, *, scope: Scope, tally: _Tally, note: str | None) -> ScopePlan:
    seconds = _seconds(sync, texts=tally.texts)
    return ScopePlan(
        scope_key=scope.key,
        new=tally.counts.new,
        changed=tally.counts.changed,
        payload_changed=tally.counts.payload_changed,
        unchanged=tally.counts.unchanged,
        deletes=sum(map(len, tally.stale.values())),
        texts_to_embed=sum(map(len, tally.texts.values())),
        tokens=tally.tokens.total(),
        estimated_seconds=None if seconds is None else round(seconds, 1),
        estimated_cost=_cost(sync, tokens=tally.tokens),
        blocked_by=_blocked_by(sync, scope=scope, tally=tally),
        change_digest=tally.digest,
        archived=tally.counts.archived,
        vector_bytes=tally.vector_bytes,
        note=note,
    )


def _cost(sync: Reading, *, tokens: Mapping[str, int]) -> float | None:
    """What so many tokens of each model cost; None where nobody has said a price."""
    tariffs = {model_id: embedder.tariff for model_id, embedder in sync.embedders.items()}
    if all(tariff.price_per_million_tokens is None for tariff in tariffs.values()):
        return None
    cost = sum((tariffs[model_id].cost(number) for model_id, number in tokens.items()), NO_COST)
    return round(float(cost), 6)


def _seconds(sync: Reading, *, texts: Mapping[str, set[str]]) -> float | None:
    """How long it takes to embed these; None where one of the models was never used."""
    seconds = 0.0
    for model_id, found in texts.items():
        rate = sync.rates.texts_per_second(model_id=model_id)
        if found and rate is None:
            return None
        seconds += len(found) / rate if rate else 0.0
    return seconds


def _blocked_by(sync: Reading, *, scope: Scope, tally: _Tally) -> str | None:
    """Ask the policy as the cleanup would: after the new documents were written."""
    if not tally.stale:
        return None
    with sync.index() as index:
        indexed = index.count_by_entity(scope_key=scope.key)
    try:
        plan_cleanup(
            scope=scope,
            stale=tally.stale,
            indexed=Counter(indexed) + tally.new_of,
            policy=sync.options.cleanup,
        )
    except MassDeletionRefusedError as error:
        return str(error)
    return None
