"""The change feed: have the source tell which rows change, and sync them as they do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import ConfigurationError

_LOOK_SECONDS: Final = 0.05
"""How often a caller who waits for a change looks: a small statement each time."""

if TYPE_CHECKING:
    from sync_pipeline.core.changes import ChangeFeed
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext


def change_feed(sync: SyncContext) -> ChangeFeed:
    """The feed of the source.

    Raises:
        ConfigurationError: it cannot have one.
    """
    if sync.feed is None:
        raise ConfigurationError("this source cannot have a change feed")
    return sync.feed


def wait_until_searchable(
    sync: SyncContext, scope: Scope, *, change_id: int, most_seconds: float
) -> bool:
    """Wait until a change of the feed can be found by searches of a scope.

    Args:
        sync: The ports.
        scope: Who searches: the change may be its own or a global one.
        change_id: The event's id, ``change_event.id``, of a committed transaction.
        most_seconds: How long to wait.

    Returns:
        Whether it can be found.

    Raises:
        ConfigurationError: the source cannot have a feed.
    """
    feed = change_feed(sync)
    until = time.monotonic() + most_seconds
    while feed.has_pending(scope.visible_keys, up_to=change_id):
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(_LOOK_SECONDS, left))
    return True


def iter_changed(
    sync: SyncContext, *, poll_seconds: float, should_stop: StopSignal
) -> Iterator[Sequence[Scope]]:
    """Scopes with pending changes as they are committed, oldest first, until asked to stop.

    Raises:
        ConfigurationError: the source cannot have a feed.
    """
    from sync_pipeline.engine.questions.follow import iter_changed_scopes

    yield from iter_changed_scopes(
        sync, feed=change_feed(sync), poll_seconds=poll_seconds, should_stop=should_stop
    )
