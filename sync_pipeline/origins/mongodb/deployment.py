"""The client of one landing's origin: made at first use, asked with patience, closed once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from bson.timestamp import Timestamp
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import InvalidURI, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from sync_pipeline.core.landing.origin_options import MongoConnection, MongoRequest
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.waiting import wait
from sync_pipeline.origins.mongodb.codec import CODEC
from sync_pipeline.origins.mongodb.errors import UNAUTHORIZED, Boundary

T = TypeVar("T")
Document: TypeAlias = dict[str, Any]

_APPLICATION: Final = "sync-pipeline"
_LONGEST_SELECTION_SECONDS: Final = 10.0
"""How long one attempt looks for a server; between attempts a stop is heard."""
_LONGEST_PAUSE_SECONDS: Final = 60.0
_COLLECTIONS_NAMED: Final = 20
_INSTANT: Final = 0.001


def stop_if_asked() -> None:
    """Look up whether to stop, without waiting.

    Raises:
        StoppedError: asked to.
    """
    wait(_INSTANT, sleep=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a deployment says of itself."""

    version: str
    replica_set: str | None
    is_sharded: bool

    @property
    def tells_changes(self) -> bool:
        """Whether it has change streams, and reads that a majority has confirmed."""
        return self.replica_set is not None or self.is_sharded


class Deployment:
    """A MongoDB deployment, as one landing reads it.

    Every read belongs to one causally consistent session that begins at the primary: what was
    there before is seen also where a secondary answers, which without it may lag behind and
    let documents look absent. One process, one thread: a client does not survive a fork.
    """

    def __init__(
        self,
        landing: Landing,
        *,
        connection: MongoConnection,
        request: MongoRequest,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.errors = Boundary.of(landing, connection)
        self.attempts = 0
        """Attempts so far, failed ones among them."""
        self._connection = connection
        self._request = request
        self._retries = Retries(
            attempts=connection.attempts,
            longest_wait_seconds=min(_LONGEST_PAUSE_SECONDS, connection.longest_wait_seconds),
            sleep=partial(wait, sleep=sleep),
        )
        self._open: MongoClient[Document] | None = None
        self._session: ClientSession | None = None

    @property
    def name(self) -> str:
        """Database and collection."""
        return f"{self._connection.database}.{self._request.collection}"

    def call(self, attempt: Callable[[], T]) -> T:
        """Ask until there is an answer, or no hope.

        Args:
            attempt: Does no harm if it is done again.

        Raises:
            OriginUnavailableError: no answer after several attempts.
            OriginConfigurationError: an answer that stays the same.
            StoppedError: asked to stop while waiting.
        """

        def attempt_once() -> T:
            stop_if_asked()
            self.attempts += 1
            with self.errors():
                return attempt()

        return self._retries.call(attempt_once)

    @cached_property
    def described(self) -> Described:
        """What it is; asked for once."""
        return self.call(self._describe)

    @property
    def session(self) -> ClientSession:
        """The session of all reads; it sees everything that was there when it began."""
        if self._session is None:
            session = self._client.start_session(causal_consistency=True)
            self._client.admin.command("ping", session=session)
            self._session = session
        return self._session

    def see_as_of(self, moment: Timestamp) -> None:
        """Read nothing from now on that is older than what happened at ``moment``."""
        self.session.advance_operation_time(moment)

    def collection(self) -> Collection[Document]:
        """The collection; its reads see what a majority has confirmed."""
        level = "majority" if self.described.tells_changes else None
        return self._database.get_collection(
            self._request.collection,
            codec_options=CODEC,
            read_concern=ReadConcern(level),
        )

    def check_collection(self) -> UUID | None:
        """Which collection is called so now; None where the user may not see that.

        Raises:
            OriginConfigurationError: none is, or it is a view or a time series.
        """
        return self.call(self._check_collection)

    def estimate(self) -> int:
        """About how many documents the collection has."""
        collection = self.collection()
        return self.call(collection.estimated_document_count)

    def close(self) -> None:
        """End connections; twice is no error."""
        if self._session is not None:
            self._session.end_session()
            self._session = None
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _client(self) -> MongoClient[Document]:
        if self._open is None:
            self._open = _make_client(self._connection)
        return self._open

    @property
    def _database(self) -> Database[Document]:
        given = self._client.read_preference
        primary = ReadPreference.PRIMARY
        # An address that says from where to read is obeyed.
        chosen = ReadPreference.PRIMARY_PREFERRED if given == primary else given
        return self._client.get_database(self._connection.database, read_preference=chosen)

    def _describe(self) -> Described:
        admin = self._client.admin
        hello: Mapping[str, Any] = admin.command("hello")
        return Described(
            version=str(admin.command("buildInfo")["version"]),
            replica_set=hello.get("setName"),
            is_sharded=hello.get("msg") == "isdbgrid",
        )

    def _check_collection(self) -> UUID | None:
        name = self._request.collection
        found = self._list_collections({"name": name})
        if not found:
            raise self._missing(self._list_collections({}))
        kind = found[0].get("type", "collection")
        if kind != "collection":
            raise self.errors.refused(
                f"{self.name} of MongoDB connection {self._connection.name!r} is a {kind}: its "
                "_id may repeat, so nobody could say which documents are gone.",
                "Name the collection below it, and choose fields and documents with `fields` and "
                "`where`.",
            )
        told = found[0].get("info", {}).get("uuid")
        return None if told is None else UUID(bytes=bytes(told))

    def _list_collections(self, wanted: Mapping[str, Any]) -> list[Document]:
        database = self._database
        try:
            with database.list_collections(filter=wanted) as listed:
                return [dict(it) for it in listed]
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
        # Names alone are shown to whoever may read the collections.
        with database.list_collections(
            filter=wanted, nameOnly=True, authorizedCollections=True
        ) as listed:
            return [dict(it) for it in listed]

    def _missing(self, listed: list[Document]) -> Exception:
        names = sorted(str(it["name"]) for it in listed)
        shown = ", ".join(names[:_COLLECTIONS_NAMED])
        more = len(names) - _COLLECTIONS_NAMED
        there = f"it has {shown}" if names else "it has none"
        return self.errors.refused(
            f"database {self._connection.database!r} of MongoDB connection "
            f"{self._connection.name!r} has no collection {self._request.collection!r}; {there}"
            + (f" and {more:,} more" if more > 0 else "")
            + ". Nothing was landed or deleted.",
            "Correct the name of the collection, or of the database.",
        )


def _make_client(connection: MongoConnection) -> MongoClient[Document]:
    """A client that has connected to nothing yet."""
    timeout_ms = connection.timeout_seconds * 1000
    longest_ms = min(_LONGEST_SELECTION_SECONDS, connection.longest_wait_seconds) * 1000
    defaults: dict[str, Any] = {
        "appname": _APPLICATION,
        "serverselectiontimeoutms": min(timeout_ms, longest_ms),
        "connecttimeoutms": min(timeout_ms, longest_ms),
        "sockettimeoutms": timeout_ms,
        "retryreads": True,
    }
    # Alone it only warns of options that it does not know.
    try:
        stated = {name.lower() for name in parse_uri(connection.url, warn=False)["options"]}
    except ValueError as error:
        # ... and has no error of its own for some mistakes.
        raise InvalidURI(str(error)) from None
    given = {name: value for name, value in defaults.items() if name not in stated}
    return MongoClient(
        connection.url,
        connect=False,
        document_class=dict,
        tz_aware=True,
        uuidRepresentation="standard",
        **given,
    )
