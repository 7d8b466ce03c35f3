"""Whether the model that answers is the one that is known: asked before it embeds anything.

Two moments: a model id that nobody has seen is compared with the known models before a
generation is bound to it (``settle_model``), and a model that has to embed is compared with what
it gave before (``require_same_model``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.canaries import (
    CANARY_TEXTS,
    CHANGED_MODEL_COSINE,
    QUERY_CANARY,
    QUERY_KEY,
    SAME_MODEL_COSINE,
    Canaries,
    canary_key,
    cosines,
    lowest_cosine,
)
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import ModelChangedError, PermanentError
from sync_pipeline.core.point import Vector
from sync_pipeline.core.ports import Embedder, ModelCanaries, ModelCanariesReader
from sync_pipeline.engine.bisect import apply_bisecting
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.embedders import KnownEmbedder
from sync_pipeline.engine.metering import Meter
from sync_pipeline.engine.staged_columns import hash_column, text_column

if TYPE_CHECKING:
    from sync_pipeline.engine.staged import StagedExport

_log: Final = logging.getLogger(__name__)

CHECKED_FOR_SECONDS: Final = 600.0
"""A process that lives on asks a model again after so long."""
LOOKED_THROUGH: Final = 2_000
"""Documents of an export that are looked through for texts with a cached vector."""


def as_known(embedder: Embedder, canaries: ModelCanariesReader) -> Embedder:
    """The embedder under the id by which its model is known; loads nothing."""
    known = canaries.known_as(model_id=embedder.model_id)
    if known in (None, embedder.model_id):
        return embedder
    return KnownEmbedder(embedder, model_id=str(known))


def settle_model(
    embedder: Embedder, canaries: ModelCanaries, *, meter: Meter | None = None
) -> Embedder:
    """Find out whether a model that nobody has seen is a known one under another id.

    Loads it for that, once for ever; loads nothing where it is known, or where there is none to
    compare with. Called before anything is named by the model: a generation's collection, embed
    hashes, cache keys.

    Args:
        embedder: The model.
        canaries: Of known ones.
        meter: Books what that takes.

    Returns:
        The embedder under the id by which its model is known.

    Raises:
        ModelUnavailableError: it cannot be loaded.
        BudgetExceededError: a budget does not admit it.
    """
    model_id = embedder.model_id
    if canaries.is_worth_comparing(model_id=model_id, dimension=embedder.dimension):
        asked = embedder if meter is None else meter.on(embedder)
        known = canaries.record(model_id=model_id, canaries=measure_canaries(asked))
        if known != model_id:
            _log.info("the model %s is known as %s: its vectors are used", model_id, known)
    return as_known(embedder, canaries)


def require_same_model(
    sync: SyncContext, embedder: Embedder, *, export: StagedExport | None = None
) -> None:
    """Compare a model with what it gave before, and record it where nobody has.

    Once per process, and again after ``CHECKED_FOR_SECONDS``. Where nothing is recorded of a
    model whose vectors are in the cache, texts of the export that have one are embedded again.

    Args:
        sync: The ports.
        embedder: One of the generation's models.
        export: What is about to be embedded; None where the model's canaries are recorded.

    Raises:
        ModelChangedError: other vectors; nothing is recorded.
        PermanentError: it refuses every canary.
    """
    model_id = embedder.model_id
    checked_at = sync.checked_models.checked_at.get(model_id)
    now = sync.seconds()
    if checked_at is not None and now - checked_at < CHECKED_FOR_SECONDS:
        return
    reference = sync.canaries.reference(model_id=model_id)
    measured = measure_canaries(embedder)
    if lowest_cosine(reference, measured) is None:
        if export is not None:
            _compare_with_cache(sync, embedder, export=export)
    else:
        require_agreement(
            reference, measured, model_id=model_id, with_what="its recorded canary vectors"
        )
    if reference:
        _complete(sync, model_id, reference=reference, measured=measured)
    else:
        sync.canaries.record(model_id=model_id, canaries=measured)
    sync.checked_models.checked_at[model_id] = now


def require_agreement(
    reference: Mapping[str, Vector],
    measured: Mapping[str, Vector],
    *,
    model_id: str,
    with_what: str,
    tolerance: float = CHANGED_MODEL_COSINE,
    with_queries: bool = False,
) -> None:
    """Refuse a model whose vectors are others than those it is compared with.

    Args:
        reference: Vectors as they were.
        measured: Vectors as they are now.
        model_id: Named in the error.
        with_what: Where the reference comes from; in the error too.
        tolerance: How much two vectors of a text have to agree, as cosine.
        with_queries: Compare search texts too. The prompt that is put before them may be changed
            at any time.

    Raises:
        ModelChangedError: any text that both have has another vector.
    """
    common = cosines(reference, measured)
    if not with_queries:
        common.pop(QUERY_KEY, None)
    lowest = min(common.values(), default=1.0)
    if lowest < tolerance:
        raise ModelChangedError(
            model_id=model_id,
            lowest_cosine=lowest,
            tolerance=tolerance,
            compared=len(common),
            with_what=with_what,
        )


def measure_canaries(embedder: Embedder) -> Canaries:
    """Embed the canary texts; those that the provider refuses are left out.

    The one that is embedded as a search text is there where its vector is another one then.

    Raises:
        PermanentError: the provider refuses all of them.
    """
    refused: list[PermanentError] = []
    found = _embed_each(embedder.embed, embedder, CANARY_TEXTS, refused=refused)
    if not found:
        raise refused[0]
    canaries = {canary_key(text): vector for text, vector in found.items()}
    asked = _embed_each(embedder.embed_queries, embedder, [QUERY_CANARY], refused=refused)
    query, document = asked.get(QUERY_CANARY), found.get(QUERY_CANARY)
    if query is not None and document is not None and query @ document < SAME_MODEL_COSINE:
        canaries[QUERY_KEY] = query
    return canaries


def _embed_each(
    embed: Callable[[Sequence[str]], Embedded],
    embedder: Embedder,
    texts: Sequence[str],
    *,
    refused: list[PermanentError],
) -> dict[str, Vector]:
    """The vectors of those texts that the provider takes."""
    origin = f"the model {embedder.model_id}"

    def embed_checked(run: Sequence[str]) -> Embedded:
        return embed(run).checked(count=len(run), dimension=embedder.dimension, origin=origin)

    found: dict[str, Vector] = {}
    for batch in batched(texts, embedder.max_batch):
        for run, embedded in apply_bisecting(
            batch, embed_checked, blame=lambda _, error: refused.append(error)
        ):
            found.update(zip(run, embedded.vectors, strict=True))
    return found


def _compare_with_cache(sync: SyncContext, embedder: Embedder, *, export: StagedExport) -> None:
    """Embed some texts again whose vectors are in the cache, if the export has any."""
    model_id = embedder.model_id
    texts = _texts_of(sync, model_id, export=export)
    cached = sync.cache.get(
        model_id=sync.cache_key(export.scope, model_id), text_hashes=list(texts)
    )
    chosen = dict(islice(cached.items(), len(CANARY_TEXTS)))
    found = _embed_each(embedder.embed, embedder, [texts[key] for key in chosen], refused=[])
    measured = {key: found[texts[key]] for key in chosen if texts[key] in found}
    require_agreement(chosen, measured, model_id=model_id, with_what="its cached vectors")


def _texts_of(sync: SyncContext, model_id: str, *, export: StagedExport) -> dict[str, str]:
    """Texts of the first documents of an export that have one vector of a model, by embed hash."""
    dataset = sync.staging.open_dataset(export.dataset)
    views = [view.name for view in sync.spec.view_specs if view.hash_id == model_id]
    return {
        str(key): str(text)
        for rows in islice(dataset.iter_batches(0, batch_size=LOOKED_THROUGH), 1)
        for view in views
        for key, text in zip(
            rows.column(hash_column(view)).to_pylist(),
            rows.column(text_column(view)).to_pylist(),
            strict=True,
        )
        if key and text
    }


def _complete(sync: SyncContext, model_id: str, *, reference: Canaries, measured: Canaries) -> None:
    """Record the canaries that the reference lacks, and a search text's that is another one now."""
    added = {key: vector for key, vector in measured.items() if key not in reference}
    query = cosines(reference, measured).get(QUERY_KEY, 1.0)
    if query < CHANGED_MODEL_COSINE:
        _log.warning(
            "the model %s embeds search texts otherwise than before (cosine %.4f), and documents "
            "as before: expected after a change of embedding.query_prompt, otherwise look at "
            "the provider",
            model_id,
            query,
        )
        added[QUERY_KEY] = measured[QUERY_KEY]
    sync.canaries.replace(model_id=model_id, canaries=added)
