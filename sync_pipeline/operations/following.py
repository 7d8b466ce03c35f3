"""The change feed: have the source tell which rows change, and sync them as they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import ConfigurationError

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
