"""What a stub of MongoDB holds: collections in memory, and an oplog of what happened to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import uuid4

import bson
from bson import ObjectId
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp

from sync_pipeline_tests.origins.mongo_order import OrderKey, order_key, type_name

Document: TypeAlias = dict[str, Any]

EXACT: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
"""Decodes so that encoding gives the same bytes."""
_GIVEN: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
NOT_AN_ID: Final = frozenset({"array", "regex", "undefined"})


class HistoryLost(Exception):  # noqa: N818 - becomes error 286
    """The oplog does not go back so far."""


class MalformedToken(Exception):  # noqa: N818 - becomes error 9
    """No token at all."""


class InvalidToken(Exception):  # noqa: N818 - becomes error 260
    """A token that cannot be used so."""


class TokenNotFound(Exception):  # noqa: N818 - becomes error 280
    """A token of an event that the oplog does not have, though it goes back so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened."""

    number: int
    kind: str
    database: str
    collection: str
    key: Any = None
    document: Document | None = None
    renamed_to: str | None = None

    @property
    def moment(self) -> Timestamp:
        """By the cluster's clock."""
        return clock(self.number)

    def concerns(self, database: str, collection: str) -> bool:
        """Whether a stream on this collection tells of it."""
        return self.database == database and collection in (self.collection, self.renamed_to)


def clock(number: int) -> Timestamp:
    """The time of the cluster after so many things happened."""
    return Timestamp(1_700_000_000 + number, 1)


@dataclass(slots=True)
class StoredCollection:
    """Documents by their ``_id``, and which collection this is."""

    kind: str = "collection"
    uuid: Binary = field(default_factory=lambda: Binary.from_uuid(uuid4()))
    documents: dict[OrderKey, Document] = field(default_factory=dict)
    _order: list[OrderKey] | None = None

    def in_order(self) -> list[Document]:
        """Sorted by ``_id``."""
        if self._order is None:
            self._order = sorted(self.documents)
        return [self.documents[key] for key in self._order]

    def put(self, place: OrderKey, document: Document) -> None:
        """Hold a document, in the place of another one or not."""
        if place not in self.documents:
            self._order = None
        self.documents[place] = document

    def take(self, place: OrderKey) -> Document:
        """Hold a document no longer."""
        self._order = None
        return self.documents.pop(place)


@dataclass(slots=True)
class Data:
    """Everything, behind one lock; whoever waits for an event waits on it."""

    collections: dict[tuple[str, str], StoredCollection] = field(default_factory=dict)
    oplog: list[Entry] = field(default_factory=list)
    happened: int = 0
    """How many things have happened so far; the number of the last."""
    forgotten: int = 0
    """Up to which number the oplog does not go back."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Change something, and wake who waits for it."""
        with self.changed:
            yield
            self.changed.notify_all()

    def note(self, **what: Any) -> None:
        """Write an entry of the oplog."""
        self.happened += 1
        self.oplog.append(Entry(number=self.happened, **what))

    def forget(self) -> None:
        """Let the oplog begin after what happened last."""
        with self.writing():
            self.forgotten = self.happened
            self.oplog.clear()

    def after(self, number: int) -> list[Entry]:
        """What happened since.

        Raises:
            HistoryLost: it is not known any more.
        """
        if number < self.forgotten:
            raise HistoryLost
        return [entry for entry in self.oplog if entry.number > number]


@dataclass(frozen=True, slots=True)
class StubCollection:
    """What a test does to a collection; the same names as ``mongo_real.RealCollection``."""

    data: Data
    database: str
    name: str

    @property
    def documents(self) -> list[Document]:
        """As they are, in the order of ``_id``."""
        with self.data.changed:
            return self._stored().in_order()

    def create(self, *, kind: str = "collection") -> None:
        """Have it exist, even without a document."""
        with self.data.writing():
            self.data.collections.setdefault((self.database, self.name), StoredCollection(kind))

    def insert(self, *documents: Mapping[str, Any]) -> None:
        """Add documents; one without ``_id`` gets one, one whose ``_id`` is taken is an error."""
        for document in documents:
            self._write("insert", _exact({"_id": ObjectId(), **document}), is_new=True)

    def replace(self, key: Any, document: Mapping[str, Any]) -> None:
        """Put another document in the place of one."""
        self._write("replace", _exact({"_id": key, **document}), is_new=False)

    def update(self, key: Any, changes: Mapping[str, Any]) -> None:
        """Set fields of one document."""
        with self.data.changed:
            before = self._stored().documents[order_key(_exact({"_id": key})["_id"])]
            self._write("update", {**before, **_exact(changes)}, is_new=False)

    def delete(self, *keys: Any) -> None:
        """Take documents away."""
        with self.data.writing():
            for key in keys:
                exact = _exact({"_id": key})["_id"]
                gone = self._stored().take(order_key(exact))
                self._note("delete", key=gone["_id"])

    def drop(self) -> None:
        """Take the whole collection away."""
        with self.data.writing():
            if self.data.collections.pop((self.database, self.name), None) is not None:
                self._note("drop")

    def rename(self, to: str) -> None:
        """Give it another name, in the place of whatever has that."""
        with self.data.writing():
            here = (self.database, self.name)
            self.data.collections[self.database, to] = self.data.collections.pop(here)
            self._note("rename", renamed_to=to)

    def _write(self, kind: str, document: Document, *, is_new: bool) -> None:
        key = document["_id"]
        if type_name(key) in NOT_AN_ID:
            raise ValueError(f"the server takes no {type_name(key)} as _id")
        with self.data.writing():
            here = self.data.collections.setdefault((self.database, self.name), StoredCollection())
            place = order_key(key)
            if (place in here.documents) is is_new:
                raise ValueError(f"E11000 duplicate key or no such document: {key!r}")
            here.put(place, document)
            self._note(kind, key=key, document=document)

    def _stored(self) -> StoredCollection:
        return self.data.collections.get((self.database, self.name), StoredCollection())

    def _note(self, kind: str, **what: Any) -> None:
        self.data.note(kind=kind, database=self.database, collection=self.name, **what)


