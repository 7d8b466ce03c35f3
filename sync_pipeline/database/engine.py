"""Engines, and transactions that translate errors and try again."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, Row, RowMapping, Select, create_engine, event

from sync_pipeline.core.connecting import NOTICE_LOST_SERVER
from sync_pipeline.core.errors import StateEncodingError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.errors import Place, database_errors
from sync_pipeline.database.urls import driver_url

APPLICATION_NAME: Final = "sync-pipeline"
"""How our connections call themselves in ``pg_stat_activity``, unless the URL says otherwise."""

DEFAULT_SCHEMA: Final = "sync_pipeline"
CONNECT_TIMEOUT_SECONDS: Final = 10
DEFAULT_CONNECTIONS: Final = 10
"""Most connections of one engine, that is of one process to one database."""
RECYCLE_SECONDS: Final = 3600
"""How old a connection gets: changed grants and settings of a role reach long-lived processes."""
TRUSTED_SECONDS: Final = 5.0
"""How long a connection that answered is taken to be alive while its socket is quiet."""
IDLE_SECONDS: Final = 60.0
"""How long a process may stop in the middle of a transaction before the server ends that: what it
has locked is waited for by the runs that take over from it."""

T = TypeVar("T")
U = TypeVar("U")


def make_engine(url: str, *, max_connections: int = DEFAULT_CONNECTIONS) -> Engine:
    """Make an engine on psycopg 3; nothing is opened before the first use.

    Sessions speak UTC, ISO and UTF-8. Errors of SQLAlchemy never show parameters. Every
    transaction stands by itself, so a pooler may give each another session of the server.

    Args:
        url: ``postgresql://`` in any spelling; what it sets in its query wins.
        max_connections: Most that are open at once; half of them are kept while nothing
            uses them, and the ones used last are used first.

    Raises:
        ConfigurationError: not a PostgreSQL URL.
    """
    kept = (max_connections + 1) // 2
    engine = create_engine(
        driver_url(url, "psycopg"),
        pool_pre_ping=True,
        hide_parameters=True,
        pool_size=kept,
        max_overflow=max_connections - kept,
        # What a burst opened falls idle and may be closed by the server, `_is_alive` notices.
        pool_use_lifo=True,
        pool_recycle=RECYCLE_SECONDS,
    )
    # `do_ping` is what the pool asks before it gives a connection out.
    engine.dialect.do_ping = partial(_is_alive, engine.dialect.do_ping)  # type: ignore[method-assign]
    event.listen(engine, "do_connect", _add_defaults)
    event.listen(engine, "connect", _speak_plainly)
    _never_share(engine)
    return engine


_made: Final[WeakSet[Engine]] = WeakSet()


def _never_share(engine: Engine) -> None:
    """Have processes that are forked from this one (Celery's are) open connections of their own."""
    _forget_after_fork()
    _made.add(engine)


@cache
def _forget_after_fork() -> None:
    os.register_at_fork(after_in_child=_forget_connections)


def _forget_connections() -> None:
    """Leave inherited connections alone, open as they are: they belong to the parent."""
    for engine in list(_made):
        engine.dispose(close=False)


_asked_at: Final[WeakKeyDictionary[psycopg.Connection, float]] = WeakKeyDictionary()
"""When a connection was last asked whether it is alive, by ``time.monotonic``."""


def _is_alive(ping: Callable[[Any], bool], connection: psycopg.Connection) -> bool:
    """Ask the server every few seconds; in between look whether it has closed the connection.

    A server or pooler that ends closes its sockets, which costs no round trip to see; what ends
    without that is found by asking, or by the statement itself, as it would be by asking.
    """
    now = time.monotonic()
    is_quiet = not connection.closed and not _has_something_to_say(connection)
    if is_quiet and now - _asked_at.get(connection, float("-inf")) < TRUSTED_SECONDS:
        return True
    answers = ping(connection)
    _asked_at[connection] = now
    return answers


def _has_something_to_say(connection: psycopg.Connection) -> bool:
    """Whether its socket can be read: the end of the connection, or what nobody asked for.

    By ``poll``, which opens no descriptor for that: 4 microseconds instead of 11.
    """
    with selectors.PollSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return bool(selector.select(timeout=0))


def _add_defaults(
    dialect: object, record: object, args: object, parameters: dict[str, Any]
) -> None:
    """Fill in what the URL leaves open, and speak UTF-8 whatever it or the environment says.

    Without that psycopg speaks the database's own encoding; with SQL_ASCII it has bytes for text.
    """
    del dialect, record, args
    parameters["client_encoding"] = "UTF8"
    parameters.setdefault("application_name", APPLICATION_NAME)
    parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_SECONDS)
    for name, value in NOTICE_LOST_SERVER.items():
        parameters.setdefault(name, value)


_SPEAK_PLAINLY: Final = "SET TIME ZONE 'UTC'; SET DateStyle TO ISO"
_DIRECTLY: Final = sql.SQL(
    _SPEAK_PLAINLY + "; SET IntervalStyle TO postgres; SET quote_all_identifiers TO off; "
    "SELECT set_config('idle_in_transaction_session_timeout', {}, false) "
    "WHERE current_setting('idle_in_transaction_session_timeout') = '0'"
)
NEVER_IDLE: Final = "SET LOCAL idle_in_transaction_session_timeout = 0"
"""For a transaction that waits for its reader as long as that takes; it holds up nobody."""


