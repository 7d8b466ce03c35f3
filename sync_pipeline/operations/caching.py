"""Asking about the embedding cache, and forgetting what nobody uses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.cache import CacheReport
    from sync_pipeline.engine.removal.cache import PruneReport

MOST_DAYS: Final = 36_500


def cache_stats(sync: SyncContext) -> CacheReport:
    """What the cache holds, per model."""
    from sync_pipeline.engine.questions.cache import cache_report

    return cache_report(sync)


def prune_unused(
    sync: SyncContext, *, older_than_days: float, is_dry_run: bool, wait_seconds: float
) -> PruneReport:
    """Forget vectors that no document uses.

    Raises:
        ConfigurationError: no number of days.
        PermanentError: what is used cannot be told.
    """
    if not 0 <= older_than_days <= MOST_DAYS:
        raise ConfigurationError(
            f"vectors cannot be {older_than_days} days old.",
            remedy=f"Give a number from 0 to {MOST_DAYS:,}.",
        )
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
