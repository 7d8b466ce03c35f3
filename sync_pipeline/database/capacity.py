"""How many connections a server allows, and what a pooler before it keeps of a session."""

from __future__ import annotations

from typing import Final

import psycopg
import sqlalchemy as sa

from sync_pipeline.core.capacity import Capacity, schema_lost, storage_trouble
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, is_pooled, psycopg_of
from sync_pipeline.database.urls import describe_url, driver_url, parse_url

LOOKS: Final = 3
"""How often one session is looked for behind two connections, beside whoever else is there."""

# `reserved_connections` is of version 16. Everybody may count sessions.
_LIMITS: Final = sa.text("""
SELECT current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS of_server,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_role,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS open_now
""")


def read_capacity(engine: sa.Engine) -> Capacity:
    """Ask the server of an engine, on two connections at most.

    Raises:
        SyncPipelineError: it cannot be reached or asked.
    """

    def ask(connection: sa.Connection) -> Capacity:
        limits = connection.execute(_LIMITS).one()
        first = psycopg_of(connection)
        has_pooler = is_pooled(first)
        return Capacity(
            # -1 is no limit.
            allowed=min(limit for limit in limits[:3] if limit is not None and limit >= 0),
            open_now=limits.open_now,
            is_pooled=has_pooler,
            is_shared=has_pooler and _is_shared(engine, first),
        )

    database = Database(engine, schema=DEFAULT_SCHEMA, retries=Retries(attempts=1))
    return database.run("asking how many connections are allowed", ask)


def check_dagster_storage(url: str, *, schema: str | None) -> str:
    """Look whether Dagster's sessions are what its address asks for.

    Args:
        url: Of Dagster's storage, in any spelling.
        schema: What its start-up parameter makes the search path; None where it has none.

    Returns:
        Where it is, for people.

    Raises:
        ConfigurationError: a pooler loses the schema, or the address is wrong.
        SourceUnavailableError: no connection.
    """
    where = describe_url(parse_url(url))
    try:
        with psycopg.connect(driver_url(url, "libpq"), connect_timeout=10) as connection:
            path = connection.execute("SHOW search_path").fetchone()
            pooled = is_pooled(connection)
    except psycopg.OperationalError as error:
        raise storage_trouble(str(error), where=where, schema=schema) from error
    if schema is not None and path != (schema,):
        raise schema_lost(where, schema=schema)
    return f"{where}, through a pooler" if pooled else where


def _is_shared(engine: sa.Engine, first: psycopg.Connection) -> bool:
    """Whether two connections meet one session of the server; a busy pooler can hide it."""
    with engine.connect() as connection:
        second = psycopg_of(connection)
        seen = [(_session(first), _session(second)) for _ in range(LOOKS)]
    return not {one for one, _ in seen}.isdisjoint(another for _, another in seen)


def _session(connection: psycopg.Connection) -> object:
    """The session of one transaction."""
    connection.rollback()
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    return found
