"""Asking about the embedding cache, and forgetting what nobody uses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.cache import CacheReport
    from sync_pipeline.engine.removal.cache import PruneReport


def cache_stats(sync: SyncContext) -> CacheReport:
    """What the cache holds, per model."""
    from sync_pipeline.engine.questions.cache import cache_report

    return cache_report(sync)


def prune_unused(
    sync: SyncContext, *, older_than_days: float, is_dry_run: bool, wait_seconds: float
) -> PruneReport:
    """Forget vectors that no document uses.

    Raises:
        PermanentError: what is used cannot be told.
    """
    from sync_pipeline.engine.removal.cache import prune_cache

    return prune_cache(
        sync,
        older_than=timedelta(days=older_than_days),
        is_dry_run=is_dry_run,
        wait_seconds=wait_seconds,
    )


def prune_model(sync: SyncContext, *, model_id: str, is_dry_run: bool) -> PruneReport:
    """Forget all vectors of a model.

    Raises:
        ConfigurationError: it is in use, or not in the cache.
    """
    from sync_pipeline.engine.removal.cache import prune_model as forget_model

    return forget_model(sync, model_id=model_id, is_dry_run=is_dry_run)