def _speak_plainly(connection: psycopg.Connection, record: object) -> None:
    """Set how times and names are written by a statement: poolers refuse the parameter ``options``.

    A role, a database or the environment may ask for forms that nobody here can read. How long
    a transaction may be idle is theirs to say, and ours only where they say nothing.

    Behind a pooler the next transaction may be in another session: nothing is prepared, and only
    what poolers carry along is set, for the rest would stay in sessions that others use.
    """
    del record
    if is_pooled(connection):
        connection.prepare_threshold = None
        connection.execute(_SPEAK_PLAINLY)
    else:
        connection.execute(_DIRECTLY.format(f"{round(1000 * IDLE_SECONDS)}ms"))
    connection.commit()


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler stands between: it invents the number that it gives as the session's."""
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    return found != (connection.info.backend_pid,)


class Database:
    """Runs work in transactions: errors translated, transient ones tried again."""

    def __init__(self, engine: Engine, *, schema: str, retries: Retries) -> None:
        self.schema = schema
        self._engine = engine
        self._autocommitting = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._retries = retries
        self._place = Place(url=engine.url, schema=schema)

    def run(self, doing: str, work: Callable[[Connection], T]) -> T:
        """Do work in one transaction, all of it or nothing.

        The work may be done again, so it changes nothing but the database, and
        does no harm if an attempt that was thought lost had been committed.

        Args:
            doing: What it is for; goes into messages.
            work: Gets the connection; its result is returned after the commit.

        Raises:
            TransientError: still failing after all attempts.
            ConfigurationError: login, permissions or tables are missing.
            PermanentError: the database refuses a statement.
        """
        return self._retry(doing, work, begin=self._engine.begin)

    def run_alone(self, doing: str, work: Callable[[Connection], T]) -> T:
        """Do work that is one statement, which the server commits with it; see ``run``.

        A process that stops here, for a second or for good, leaves nothing locked: for what others
        have to get past, such as a lease.
        """
        return self._retry(doing, work, begin=self._autocommitting.connect)

    def _retry(
        self,
        doing: str,
        work: Callable[[Connection], T],
        *,
        begin: Callable[[], AbstractContextManager[Connection]],
    ) -> T:
        def attempt() -> T:
            with database_errors(place=self._place, doing=doing), begin() as connection:
                return work(connection)

        return self._retries.call(attempt)

    def read(
        self,
        doing: str,
        query: Select[*tuple[Any, ...]],
        parameters: Mapping[str, object] | None = None,
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of one query; none where it looks for a text that the database cannot hold.

        Begins no transaction: that would be two more round trips, and every search reads.

        Args:
            doing: What it is for; goes into messages.
            query: Changes nothing.
            parameters: Of the query, by name.

        Raises:
            SyncPipelineError: as ``run`` does.
        """
        try:
            return self.run_alone(doing, lambda it: it.execute(query, parameters).all())
        except StateEncodingError:
            return []

    def read_named(
        self,
        doing: str,
        query: Select[*tuple[Any, ...]],
        parameters: Mapping[str, object] | None = None,
    ) -> list[RowMapping]:
        """The rows of one query by column; see ``read``."""
        rows = self.read(doing, query, parameters)
        return [row._mapping for row in rows]  # noqa: SLF001 - its public name

    def stream(
        self,
        doing: str,
        query: sql.Composed,
        values: Mapping[str, object],
        *,
        batch_size: int,
        before: sql.SQL,
    ) -> Generator[list[tuple[Any, ...]]]:
        """The rows of one query as of one snapshot, some at a time.

        Not tried again: what came before the connection was lost may have been used already.
        Close it to end it early.

        Args:
            doing: What it is for; goes into messages.
            query: Changes nothing.
            values: Of the query, by name.
            batch_size: Most rows at once.
            before: Settings of its transaction.

        Raises:
            SyncPipelineError: as ``run`` does.
        """
        with (
            database_errors(place=self._place, doing=doing),
            self._engine.connect() as connection,
            psycopg_of(connection).cursor(name="sync_pipeline_rows") as cursor,
        ):
            # All rows are wanted, so the plan that has all of them first.
            psycopg_of(connection).execute(f"SET LOCAL cursor_tuple_fraction = 1; {NEVER_IDLE}")
            psycopg_of(connection).execute(before)
            cursor.execute(query, values)
            while rows := cursor.fetchmany(batch_size):
                yield rows

    def look_up(self, doing: str, work: Callable[[Connection], T], *, nothing: U) -> T | U:
        """Do work that searches for a text that somebody gave, as ``run`` does it.

        Args:
            doing: What it is for.
            work: Gets the connection; its result is returned.
            nothing: The result for a text with a character that the database cannot hold.
        """
        try:
            return self.run(doing, work)
        except StateEncodingError:
            return nothing


def psycopg_of(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    """The driver's connection, in the same transaction, for what SQLAlchemy has no words for."""
    return cast(psycopg.Connection[tuple[Any, ...]], connection.connection.driver_connection)
