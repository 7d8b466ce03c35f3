"""Where errors of the change feed's statements become errors of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from sync_pipeline.core.errors import ConfigurationError, TransientError
from sync_pipeline.sources.errors import source_errors

_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, lock timeout."""
_NO_PRIVILEGE: Final = "42501"
_READ_ONLY: Final = "25006"
_MISSING: Final = frozenset({"3F000", "42P01", "42703"})
"""No such schema, table, or (of our table) column."""


def is_missing(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed because its schema, table or a column does not exist."""
    return _state(error) in _MISSING


def is_forbidden(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed because this role lacks a right."""
    return _state(error) == _NO_PRIVILEGE


@contextmanager
def feed_errors(database: str, *, doing: str) -> Iterator[None]:
    """Translate what statements of the feed raise.

    Args:
        database: Host, port and database name, for messages.
        doing: What the statements are for, as in "while <doing>".
    """
    with source_errors(database):
        try:
            yield
        except sa.exc.DBAPIError as error:
            state = _state(error)
            if state in _CONFLICTS:
                raise TransientError(
                    f"a table of the source database {database} is in use by another transaction "
                    f"while {doing}; nothing was changed.",
                    remedy="Try again when long transactions have "
                    "ended; the view pg_stat_activity shows them.",
                ) from error
            if state == _NO_PRIVILEGE:
                raise ConfigurationError(
                    f"the source database {database} forbids this role something while {doing} "
                    f"({_primary(error)}); nothing was changed.",
                    remedy="Let the owner of what it names do it, or run with that role.",
                ) from error
            if state == _READ_ONLY:
                raise ConfigurationError(
                    f"the source database {database} accepts no writes while {doing}: it is a "
                    "standby or set to read only.",
                    remedy="The change feed needs the primary server.",
                ) from error
            raise


def _state(error: sa.exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _primary(error: sa.exc.DBAPIError) -> str:
    """What the server said, which names objects here, no values."""
    return getattr(getattr(error.orig, "diag", None), "message_primary", None) or "no privilege"
