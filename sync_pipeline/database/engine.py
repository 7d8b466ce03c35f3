"""Engines, and transactions that translate errors and try again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event

from sync_pipeline.core.errors import StateEncodingError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.errors import Place, database_errors
from sync_pipeline.database.urls import driver_url

APPLICATION_NAME: Final = "sync-pipeline"
"""How our connections call themselves in ``pg_stat_activity``, unless the URL says otherwise."""

DEFAULT_SCHEMA: Final = "sync_pipeline"
CONNECT_TIMEOUT_SECONDS: Final = 10

T = TypeVar("T")
U = TypeVar("U")


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Make an engine on psycopg 3; nothing is opened before the first use.

    Sessions speak UTC, ISO and UTF-8. Errors of SQLAlchemy never show parameters.

    Args:
        url: ``postgresql://`` in any spelling; what it sets in its query wins.
        pool_size: Connections kept; twice as many may be open at once.

    Raises:
        ConfigurationError: not a PostgreSQL URL.
    """
    engine = create_engine(
        driver_url(url, "psycopg"),
        pool_pre_ping=True,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
    )
    event.listen(engine, "do_connect", _add_defaults)
    event.listen(engine, "connect", _speak_plainly)
    return engine


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


def _speak_plainly(connection: psycopg.Connection, record: object) -> None:
    """Set how times are written by a statement: poolers refuse the start-up parameter ``options``.

    A role, a database or the environment may ask for forms that the driver cannot read.
    """
    del record
    connection.execute("SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET IntervalStyle TO postgres")
    connection.commit()


class Database:
    """Runs work in transactions: errors translated, transient ones tried again."""

    def __init__(self, engine: Engine, *, schema: str, retries: Retries) -> None:
        self.schema = schema
        self._engine = engine
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

        def attempt() -> T:
            with (
                database_errors(place=self._place, doing=doing),
                self._engine.begin() as connection,
            ):
                return work(connection)

        return self._retries.call(attempt)

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
