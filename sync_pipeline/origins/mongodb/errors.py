"""What pymongo raises, in the words of ``core.errors``; foreign errors end here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.core.landing.origin_options import MongoConnection
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.shortening import beginning

UNAUTHORIZED: Final = 13
NO_REPLICA_SET: Final = 40573
LOST_PLACE: Final[dict[int, str]] = {
    **dict.fromkeys(
        (9, 40647, 40649, 50811), "the place where its changes were last read is no place at all"
    ),
    10334: "one change was too large to be told",
    260: "the place where its changes were last read is not known any more",
    280: "the place where its changes were last read was not found",
    286: "the changes since they were last read are forgotten already (the oplog is too short)",
}
"""Codes of change streams that cannot go on from a token, and what they mean."""

_LOGIN: Final = frozenset({11, 18, 8000})
"""Unknown user, wrong password, and both as Atlas says it."""
_NAMES: Final = frozenset({26, 73, 166, 167})
"""Names that cannot be, and views where only collections will do."""
_SHOWN_CHARACTERS: Final = 300
_MASK: Final = "***"
_USER: Final = re.compile(r"://(?P<user>.*)@")
"""Up to the last @: a password that was not percent-encoded may hold one itself."""
_RESERVED: Final = re.compile(r"[:/?#\[\]@=&]")
_PIECE_CHARACTERS: Final = 3
"""Shorter pieces of a password stand in other words too."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where foreign errors of one landing's origin stop."""

    landing: str
    connection: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, landing: Landing, connection: MongoConnection) -> Boundary:
        """For one landing and what it connects to."""
        return cls(landing.name, connection.name, _secrets(connection.url))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Translate what is raised inside.

        Raises:
            OriginConfigurationError: trying again gives the same answer.
            OriginUnavailableError: everything else.
        """
        try:
            yield
        except (ConfigurationError, InvalidName) as error:
            # Its text and its traceback may quote the address, so neither is kept.
            raise self.refused(
                f"MongoDB connection {self.connection!r} cannot be used: {self.told(error)}",
                "Correct its address: mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME, user and "
                "password percent-encoded (`%40` for @), options as MongoDB documents them.",
            ) from None
        except OperationFailure as error:
            raise self._of_code(error) from error
        except (PyMongoError, BSONError) as error:
            raise OriginUnavailableError(
                f"MongoDB connection {self.connection!r} does not answer: {self.told(error)}.",
                landing=self.landing,
            ) from error

    def refused(self, what: str, remedy: str) -> OriginConfigurationError:
        """An error that only a change of settings, or of the other system, helps with."""
        return OriginConfigurationError(what, landing=self.landing, remedy=remedy)

    def needs_replica_set(self) -> OriginConfigurationError:
        """The deployment cannot tell of changes."""
        return self.refused(
            f"MongoDB connection {self.connection!r} leads to a server without a replica set, and "
            "only replica sets and sharded clusters have change streams.",
            "Start mongod with --replSet and run rs.initiate(), also for a single server; or leave "
            "out `follow`: full passes need no replica set.",
        )

    def told(self, error: Exception) -> str:
        """An error in one line, without secrets."""
        text = " ".join(str(error).split())
        if isinstance(error, OperationFailure):
            text = f"{text.split(', full error:')[0]} (code {error.code})"
        if isinstance(error, ServerSelectionTimeoutError):
            text = text.split(", Timeout:")[0]
        for secret in self.secrets:
            text = text.replace(secret, _MASK)
        return beginning(text.rstrip("."), length=_SHOWN_CHARACTERS)

    def _of_code(self, error: OperationFailure) -> SyncPipelineError:
        if error.code in _LOGIN:
            return self.refused(
                f"MongoDB connection {self.connection!r} refuses user or password: "
                f"{self.told(error)}.",
                "Correct both in its address; where the user is kept in another database, name it "
                "with authSource.",
            )
        if error.code == UNAUTHORIZED:
            return self.refused(
                f"the user of MongoDB connection {self.connection!r} may not do this: "
                f"{self.told(error)}.",
                "Give it the role read on the database.",
            )
        if error.code == NO_REPLICA_SET:
            return self.needs_replica_set()
        if error.code in _NAMES:
            return self.refused(
                f"MongoDB connection {self.connection!r} does not take the names of the settings: "
                f"{self.told(error)}.",
                "Name a database and a collection of it.",
            )
        return OriginUnavailableError(
            f"MongoDB connection {self.connection!r} answers with an error: {self.told(error)}.",
            landing=self.landing,
        )


def _secrets(url: str) -> tuple[str, ...]:
    """What of an address must not be shown, in every spelling; the longest first."""
    found = _USER.search(url)
    if found is None:
        return ()
    whole = found["user"]
    password = whole.partition(":")[2]
    spellings = {whole, unquote_plus(whole), password, unquote_plus(password)}
    # A driver that takes a password for a host or a port may quote a piece of it.
    pieces = {it for it in _RESERVED.split(password) if len(it) >= _PIECE_CHARACTERS}
    return tuple(sorted(filter(None, spellings | pieces), key=len, reverse=True))
