"""A MongoDB server for tests: the wire protocol over pymongo's own ``bson``, data in memory.

``with running_mongodb() as mongo``: ``mongo.url`` is its address,
``mongo.collection("directory", "tools").insert({...})`` writes, ``mongo.fail("find", ...)`` has
the next commands fail, ``mongo.cut()`` breaks every connection, ``mongo.lose_cursors()`` and
``mongo.forget_oplog()`` do what they say, and ``mongo.commands`` is what was asked.

The real pymongo speaks with it, so it proves what our client does: what it asks for, in which
order, and what it makes of answers and errors. It does not prove how MongoDB behaves: its
queries know only what ``mongo_order`` has, after the manual, and refuse all else. There is one
primary and no secondary, no election, no rollback, no sharding, no login (every one is refused),
no TLS, no transactions, no collations, no plan that could be slow. A find is answered from one
moment, where the real one sees changes while its cursor is open. Change events come in the order
of one lock. What a real server does is asked of it where ``SYNC_PIPELINE_TEST_MONGODB_URL`` is
set, see ``test_mongo_contract``.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

import bson
from bson import ObjectId
from bson.int64 import Int64

from sync_pipeline_tests.origins.mongo_data import (
    DATE,
    EXACT,
    Data,
    Document,
    HistoryLost,
    InvalidToken,
    MalformedToken,
    Stream,
    StubCollection,
    TokenNotFound,
    clock,
    pause_until,
)
from sync_pipeline_tests.origins.mongo_order import UnknownQuery, compiled, matches

VERSION: Final = "8.0.4"
REPLICA_SET: Final = "rs0"
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_CHECKSUM_PRESENT: Final = 1
_FIRST_BATCH: Final = 101
_UNLIMITED: Final = 2**31
_AWAIT_SECONDS: Final = 1.0
"""How long a stream waits for an event where nobody says it."""
_ELECTION: Final = ObjectId("7fffffff0000000000000001")
_REPLY_BYTES: Final = 16 * 2**20
_QUIET: Final = frozenset({"hello", "ismaster", "isMaster", "endSessions", "ping"})
"""Commands of the driver's own, which nobody counts."""


