"""Where errors of SQLAlchemy and psycopg become errors of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from sync_pipeline.core.connecting import settings_fault
from sync_pipeline.core.errors import (
    ConfigurationError,
    PermanentError,
    SourceSchemaError,
    SourceUnavailableError,
    SyncPipelineError,
)

UNDECODABLE_STATES: Final = frozenset({"22021", "22P05"})
"""SQLSTATEs of bytes that are no text in the database, and of characters that it cannot hold."""

TRANSIENT_CLASSES: Final = frozenset({"08", "25", "40", "53", "57"})
"""SQLSTATE classes that another attempt can help: connection, session timeout, conflict with
recovery, resources, operator intervention (57014 is also a statement timeout)."""

_IDLE_TOO_LONG: Final = "25P03"

SCHEMA_STATES: Final = frozenset({"3F000", "42501", "42703", "42P01"})
"""Schema, column or table gone; no privilege, or rows that a policy would hide."""


def describe_url(url: sa.URL) -> str:
    """Host, port and database name, without user and password; or the service that names them."""
    service = url.query.get("service")
    if service and not url.host and "host" not in url.query:
        return f"service {service}"
    host = url.host or url.query.get("host") or "localhost"
    port = url.port or url.query.get("port") or 5432
    shown = host if isinstance(host, str) else ",".join(host)
    return f"{shown}:{port}/{url.database or 'postgres'}"


@contextmanager
def source_errors(database: str) -> Iterator[None]:
    """Translate what reading ``database`` raises; no row's content gets into a message."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise _translate(error, database=database) from error


def _translate(error: sa.exc.SQLAlchemyError, *, database: str) -> SyncPipelineError:
    if isinstance(error, sa.exc.TimeoutError):
        return SourceUnavailableError(
            f"no connection to the source database {database} became free: other threads of this "
            "process hold them all. Nothing is deleted after an incomplete read.",
            remedy="Run again, with fewer scopes at once or a larger `source.max_connections`.",
        )
    origin = getattr(error, "orig", None)
    state = getattr(origin, "sqlstate", None) or ""
    if state in SCHEMA_STATES:
        return SourceSchemaError(database=database, mistakes=[reason_of(origin) + _remedy(state)])
    advice = None if state else settings_fault(str(origin or error))
    if advice is not None:
        return ConfigurationError(
            f"the source database {database} cannot be connected to as `source.url` "
            f"(`DATABASE_URL`) says: {reason_of(origin or error)}.",
            remedy=f"To mend it, {advice}.",
        )
    if state == _IDLE_TOO_LONG:
        return SourceUnavailableError(
            f"the source database {database} ended a snapshot from which nothing was read for too "
            "long: whoever replaces a table would wait for it. This process, or whoever reads what "
            "it writes, stood still. Nothing is deleted after an incomplete read.",
            remedy="Run again.",
        )
    is_operational = isinstance(error, sa.exc.OperationalError)
    if state[:2] in TRANSIENT_CLASSES or (not state and is_operational):
        return SourceUnavailableError(
            f"the source database {database} cannot be read: {reason_of(origin or error)}. "
            "Nothing is deleted after an incomplete read.",
            remedy="Check that the server runs and accepts connections from here, and the "
            "address, user and password in `source.url` (`DATABASE_URL`); then run again.",
        )
    if state in UNDECODABLE_STATES:
        return PermanentError(
            f"the source database {database} holds a name of a table or column that is no text in "
            f"its encoding (SQLSTATE {state}).",
            remedy="Rename it, or offer the table through a view.",
        )
    return PermanentError(
        f"the source database {database} refuses a query of the pipeline: "
        f"{type(origin or error).__name__}, SQLSTATE {state or 'unknown'}.",
        remedy="Run the view or table concerned by hand; an expression in a view may fail for "
        "one of its rows.",
    )


def _remedy(state: str) -> str:
    """What to do about a privilege; a missing name explains itself."""
    if state != "42501":
        return ""
    return " (grant SELECT to this role, or BYPASSRLS where a row security policy is named)"


def reason_of(origin: object) -> str:
    """What the server said, on one line."""
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    lines = str(primary or origin).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(origin).__name__
