"""Waiting for changes, and saying which scopes they concern."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.core.changes import ChangeFeed
from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.ports import StopSignal
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.due import known_scopes
from sync_pipeline.engine.reading import Reading

STOP_CHECK_SECONDS = 0.5
"""How long a wait goes on before it asks whether to stop."""


def iter_changed_scopes(
    sync: Reading, *, feed: ChangeFeed, poll_seconds: float, should_stop: StopSignal
) -> Iterator[list[Scope]]:
    """Yield the scopes with pending changes, see ``pending_scopes``, until asked to stop.

    Woken by the notification of a commit, and by the clock, for a notification can be
    lost. A scope whose sync failed is still pending and comes again with the next
    change or tick. While the source cannot be reached, nothing is yielded.
    """
    with feed.listen() as listener:
        while not should_stop():
            scopes = _pending_scopes(sync, feed)
            if scopes:
                yield scopes
            waited = 0.0
            while waited < poll_seconds and not should_stop():
                step = min(STOP_CHECK_SECONDS, poll_seconds - waited)
                try:
                    if listener.wait(step):
                        break
                except TransientError:
                    # The next wait connects anew; until then the clock wakes us.
                    pass
                waited += step


def pending_scopes(sync: Reading, feed: ChangeFeed) -> dict[Scope, int]:
    """Priorities of the scopes with pending changes, in the order in which they are synced.

    By their priority in the settings, of equals the oldest change first; one that waits too
    long goes before all others.

    One small look at the feed. The source's tables are read only where one of them was
    emptied: then every scope that has rows or a record is concerned.

    Raises:
        TransientError: feed or source cannot be read now.
    """
    pending = feed.pending(entity_types=sync.entity_names)
    if any(changes.has_truncate for changes in pending.values()):
        feed.spread_truncates(known_scopes(sync), entity_types=sync.entity_names)
        pending = feed.pending(entity_types=sync.entity_names)
    oldest = {Scope.from_key(key): changes.oldest_at for key, changes in pending.items()}
    return sync.options.run_order.by_waiting(oldest, now=sync.now())


def _pending_scopes(sync: Reading, feed: ChangeFeed) -> list[Scope]:
    try:
        return [*pending_scopes(sync, feed)]
    except TransientError:
        return []
