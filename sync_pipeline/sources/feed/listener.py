"""Hearing of commits that left change events.

A pooler that gives each transaction another session of the server cannot pass notifications on:
whoever listened has left the session when one comes. Then the clock says when to look.
"""

from __future__ import annotations

import logging
import math
import secrets
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

BY_CLOCK_SECONDS: Final = 1.0
"""How often a listener that cannot be notified has its caller look: a small statement each time."""

HEARING_SECONDS: Final = 2.0
"""How long the notification of a test may take through a pooler, before it is taken for lost."""

_log: Final = logging.getLogger(__name__)
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
        self._is_deaf = False

    def __enter__(self) -> Self:
        """Connect and listen.

        Raises:
            SourceUnavailableError: no connection.
        """
        self._reconnect()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a notification; a lost connection is opened again and counts as one."""
        if self._is_deaf:
            return self._wait_by_clock(timeout_seconds)
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

    def _wait_by_clock(self, timeout_seconds: float) -> bool:
        """Wait until the caller should look, at most so long."""
        time.sleep(max(0.0, min(timeout_seconds, self._look_again_at - time.monotonic())))
        is_due = time.monotonic() >= self._look_again_at
        if is_due:
            self._look_again_at = time.monotonic() + BY_CLOCK_SECONDS
        return is_due

    def _reconnect(self) -> bool:
        """Listen again; something may have been missed in between."""
        self._connection = self._connect()
        return True

    def _connect(self) -> psycopg.Connection[Any] | None:
        """A connection that listens; None where notifications cannot come through."""
        with source_errors(self._database):
            pooled = self._engine.connect()
        connection = cast(psycopg.Connection[Any], pooled.connection.driver_connection)
        pooled.detach()
        try:
            connection.autocommit = True
            self._is_deaf = not self._can_hear(connection)
            if not self._is_deaf:
                connection.execute(_LISTEN)
                return connection
        except psycopg.Error as error:
            connection.close()
            raise SourceUnavailableError(
                f"the connection to {self._database} was lost when it began to listen for changes "
                f"({type(error).__name__}).",
                remedy="Try again.",
            ) from error
        connection.close()
        self._look_again_at = time.monotonic() + BY_CLOCK_SECONDS
        _log.warning(
            "%s is reached through a pooler that passes no notifications on: changes are looked "
            "for every %g s instead",
            self._database,
            BY_CLOCK_SECONDS,
        )
        return None

    def _can_hear(self, connection: psycopg.Connection[Any]) -> bool:
        """Try it where a pooler stands between; the channel of the test is nobody else's."""
        found = connection.execute("SELECT pg_backend_pid()").fetchone()
        if found == (connection.info.backend_pid,):
            return True
        channel = f"sync_pipeline_test_{secrets.token_hex(8)}"
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        with source_errors(self._database), self._engine.begin() as other:
            other.execute(sa.select(sa.func.pg_notify(channel, "")))
        heard = list(connection.notifies(timeout=HEARING_SECONDS, stop_after=1))
        if heard:
            connection.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(channel)))
        return bool(heard)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
