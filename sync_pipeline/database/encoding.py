"""Whether the database of our state can hold what the source has.

Tenants and ids of rows are kept in the state as they are. Where it lies in another
database than the source, of an encoding with fewer characters, one such id would stop
its scope after the index was written; that is refused before anything is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, func, literal, select

from sync_pipeline.core.errors import StateEncodingError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import Database, psycopg_of
from sync_pipeline.database.urls import describe_url

T = TypeVar("T")

UTF8: Final = "UTF8"
HOLD_ALL: Final = frozenset({UTF8, "SQL_ASCII"})
"""Encodings that keep every text: the latter keeps the bytes that we send, which are UTF-8."""


def holds_all(state: str, *, source: str) -> bool:
    """Whether a database of the encoding ``state`` keeps every text of one of ``source``."""
    return state in HOLD_ALL or state == source


def check_encoding(engine: Engine, schema: str, *, source_encoding: Callable[[], str]) -> None:
    """Refuse to make our state in a database that lacks characters which the source may have.

    Where it has been made already it is used: its ids may all be plain, and what it cannot
    hold is named when it comes.

    Args:
        engine: Of the state.
        schema: Of the state, for messages.
        source_encoding: Asked only where the state does not hold every text.

    Raises:
        StateEncodingError: ids or tenants of the source may have no place in the state.
        SyncPipelineError: one of them cannot be reached, as its own connections say it.
    """
    database = Database(engine, schema=schema, retries=Retries())
    state = database.run("looking at its encoding", lambda it: _encoding_to_be(it, schema))
    if state is None or state in HOLD_ALL:
        return
    source = source_encoding()
    if not holds_all(state, source=source):
        raise StateEncodingError(
            f"the state is to be kept in PostgreSQL at {describe_url(engine.url)}, which has the "
            f"encoding {state}, while the source has {source}: tenants and ids of rows with a "
            f"character that {state} lacks could not be recorded."
        )


def write_storable(text: str | None, write: Callable[[str | None], T], *, limit: int) -> T:
    """Write a text of somebody else as far as PostgreSQL can hold it.

    Args:
        text: What to write; it may have any character.
        write: Writes what it is given; called once more where the database lacks a character.
        limit: Most characters.
    """
    if text is None:
        return write(None)
    plain = text[:limit].encode(errors="replace").decode().replace("\0", "")
    try:
        return write(plain)
    except StateEncodingError:
        return write(escaped(plain))


def escaped(text: str) -> str:
    """A text that every encoding has, with escapes for what is not ASCII."""
    return text.encode("ascii", "backslashreplace").decode()


def _encoding_to_be(connection: Connection, schema: str) -> str | None:
    """The encoding as the server told it at the connection; None where our schema is there."""
    if connection.scalar(select(func.to_regnamespace(literal(_quoted(connection, schema))))):
        return None
    return psycopg_of(connection).info.parameter_status("server_encoding") or UTF8


def _quoted(connection: Connection, schema: str) -> str:
    return connection.dialect.identifier_preparer.quote(schema)
