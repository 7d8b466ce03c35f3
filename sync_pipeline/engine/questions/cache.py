"""What the embedding cache holds, for whom, and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.engine.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModelReport:
    """One entry of ``cache stats --json``: the vectors of a model, or of a model for one scope."""

    model_id: str
    scope_key: str | None
    """Whose alone they are; None where all scopes share them."""
    other_names: tuple[str, ...]
    """Model ids that were recognised as this model and use its vectors."""
    in_settings: bool
    """Whether the settings ask for this model."""
    collections: tuple[str, ...]
    """Recorded collections that were built with it."""
    vectors: int
    size_bytes: int
    """Of the vectors themselves."""
    oldest_at: datetime
    newest_at: datetime
    used: int
    """Vectors of a text that a recorded document has, in any collection."""
    unused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """The whole cache."""

    model_id: str
    """The model that the settings ask for, as it is known."""
    vectors: int
    size_bytes: int
    table_bytes: int
    """On disk: with keys, indexes, and room that new vectors will take."""
    texts: int
    """Distinct texts of the documents of the settings' collection."""
    cached: int
    """Of these, how many would not have to be embedded again, were the index lost."""
    models: Sequence[CachedModelReport]


def cache_report(sync: Reading) -> CacheReport:
    """Measure the cache; reads every record once per model, and no index."""
    wanted = list(sync.embedders)
    models = [
        CachedModelReport(
            model_id=held.model_id,
            scope_key=held.scope_key,
            other_names=tuple(sync.canaries.names_of(model_id=held.model_id)),
            in_settings=held.model_id in wanted,
            collections=held.collections,
            vectors=held.vectors,
            size_bytes=held.size_bytes,
            oldest_at=held.oldest_at,
            newest_at=held.newest_at,
            used=held.used,
            unused=held.vectors - held.used,
        )
        for held in sync.cache.measure()
    ]
    expected = sync.cache.expected_hits(
        model_id=sync.spec.model_id,
        collection=sync.spec.collection,
        shares=sync.options.shares_cache,
    )
    return CacheReport(
        model_id=sync.spec.model_id,
        vectors=sum(model.vectors for model in models),
        size_bytes=sum(model.size_bytes for model in models),
        table_bytes=sync.cache.size_bytes(),
        texts=expected.texts,
        cached=expected.cached,
        models=models,
    )