def _exact(document: Mapping[str, Any]) -> Document:
    """As the server would hold it."""
    return bson.decode(bson.encode(document, codec_options=_GIVEN), codec_options=EXACT)


_MARK: Final = "00"
_EVENT: Final = "04"
_INVALIDATION: Final = "FE"


def token_of(number: int, kind: str = _MARK) -> Document:
    """Where a stream goes on: after the thing of this number."""
    return {"_data": f"{number:016X}{kind}"}


@dataclass(slots=True)
class Stream:
    """A change stream on one collection."""

    database: str
    collection: str
    fields: frozenset[str] | None
    """Kept of an event besides ``_id``; None: all."""
    after: int
    is_ended: bool = False

    @classmethod
    def open(
        cls, data: Data, database: str, collection: str, stages: Sequence[Mapping[str, Any]]
    ) -> Stream:
        """From what an aggregation asks for.

        Raises:
            HistoryLost: the oplog does not go back so far.
            InvalidToken: it may not be used so.
            MalformedToken: it is none.
            TokenNotFound: the oplog has no event with it.
            ValueError: an option or stage that this server does not know.
        """
        options, *rest = stages
        asked = dict(options["$changeStream"])
        resume, start = asked.pop("resumeAfter", None), asked.pop("startAfter", None)
        if asked:
            raise ValueError(f"unknown options of $changeStream: {sorted(asked)}")
        after = data.happened
        for token, may_be_ended in ((resume, False), (start, True)):
            if token is not None:
                after = _number_of(data, token, may_be_ended=may_be_ended)
        data.after(after)
        return cls(database, collection, _kept(rest), after)

    def take(self, data: Data, *, most: int) -> tuple[list[Document], Document]:
        """What happened since, at most so much, and the token behind it.

        Raises:
            HistoryLost: it is not known any more.
        """
        events: list[Document] = []
        for entry in data.after(self.after):
            if len(events) >= most:
                return events, token_of(self.after)
            self.after = entry.number
            if entry.concerns(self.database, self.collection):
                events += self._events_of(entry)
                if self.is_ended:
                    return events, events[-1]["_id"]
        self.after = max(self.after, data.happened)
        return events, token_of(self.after)

    def _events_of(self, entry: Entry) -> list[Document]:
        namespace = {"db": entry.database, "coll": entry.collection}
        common = {"clusterTime": entry.moment, "wallTime": DATE, "ns": namespace}
        event: Document = {
            "_id": token_of(entry.number, _EVENT),
            "operationType": entry.kind,
            **common,
        }
        if entry.kind in ("drop", "rename"):
            self.is_ended = True
            if entry.renamed_to is not None:
                event["to"] = {"db": entry.database, "coll": entry.renamed_to}
            last = {
                "_id": token_of(entry.number, _INVALIDATION),
                "operationType": "invalidate",
                "clusterTime": entry.moment,
                "wallTime": DATE,
            }
            return [self._kept(event), self._kept(last)]
        event["documentKey"] = {"_id": entry.key}
        if entry.kind in ("insert", "replace"):
            event["fullDocument"] = entry.document
        if entry.kind == "update":
            event["updateDescription"] = {"updatedFields": {}, "removedFields": []}
        return [self._kept(event)]

    def _kept(self, event: Document) -> Document:
        if self.fields is None:
            return event
        return {name: it for name, it in event.items() if name in self.fields or name == "_id"}


DATE: Final = bson.DatetimeMS(1_700_000_000_000)


def _kept(stages: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    if not stages:
        return None
    if len(stages) > 1 or list(stages[0]) != ["$project"]:
        raise ValueError(f"unknown stages {stages}")
    projection = stages[0]["$project"]
    if not all(value in (1, True) for value in projection.values()):
        raise ValueError("a projection that leaves something out")
    return frozenset(projection)


def _number_of(data: Data, token: Mapping[str, Any], *, may_be_ended: bool) -> int:
    text = token.get("_data")
    if not isinstance(text, str) or len(text) != 18:
        raise MalformedToken
    try:
        number = int(text[:16], 16)
    except ValueError:
        raise MalformedToken from None
    if text[16:] == _INVALIDATION and not may_be_ended:
        raise InvalidToken("resumeAfter is not allowed from an invalidate notification")
    if number > data.happened:
        raise TokenNotFound
    return number


def pause_until(data: Data, deadline: float) -> bool:
    """Wait, holding the lock, for something to happen; False once it is too late."""
    left = deadline - time.monotonic()
    return left > 0 and data.changed.wait(left)