class ServerError(Exception):
    """An answer that says what is wrong."""

    def __init__(self, code: int, name: str, message: str, *labels: str) -> None:
        self.code = code
        self.name = name
        self.labels = labels
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What happens to one command instead of its answer."""

    code: int | None = None
    """None: the connection breaks without an answer."""
    name: str = "ScriptedError"
    message: str = "scripted"
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class _Cursor:
    namespace: str
    rest: list[Document] = field(default_factory=list)
    stream: Stream | None = None


@dataclass(slots=True)
class MongoStub:
    """What was asked, what there is, and what goes wrong next; used by any number of threads."""

    address: tuple[str, int] = ("", 0)
    is_replica_set: bool = True
    batch_bytes: int = _REPLY_BYTES
    """Most that one answer holds, at least one document."""
    commands: list[tuple[str, Document]] = field(default_factory=list)
    """Every command but the driver's own, in order."""
    data: Data = field(default_factory=Data)
    _cursors: dict[int, _Cursor] = field(default_factory=dict)
    _numbers: int = 0
    _failures: dict[str, list[Failure]] = field(default_factory=dict)
    _connections: set[socket.socket] = field(default_factory=set)
    _is_away: bool = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"mongodb://{self.address[0]}:{self.address[1]}/"

    def collection(self, database: str, name: str) -> StubCollection:
        """A collection, to write to; it exists once something was written."""
        return StubCollection(self.data, database, name)

    def asked(self, command: str) -> list[Document]:
        """The commands of one name."""
        return [document for name, document in self.commands if name == command]

    def fail(self, command: str, failure: Failure, *, times: int = 1) -> None:
        """Have the next commands of this name fail, after those that are to fail already."""
        with self.data.changed:
            self._failures.setdefault(command, []).extend([failure] * times)

    def cut(self) -> None:
        """Break every connection that is open now."""
        with self.data.changed:
            cut, self._connections = self._connections, set()
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Answer nobody inside the ``with``: every connection breaks at once."""
        self._is_away = True
        self.cut()
        try:
            yield
        finally:
            self._is_away = False

    def lose_cursors(self) -> None:
        """Forget every cursor, as a server does that was away, or that was left alone too long."""
        with self.data.changed:
            self._cursors.clear()

    def forget_oplog(self) -> None:
        """Let the oplog begin now."""
        self.data.forget()

    @property
    def open_cursors(self) -> int:
        """Cursors that nobody has closed."""
        return len(self._cursors)

    # --- answering -----------------------------------------------------------------------

    def connect(self, connection: socket.socket) -> bool:
        """Whether to talk with who has come."""
        with self.data.changed:
            if not self._is_away:
                self._connections.add(connection)
            return not self._is_away

    def answer(self, command: Mapping[str, Any]) -> Document | None:
        """Answer one command; None breaks the connection."""
        name = next(iter(command))
        try:
            failure = self._scripted(name, command)
            if failure is not None and failure.code is None:
                return None
            if failure is not None:
                raise ServerError(failure.code or 0, failure.name, failure.message, *failure.labels)
            do = _COMMANDS.get(name)
            if do is None:
                raise ServerError(59, "CommandNotFound", f"no such command: '{name}'")
            said = {**do(self, command), "ok": 1.0}
        except ServerError as error:
            said = _told(error)
        except UnknownQuery as error:
            said = _told(ServerError(2, "BadValue", str(error)))
        return {**said, **self._times()}

    def _scripted(self, name: str, command: Mapping[str, Any]) -> Failure | None:
        with self.data.changed:
            if name not in _QUIET:
                self.commands.append((name, dict(command)))
            waiting = self._failures.get(name)
            return waiting.pop(0) if waiting else None

    def _times(self) -> Document:
        if not self.is_replica_set:
            return {}
        now = clock(self.data.happened)
        signature = {"hash": b"\0" * 20, "keyId": Int64(0)}
        return {
            "operationTime": now,
            "$clusterTime": {"clusterTime": now, "signature": signature},
        }

    def hello(self, _: Mapping[str, Any]) -> Document:
        """What it is."""
        said: Document = {
            "helloOk": True,
            "isWritablePrimary": True,
            "ismaster": True,
            "maxBsonObjectSize": _REPLY_BYTES,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": DATE,
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 25,
            "readOnly": False,
        }
        if self.is_replica_set:
            me = f"{self.address[0]}:{self.address[1]}"
            said |= {"setName": REPLICA_SET, "setVersion": 1, "electionId": _ELECTION}
            said |= {"hosts": [me], "primary": me, "me": me, "secondary": False}
        return said

    def refuse_login(self, _: Mapping[str, Any]) -> Document:
        """No user is known here."""
        raise ServerError(18, "AuthenticationFailed", "Authentication failed.")

    def find(self, command: Mapping[str, Any]) -> Document:
        """Documents, sorted by ``_id`` or not at all, which is the same here."""
        _check_known(command, "find", "filter", "projection", "sort", "limit", "batchSize")
        self._check_reading(command)
        if command.get("sort", {"_id": 1}) != {"_id": 1}:
            raise ServerError(2, "BadValue", "this server sorts by _id alone")
        with self.data.changed:
            stored = self.data.collections.get((command["$db"], command["find"]))
            documents = [] if stored is None else stored.in_order()
        meets = compiled(command.get("filter", {}))
        found = [*islice(filter(meets, documents), command.get("limit") or None)]
        kept = [_projected(it, command.get("projection")) for it in found]
        return self._first_batch(f"{command['$db']}.{command['find']}", kept, command)

    def aggregate(self, command: Mapping[str, Any]) -> Document:
        """Change streams on one collection alone."""
        _check_known(command, "aggregate", "pipeline", "cursor")
        stages: Sequence[Mapping[str, Any]] = command["pipeline"]
        if not stages or "$changeStream" not in stages[0]:
            raise ServerError(2, "BadValue", "this server aggregates change streams alone")
        if not self.is_replica_set:
            message = "The $changeStream stage is only supported on replica sets"
            raise ServerError(40573, "Location40573", message)
        self._check_reading(command)
        with self.data.changed, _stream_errors():
            stream = Stream.open(self.data, command["$db"], command["aggregate"], stages)
            most = command["cursor"].get("batchSize", _FIRST_BATCH)
            events, token = stream.take(self.data, most=most)
            namespace = f"{command['$db']}.{command['aggregate']}"
            number = 0 if stream.is_ended else self._keep(_Cursor(namespace, stream=stream))
        return _batch("firstBatch", number, namespace, events, token)

    def get_more(self, command: Mapping[str, Any]) -> Document:
        """More of a cursor; of a stream once something happens, or after a while."""
        number = command["getMore"]
        cursor = self._cursors.get(number)
        if cursor is None:
            message = f"cursor id {number} not found"
            raise ServerError(43, "CursorNotFound", message, "ResumableChangeStreamError")
        if cursor.stream is not None:
            return self._await(number, cursor, cursor.stream, command)
        batch, cursor.rest = self._cut(cursor.rest, command.get("batchSize") or _UNLIMITED)
        if not cursor.rest:
            self._cursors.pop(number, None)
            number = 0
        return _batch("nextBatch", number, cursor.namespace, batch)

    def kill_cursors(self, command: Mapping[str, Any]) -> Document:
        """Close them."""
        killed = [number for number in command["cursors"] if self._cursors.pop(number, None)]
        return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": []}

    def list_collections(self, command: Mapping[str, Any]) -> Document:
        """What a database has; ids of collections unless names alone are asked for."""
        wanted = command.get("filter", {})
        with self.data.changed:
            listed = [
                {"name": name, "type": stored.kind}
                | ({} if command.get("nameOnly") else {"info": {"uuid": stored.uuid}})
                for (database, name), stored in sorted(self.data.collections.items())
                if database == command["$db"] and matches({"name": name}, wanted)
            ]
        return _batch("firstBatch", 0, f"{command['$db']}.$cmd.listCollections", listed)

    def count(self, command: Mapping[str, Any]) -> Document:
        """From what is known of the collection."""
        stored = self.data.collections.get((command["$db"], command["count"]))
        return {"n": 0 if stored is None else len(stored.documents)}

    def _check_reading(self, command: Mapping[str, Any]) -> None:
        concern = command.get("readConcern", {})
        if not self.is_replica_set and (concern.get("level") == "majority" or len(concern) > 1):
            message = "node needs to be a replica set member to use read concern"
            raise ServerError(123, "NotAReplicaSet", message)
        moment = concern.get("afterClusterTime")
        if moment is not None and moment > clock(self.data.happened):
            raise ServerError(72, "InvalidOptions", "afterClusterTime lies in the future")

    def _first_batch(
        self, namespace: str, documents: list[Document], command: Mapping[str, Any]
    ) -> Document:
        batch, rest = self._cut(documents, command.get("batchSize", _FIRST_BATCH))
        number = self._keep(_Cursor(namespace, rest)) if rest else 0
        return _batch("firstBatch", number, namespace, batch)

    def _cut(self, documents: list[Document], most: int) -> tuple[list[Document], list[Document]]:
        """As many as fit into one answer, and the rest."""
        size = taken = 0
        for document in documents[:most]:
            size += len(bson.encode(document, codec_options=EXACT))
            if taken and size > self.batch_bytes:
                break
            taken += 1
        return documents[:taken], documents[taken:]

    def _keep(self, cursor: _Cursor) -> Int64:
        with self.data.changed:
            self._numbers += 1
            self._cursors[self._numbers] = cursor
            return Int64(self._numbers)

    def _await(
        self, number: int, cursor: _Cursor, stream: Stream, command: Mapping[str, Any]
    ) -> Document:
        milliseconds = command.get("maxTimeMS", _AWAIT_SECONDS * 1000)
        deadline = time.monotonic() + milliseconds / 1000
        with self.data.changed, _stream_errors():
            while True:
                most = command.get("batchSize") or _UNLIMITED
                events, token = stream.take(self.data, most=most)
                if events or not pause_until(self.data, deadline):
                    break
            if stream.is_ended:
                self._cursors.pop(number, None)
                number = 0
        return _batch("nextBatch", number, cursor.namespace, events, token)


_Command: TypeAlias = Callable[[MongoStub, Mapping[str, Any]], Document]

_COMMANDS: Final[Mapping[str, _Command]] = {
    "hello": MongoStub.hello,
    "ismaster": MongoStub.hello,
    "isMaster": MongoStub.hello,
    "ping": lambda _, __: {},
    "buildInfo": lambda _, __: {"version": VERSION},
    "endSessions": lambda _, __: {},
    "saslStart": MongoStub.refuse_login,
    "find": MongoStub.find,
    "aggregate": MongoStub.aggregate,
    "getMore": MongoStub.get_more,
    "killCursors": MongoStub.kill_cursors,
    "listCollections": MongoStub.list_collections,
    "count": MongoStub.count,
}
_OF_EVERY_COMMAND: Final = frozenset(
    {"$db", "lsid", "$clusterTime", "$readPreference", "readConcern", "maxTimeMS"}
)


def _check_known(command: Mapping[str, Any], *names: str) -> None:
    unknown = set(command) - _OF_EVERY_COMMAND - set(names)
    if unknown:
        raise ServerError(40415, "Location40415", f"unknown fields {sorted(unknown)}")


def _projected(document: Document, projection: Mapping[str, Any] | None) -> Document:
    if not projection:
        return document
    if not all(value in (1, True) for value in projection.values()):
        raise UnknownQuery("a projection that leaves something out")
    return {name: it for name, it in document.items() if name in projection or name == "_id"}


def _batch(
    kind: str,
    number: int,
    namespace: str,
    documents: list[Document],
    token: Document | None = None,
) -> Document:
    cursor: Document = {kind: documents, "id": Int64(number), "ns": namespace}
    if token is not None:
        cursor["postBatchResumeToken"] = token
    return {"cursor": cursor}


def _told(error: ServerError) -> Document:
    said: Document = {
        "ok": 0.0,
        "errmsg": str(error),
        "code": error.code,
        "codeName": error.name,
    }
    return {**said, "errorLabels": list(error.labels)} if error.labels else said


@contextmanager
def _stream_errors() -> Iterator[None]:
    label = "NonResumableChangeStreamError"
    try:
        yield
    except HistoryLost:
        message = "Resume of change stream was not possible, as the resume point may no longer be"
        raise ServerError(286, "ChangeStreamHistoryLost", message, label) from None
    except InvalidToken as error:
        raise ServerError(260, "InvalidResumeToken", str(error)) from None
    except MalformedToken:
        raise ServerError(9, "FailedToParse", "no valid resume token") from None
    except TokenNotFound:
        message = "cannot resume stream; the resume token was not found"
        raise ServerError(280, "ChangeStreamFatalError", message, label) from None
    except ValueError as error:
        raise ServerError(2, "BadValue", str(error)) from None


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        if not self.server.stub.connect(self.request):
            return
        with contextlib.suppress(OSError):
            while (message := self._read()) is not None:
                answer = self._answer(*message)
                if answer is None:
                    return
                self.request.sendall(answer)

    def _read(self) -> tuple[int, int, bytes] | None:
        """Number, kind and body of the next message; None at the end."""
        head = self._exactly(16)
        if head is None:
            return None
        length, number, _, kind = struct.unpack("<iiii", head)
        body = self._exactly(length - 16)
        return None if body is None else (number, kind, body)

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self.request.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _answer(self, number: int, kind: int, body: bytes) -> bytes | None:
        if kind not in (_OP_MSG, _OP_QUERY):
            return None
        command = _command_of(body) if kind == _OP_MSG else _query_of(body)
        said = self.server.stub.answer(command)
        if said is None:
            return None
        document = bson.encode(said, codec_options=EXACT)
        if kind == _OP_MSG:
            return _message(number, _OP_MSG, struct.pack("<I", 0) + b"\0" + document)
        return _message(number, _OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + document)


def _command_of(body: bytes) -> Document:
    """A command, with the lists that were sent beside it."""
    (flags,) = struct.unpack_from("<I", body)
    end = len(body) - (4 if flags & _CHECKSUM_PRESENT else 0)
    command: Document = {}
    place = 4
    while place < end:
        kind = body[place]
        (size,) = struct.unpack_from("<i", body, place + 1)
        section = body[place + 1 : place + 1 + size]
        if kind == 0:
            command |= bson.decode(section, codec_options=EXACT)
        else:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents, EXACT)
        place += 1 + size
    return command


def _query_of(body: bytes) -> Document:
    """The first greeting, which is older than the protocol."""
    name, _, rest = body[4:].partition(b"\0")
    command: Document = bson.decode(rest[8:], codec_options=EXACT)
    return {**command, "$db": name.decode().partition(".")[0]}


def _message(answers: int, kind: int, body: bytes) -> bytes:
    return struct.pack("<iiii", 16 + len(body), 0, answers, kind) + body


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, stub: MongoStub) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", 0), _Handler)


@contextmanager
def running_mongodb(*, is_replica_set: bool = True) -> Iterator[MongoStub]:
    """A server on this machine for the length of the ``with``."""
    stub = MongoStub(is_replica_set=is_replica_set)
    server = _Server(stub)
    stub.address = ("127.0.0.1", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.cut()
        server.shutdown()
        server.server_close()
        thread.join()
