"""Hearing of commits that left change events."""

from __future__ import annotations

import math
import time
from typing import Any, Final, Self, cast

import psycopg
import sqlalchemy as sa
from psycopg import sql

from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.sources.errors import source_errors
from sync_pipeline.sources.feed.sql import CHANNEL

LOOK_AGAIN_SECONDS: Final = 1.5
"""After how long a listener that was notified looks once more: transactions that ended at the
same time as the one that notified did not (``feed_sql``)."""

_LISTEN: Final = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))


class FeedListener:
    """Listens on a connection of its own (``core.changes.ChangeListener``).

    Args:
        engine: How to connect; its pool is not used up.
        database: Host, port and database name, for messages.
    """

    def __init__(self, engine: sa.Engine, *, database: str) -> None:
        self._engine = engine
        self._database = database
        self._connection: psycopg.Connection[Any] | None = None
        self._look_again_at = math.inf

    def __enter__(self) -> Self:
        """Connect and listen.

        Raises:
            SourceUnavailableError: no connection.
        """
        self._connection = self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a notification; a lost connection is opened again and counts as one."""
        if self._connection is None:
            return self._reconnect()
        now = time.monotonic()
        until = min(now + timeout_seconds, self._look_again_at)
        try:
            timeout = max(0.0, until - now)
            if list(self._connection.notifies(timeout=timeout, stop_after=1)):
                self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
                return True
            # A connection that died silently would time out for ever.
            self._connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._close()
            return self._reconnect()
        is_due = time.monotonic() >= self._look_again_at
        if is_due:
            self._look_again_at = math.inf
        return is_due

    def _reconnect(self) -> bool:
        """Listen again; something may have been missed in between."""
        self._connection = self._connect()
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        with source_errors(self._database):
            pooled = self._engine.connect()
        connection = cast(psycopg.Connection[Any], pooled.connection.driver_connection)
        pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(_LISTEN)
        except psycopg.Error as error:
            connection.close()
            raise SourceUnavailableError(
                f"the connection to {self._database} was lost when it began to listen for changes "
                f"({type(error).__name__}).",
                remedy="Try again.",
            ) from error
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
