"""The one place where errors of psycopg and SQLAlchemy become ours.

Errors that the server reports are not chained: their text carries DETAIL and
CONTEXT, which quote rows, and it would reach every log that prints a cause.
What is safe of it (class, SQLSTATE, names) is in our message.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import exc
from sqlalchemy.engine import URL

from sync_pipeline.core.connecting import is_login, settings_fault
from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    SourceUnavailableError,
    StateEncodingError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.remedy import Migrate, Remedy
from sync_pipeline.database.urls import describe_url

RETRYABLE_SQLSTATES: Final = ("08", "25P03", "40001", "40P01", "53", "55P03", "57P0")
"""Prefixes of SQLSTATEs that a later attempt can cure: connection exceptions, transactions that
were idle too long, serialisation failures, deadlocks, insufficient resources, lock timeouts, server
shutdown and start."""

_UNAVAILABLE_SQLSTATES: Final = ("08", "25P03", "57P0")
_DISK_FULL: Final = "53100"
_UNTRANSLATABLE: Final = "22P05"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_READ_ONLY: Final = "25006"
_NOT_MIGRATED: Final = ("42P01", "42703", "3F000")
_NO_SUCH_DATABASE_OR_LOGIN: Final = ("28", "3D000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where our tables are, for messages."""

    url: URL
    schema: str

    @property
    def where(self) -> str:
        """Host, port and database."""
        return f"PostgreSQL at {describe_url(self.url)}"


@contextmanager
def database_errors(*, place: Place, doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as an error of ``core.errors``.

    Args:
        place: Named in the message.
        doing: What the statements are for, as in "while <doing>".
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise SourceUnavailableError(
            f"no connection to {place.where} became free while {doing}: other threads of this "
            "process hold them all.",
            remedy="Try again, run fewer scopes at once, or raise `source.max_connections` "
            "(`state.max_connections` where the state has a database of its own).",
        ) from error
    except exc.DBAPIError as error:
        origin = error.orig
        if not isinstance(origin, psycopg.Error):
            raise
        _raise_as_ours(origin, place=place, doing=doing)
    except psycopg.Error as error:
        _raise_as_ours(error, place=place, doing=doing)


def _raise_as_ours(error: psycopg.Error, *, place: Place, doing: str) -> None:
    ours = translate(error, place=place, doing=doing)
    raise ours from (error if _is_from_client(error) else None)


def _is_from_client(error: psycopg.Error) -> bool:
    """Whether libpq raised it for the connection; such a text holds no rows."""
    if error.sqlstate is not None:
        return False
    is_about_connecting = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return is_about_connecting or settings_fault(str(error)) is not None


def translate(error: psycopg.Error, *, place: Place, doing: str) -> SyncPipelineError:
    """Name an error of psycopg by its consequence."""
    if _is_from_client(error):
        return _connection_error(error, place=place, doing=doing)
    state = error.sqlstate or "unknown"
    what = f"{type(error).__name__}, SQLSTATE {state}"
    if state == _DISK_FULL:
        return OutOfSpaceError(
            f"the disk of {place.where} is full ({what}) while {doing}.",
            remedy="Make room and run again; what was recorded before stays.",
        )
    if state == _UNTRANSLATABLE:
        return StateEncodingError(
            f"{place.where} has an encoding that lacks a character of a tenant, id or name, while "
            f"{doing}."
        )
    if state.startswith(_UNAVAILABLE_SQLSTATES):
        return SourceUnavailableError(
            f"{place.where} ended the connection while {doing} ({what}).",
            remedy="Try again when it is up.",
        )
    if state.startswith(RETRYABLE_SQLSTATES):
        return TransientError(
            f"{place.where} could not go on while {doing} ({what}).",
            remedy="Try again.",
        )
    if state == _INSUFFICIENT_PRIVILEGE:
        return ConfigurationError(_grants(place, doing=doing))
    if state == _READ_ONLY:
        return ConfigurationError(
            f"{place.where} accepts no writes while {doing} ({what}): it is a standby or set to "
            "read only.",
            remedy="Point `DATABASE_URL` or `STATE_DATABASE_URL` at the primary.",
        )
    if state.startswith(_NOT_MIGRATED):
        return ConfigurationError(
            f"{place.where} lacks tables or columns of schema {place.schema!r} while {doing} "
            f"({what}).",
            remedy=Remedy.of("Run ", Migrate(), "."),
        )
    if state.startswith(_NO_SUCH_DATABASE_OR_LOGIN):
        return ConfigurationError(
            f"{place.where} refuses the login ({what}).",
            remedy=_CHECK_URL,
        )
    return PermanentError(
        f"{place.where} refused a statement while {doing} ({what}{_names(error)}).",
        remedy="This is likely a fault of sync-pipeline: please report it with this line.",
    )


_CHECK_URL: Final = "Check user, password and database of `DATABASE_URL` or `STATE_DATABASE_URL`."


def _connection_error(error: psycopg.Error, *, place: Place, doing: str) -> SyncPipelineError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    advice = settings_fault(str(error))
    if advice is not None and is_login(advice):
        return ConfigurationError(
            f"{place.where} refuses the login: {reason}.",
            remedy=_CHECK_URL,
        )
    if advice is not None:
        return ConfigurationError(
            f"{place.where} cannot be connected to as `DATABASE_URL` or `STATE_DATABASE_URL` says: "
            f"{reason}.",
            remedy=f"To mend it, {advice}.",
        )
    return SourceUnavailableError(
        f"{place.where} cannot be reached while {doing}: {reason}.",
        remedy="Check that it is up and that "
        "`DATABASE_URL` or `STATE_DATABASE_URL` names it; nothing was lost.",
    )


def _grants(place: Place, *, doing: str) -> str:
    """What to run as an owner; which part is missing depends on the statement."""
    role, database, schema = (
        sql.Identifier(name).as_string()
        for name in (
            place.url.username or getpass.getuser(),
            place.url.database or place.url.username or getpass.getuser(),
            place.schema,
        )
    )
    return (
        f"the role {role} lacks a permission in {place.where} while {doing}. Let an owner run:\n"
        f"  GRANT CREATE ON DATABASE {database} TO {role};  -- for the first `migrate`\n"
        f"  GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};\n"
        f"  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
    )


def _names(error: psycopg.Error) -> str:
    """Table, column and constraint of an error; names only, no values."""
    named = (
        ("table", error.diag.table_name),
        ("column", error.diag.column_name),
        ("constraint", error.diag.constraint_name),
    )
    return "".join(f", {kind} {name}" for kind, name in named if name)
