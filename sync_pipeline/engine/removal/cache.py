"""Forgetting cached vectors that nobody uses, beside syncs that go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sync_pipeline.core.errors import ConfigurationError, PermanentError, StoppedError
from sync_pipeline.core.ports import MARK_MARGIN_SECONDS, CacheSlice, CacheUse, MarkFence
from sync_pipeline.core.remedy import Remedy, Show, SyncScopes
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.removal.offboard import own_collections

_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What was forgotten, or of a dry run what would be."""

    is_dry_run: bool
    deleted: int
    """Vectors."""
    freed_bytes: int
    """Of the vectors themselves; their room on disk is taken by new ones."""
    left: int = 0
    """Unused vectors that stay until the next prune, for runs that may need them are under way."""
    waits_for: tuple[str, ...] = ()
    """Keys of the scopes of these runs."""
    models: tuple[CacheSlice, ...] = ()
    """What was forgotten, per model and scope."""


def prune_cache(
    sync: SyncContext,
    *,
    older_than: timedelta,
    is_dry_run: bool = False,
    wait_seconds: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> PruneReport:
    """Forget vectors of texts that no recorded document of any collection has.

    In two passes, so that a run never loses a vector between looking it up and writing it, see
    ``core.ports.EmbeddingCache``. Every transaction is one batch.

    Args:
        sync: The ports.
        older_than: Only vectors that were made at least so long ago.
        is_dry_run: Only count them.
        wait_seconds: How long to wait for runs that began before the vectors were marked.
        sleep: Waits.

    Raises:
        PermanentError: the index has points that the record does not know, so that nobody can
            tell what is unused; nothing was marked.
        StoppedError: asked to stop; what was deleted stays so.
    """
    age = older_than.total_seconds()
    _require_full_record(sync)
    if is_dry_run:
        return _report(sync.cache.count_unused(min_age_seconds=age), is_dry_run=True)
    for _ in sync.cache.mark_unused(min_age_seconds=age):
        _checkpoint(sync)
    fence = sync.cache.fence_marks()
    busy = _wait(sync, fence, wait_seconds=wait_seconds, sleep=sleep)
    # Other runs have written meanwhile; what they say of their documents is read again.
    gone = []
    for some in sync.cache.delete_marked(
        min_age_seconds=age, marked_by=last_mark(fence, busy=busy)
    ):
        gone.append(some)
        _checkpoint(sync)
    left = sync.cache.count_unused(min_age_seconds=age) if busy else []
    return _report(
        gone,
        is_dry_run=False,
        left=sum(some.vectors for some in left),
        waits_for=tuple(use.scope_key for use in busy) if left else (),
    )


def prune_model(sync: SyncContext, *, model_id: str, is_dry_run: bool = False) -> PruneReport:
    """Forget all vectors of a model that no collection uses, whatever their age.

    Raises:
        ConfigurationError: the settings ask for it, a document or a collection has it, or there
            are none of it; nothing was deleted.
        StoppedError: asked to stop; what was deleted stays so.
    """
    held = _require_unused_model(sync, model_id=model_id)
    if is_dry_run:
        return _report(held, is_dry_run=True)
    gone = []
    for some in sync.cache.delete_model(model_id=model_id):
        gone.append(some)
        _checkpoint(sync)
    return _report(gone, is_dry_run=False)


def _require_unused_model(sync: SyncContext, *, model_id: str) -> list[CacheSlice]:
    known = sync.canaries.known_as(model_id=model_id) or model_id
    if known != model_id:
        raise ConfigurationError(
            f"the model {model_id!r} is known as {known!r} and has no vectors of its own.",
            remedy=Remedy.of(Show("cache stats"), " lists the models that have."),
        )
    if model_id in sync.embedders:
        raise ConfigurationError(
            f"the settings ask for the model {model_id!r}; nothing was deleted.",
            remedy="`sync-pipeline cache prune` without --model forgets what its documents do not "
            "use.",
        )
    held = [found for found in sync.cache.measure() if found.model_id == model_id]
    if not held:
        raise ConfigurationError(
            f"the cache has no vectors of a model {model_id!r}.",
            remedy=Remedy.of(Show("cache stats"), " lists the models that it has vectors of."),
        )
    with sync.store() as store:
        existing = set(store.list_collections())
    collections = sorted({name for found in held for name in found.collections} & existing)
    used = sum(found.used for found in held)
    if collections or used:
        raise ConfigurationError(
            f"the model {model_id!r} is in use: {used} of its vectors are of recorded documents, "
            f"and the index has {len(collections)} collections built with it"
            f"{''.join(f' {name}' for name in collections)}; nothing was deleted.",
            remedy=Remedy.of(
                "Drop what was built with it first: ",
                Show("index status"),
                " names it. `sync-pipeline cache prune` without --model forgets what no document "
                "uses.",
            ),
        )
    return [
        CacheSlice(
            model_id=found.model_id,
            scope_key=found.scope_key,
            vectors=found.vectors,
            size_bytes=found.size_bytes,
        )
        for found in held
    ]


def _require_full_record(sync: SyncContext) -> None:
    """Believe the record about what is used only while it knows every point.

    Raises:
        PermanentError: it misses some.
    """
    with sync.store() as store:
        existing = set(store.list_collections())
    for collection in own_collections(sync):
        if collection.name not in existing:
            continue
        with collection.index() as index:
            points = index.count_by_scope()
        recorded = collection.records.state.count_by_scope()
        missed = sum(
            max(0, count - sum(recorded.get(key, {}).values())) for key, count in points.items()
        )
        if missed:
            raise PermanentError(
                f"the index has {sum(points.values())} points in collection {collection.name!r}, "
                f"and {missed} of them are not recorded: which vectors are used cannot be told. "
                "Nothing was deleted.",
                remedy=Remedy.of("Run ", SyncScopes(force=True), ": a full sync mends the record."),
            )


def last_mark(fence: MarkFence, *, busy: Sequence[CacheUse]) -> datetime:
    """Up to when a mark must have been set for what it marks to be deleted.

    Args:
        fence: After the marks.
        busy: Its uses that have not ended.
    """
    margin = timedelta(seconds=MARK_MARGIN_SECONDS)
    return min([fence.at, *(use.since - margin for use in busy)])


def _wait(
    sync: SyncContext,
    fence: MarkFence,
    *,
    wait_seconds: float,
    sleep: Callable[[float], None],
) -> list[CacheUse]:
    """Wait for the uses of a fence to end; those that have not."""
    until = sync.seconds() + wait_seconds
    while True:
        busy = [use for use in sync.cache.list_uses() if use in fence.uses]
        if not busy or sync.seconds() >= until:
            return busy
        _checkpoint(sync)
        sleep(_POLL_SECONDS)


def _checkpoint(sync: SyncContext) -> None:
    if sync.should_stop():
        raise StoppedError(
            "stopped after the batch in flight; what was deleted is gone, run the same command "
            "again for the rest"
        )


def _report(
    slices: Iterable[CacheSlice],
    *,
    is_dry_run: bool,
    left: int = 0,
    waits_for: tuple[str, ...] = (),
) -> PruneReport:
    sums: dict[tuple[str, str | None], tuple[int, int]] = {}
    for some in slices:
        if some.vectors:
            vectors, size_bytes = sums.get((some.model_id, some.scope_key), (0, 0))
            sums[some.model_id, some.scope_key] = (
                vectors + some.vectors,
                size_bytes + some.size_bytes,
            )
    models = tuple(
        CacheSlice(model_id=model_id, scope_key=scope_key, vectors=vectors, size_bytes=size_bytes)
        for (model_id, scope_key), (vectors, size_bytes) in sums.items()
    )
    return PruneReport(
        is_dry_run=is_dry_run,
        deleted=sum(model.vectors for model in models),
        freed_bytes=sum(model.size_bytes for model in models),
        left=left,
        waits_for=waits_for,
        models=models,
    )
