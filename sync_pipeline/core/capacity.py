"""How many connections fit: what a server allows against what processes may open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sync_pipeline.core.connecting import is_pooler, settings_fault
from sync_pipeline.core.errors import ConfigurationError, SourceUnavailableError

FOLLOWS_BY_CLOCK: Final = "the follower cannot be notified through it and looks once a second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a database server takes of all its clients together."""

    allowed: int
    """Connections that this role may open: the least of the server's, the database's and its own
    limit."""
    open_now: int
    """Connections of any client at this moment."""
    is_pooled: bool
    """Whether a pooler stands before the server."""
    is_shared: bool
    """Whether it is known to give each transaction another session of the server."""

    def told(self, connections: int, *, where: str) -> str:
        """For people, what a process with at most so many connections means for the server.

        Raises:
            ConfigurationError: they are more than it allows.
        """
        ours = f"at most {connections} of this process to {where}"
        theirs = (
            f"the server allows {self.allowed} of all clients together, {self.open_now} are open"
        )
        if self.is_pooled:
            kind = "a pooler, a session for each transaction" if self.is_shared else "a pooler"
            remark = f"; {FOLLOWS_BY_CLOCK}" if self.is_shared else ""
            return f"{ours}, through {kind}, whose own limits count{remark}. Behind it {theirs}"
        if connections > self.allowed:
            raise ConfigurationError(
                f"{ours}, but {theirs}.",
                remedy="Lower `source.max_connections` or `state.max_connections`, raise "
                "`max_connections` of the server or the role's limit, or put PgBouncer before it.",
            )
        return f"{ours}; {theirs}: room for {self.allowed // connections} such processes"


def schema_lost(where: str, *, schema: str) -> ConfigurationError:
    """What to say where a pooler keeps Dagster's tables out of their schema."""
    return ConfigurationError(
        f"Dagster's tables are to be in schema {schema!r} at {where}, which its connections name "
        "when they start, and the pooler there does not pass that on.",
        remedy="Set `dagster.storage_url` to the address of the server itself: source and state "
        "may go through the pooler, Dagster opens few connections.",
    )


def storage_trouble(
    reason: str | None, *, where: str, schema: str | None
) -> ConfigurationError | SourceUnavailableError:
    """What to say where Dagster's database cannot be connected to.

    Args:
        reason: What the driver says; None where the database itself has answered.
        where: Its address without the password.
        schema: Where its tables are to be, as connections name it; None where they name none.
    """
    advice = None if reason is None else settings_fault(reason)
    if advice is None:
        return SourceUnavailableError(
            f"Dagster's database at {where} cannot be used.",
            remedy="Start it, or correct `dagster.storage_url` or `state.url`; whatever was "
            "committed is there.",
        )
    if schema is not None and is_pooler(advice):
        return schema_lost(where, schema=schema)
    return ConfigurationError(
        f"Dagster's database at {where} cannot be connected to as `dagster.storage_url` or "
        "`state.url` says.",
        remedy=f"To mend it, {advice}.",
    )
