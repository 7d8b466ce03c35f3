"""A small Qdrant server over HTTP that fails on command.

It reads requests with qdrant-client's own models, so that a request no server
would understand is refused, and answers from an in-memory client. Where that
client differs from a server (payload indexes, missing points), it is put right
here. Only the routes that the adapter uses are there. Told to, it keeps several copies of which
some lag, as a cluster does.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

from sync_pipeline_tests.fakes.replicas import (
    Condition,
    Replicas,
    TooFewReplicasError,
    agreed,
    agreed_count,
    agreed_facets,
)
from sync_pipeline_tests.fakes.words import begins_as_typed

T = TypeVar("T")

_SERVERS_OWN: Final[dict[str, object]] = {
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": True,
}
_HTML: Final = b"<html><body>maintenance</body></html>"


class Fault(StrEnum):
    """How a request goes wrong."""

    OK = "ok"
    ACKNOWLEDGED = "acknowledged"
    WAIT_TIMEOUT = "wait_timeout"
    UNTRUE = "completed"
    ACCEPTED = "202"
    RATE_LIMITED = "429"
    UNAVAILABLE = "503"
    FULL = "507"
    FORBIDDEN = "403"
    HTML = "html"
    SLOW = "slow"
    RESET = "reset"
    DUPLICATE_LATE = "duplicate-late"


_STATUSES: Final = {
    Fault.RATE_LIMITED: 429,
    Fault.UNAVAILABLE: 503,
    Fault.FULL: 507,
    Fault.FORBIDDEN: 403,
}
_STATED: Final = {Fault.ACKNOWLEDGED, Fault.WAIT_TIMEOUT, Fault.UNTRUE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens to one request."""

    fault: Fault
    is_applied: bool = False
    """Whether a faulty request takes effect; ``OK`` and ``DUPLICATE_LATE`` always do."""
    retry_after: str | None = None
    """The header ``Retry-After``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and result of one request."""

    status: int
    result: object = None
    error: str | None = None


class Parameters(BaseModel):
    """What stands behind the ``?`` of a request."""

    model_config = ConfigDict(extra="forbid")

    wait: bool | None = None
    ordering: models.WriteOrdering | None = None
    consistency: models.ReadConsistencyType | int | None = None
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and how it was asked."""

    method: str
    path: str
    parameters: Parameters


class QdrantStub:
    """The server's state, its script of faults, and its address while it runs.

    Args:
        replicas: How many copies it keeps of everything.
    """

    def __init__(self, replicas: int = 1) -> None:
        self.replicas = Replicas(replicas)
        self.client = self.replicas.clients[0]
        self.asked: list[Asked] = []
        """Every request that was carried out."""
        self._parameters = Parameters()
        """Of the request that is being carried out."""
        self.url = ""
        self.api_key: str | None = None
        """Requests without it are forbidden."""
        self.max_body_bytes = 32 * 2**20
        """Larger requests are refused."""
        self.version = importlib.metadata.version("qdrant-client")
        """What it says it is; by default as new as the client."""
        self.connections = 0
        """How many were opened so far."""
        self.stopping = threading.Event()
        self._lock = threading.RLock()
        self._steps: list[tuple[str, Step]] = []
        self._indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}
        self.options: dict[str, models.UpdateCollection] = {}
        """Per collection how it was last changed; the client in memory has no search index."""
        self.search_params: list[models.SearchParams | None] = []
        """How dense vectors were searched, in the order asked."""
        self.created: dict[str, models.CreateCollection] = {}
        """Per collection how it was asked for."""
        self._params: dict[str, dict[str, object]] = {}
        """Per collection how it is kept; the client in memory knows nothing of that."""
        self._late: list[tuple[str, str, bytes]] = []
        self._heard: list[str] = []

    def script(self, *steps: Step | Fault, route: str = "") -> None:
        """Say how the next requests go, in order.

        Args:
            steps: One per request; after the last one all goes well again.
            route: Only requests whose ``METHOD /path`` contains it count.
        """
        self._steps += [
            (route, Step(fault=step) if isinstance(step, Fault) else step) for step in steps
        ]

    @property
    def is_exhausted(self) -> bool:
        """Whether every scripted step has happened."""
        return not self._steps

    def replay_late(self) -> None:
        """Carry out once more, much too late, every request that was a ``DUPLICATE_LATE``."""
        late, self._late = self._late, []
        for method, path, body in late:
            self.answer(method, path, body)

    def take_step(self, method: str, path: str) -> Step:
        """The step for a request."""
        with self._lock:
            for position, (route, step) in enumerate(self._steps):
                if route in f"{method} {path}":
                    del self._steps[position]
                    return step
        return Step(fault=Fault.OK)

    def keep_late(self, method: str, path: str, body: bytes) -> None:
        """Remember a request for ``replay_late``."""
        self._late.append((method, path, body))

    def answer(self, method: str, path: str, body: bytes, parameters: str = "") -> Answer:
        """Carry a request out."""
        try:
            asked = Asked(method, path, Parameters.model_validate(dict(parse_qsl(parameters))))
        except ValidationError as error:
            return Answer(400, error=f"Query deserialize error: {error.error_count()} errors")
        for wanted, pattern, handler in _ROUTES:
            match = re.fullmatch(pattern, path)
            if wanted == method and match is not None:
                with self._lock:
                    self.asked.append(asked)
                    self._parameters = asked.parameters
                    return self._carry_out(handler, match.groups(), body)
        return Answer(404, error=f"no route {method} {path}")

    def _carry_out(
        self, handler: Callable[..., object], names: tuple[str, ...], body: bytes
    ) -> Answer:
        try:
            return Answer(200, result=handler(self, *names, *([body] if body else [])))
        except ValidationError as error:
            return Answer(400, error=f"Format error in JSON body: {error.error_count()} errors")
        except TooFewReplicasError as error:
            return Answer(500, error=f"Service internal error: {error}")
        except KeyError as error:
            return Answer(404, error=f"Not found: No point with id {error} found")
        except ValueError as error:
            text = str(error)
            if "not found" in text and "vector" not in text:
                return Answer(404, error=f"Not found: {text}")
            return Answer(409 if "already exists" in text else 400, error=text)

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The requests that arrive during a ``with``: ``METHOD /path`` each."""
        heard: list[str] = []
        self._heard = heard
        yield heard
        self._heard = []

    def hear(self, method: str, path: str) -> None:
        """Note a request."""
        self._heard.append(f"{method} {path}")

    # --- routes ---------------------------------------------------------------------

    def root(self) -> object:
        return models.VersionInfo(title="qdrant - vector search engine", version=self.version)

    def forget_index(self, name: str, field: str) -> None:
        """Let a collection be one that was made without this payload index."""
        del self._indexes[name][field]

    def get_collections(self) -> object:
        return self.client.get_collections()

    def get_collection(self, name: str) -> object:
        info = self.client.get_collection(name)
        kept = {**_SERVERS_OWN, **self._params.get(name, {})}
        params = info.config.params.model_copy(update=kept)
        return info.model_copy(
            update={
                "payload_schema": self._indexes.get(name, {}),
                "config": info.config.model_copy(update={"params": params}),
            }
        )

    def get_cluster(self, name: str) -> object:
        """Every shard has a copy on each node; those that lag say nothing of it."""
        self.client.get_collection(name)
        count = self._param(name, "shard_number")
        return models.CollectionClusterInfo(
            peer_id=0,
            shard_count=count,
            local_shards=[
                models.LocalShardInfo(
                    shard_id=shard, points_count=0, state=models.ReplicaState.ACTIVE
                )
                for shard in range(count)
            ],
            remote_shards=[
                models.RemoteShardInfo(shard_id=shard, peer_id=peer, state=self._state(peer))
                for peer in range(1, len(self.replicas.clients))
                for shard in range(count)
            ],
            shard_transfers=[],
        )

    def _param(self, name: str, param: str) -> int:
        info = self.get_collection(name)
        assert isinstance(info, models.CollectionInfo)
        return int(getattr(info.config.params, param))

    def _state(self, peer: int) -> models.ReplicaState:
        is_up = self.replicas.is_up(peer)
        return models.ReplicaState.ACTIVE if is_up else models.ReplicaState.DEAD

    def collection_exists(self, name: str) -> object:
        return {"exists": self.client.collection_exists(name)}

    def create_collection(self, name: str, body: bytes) -> object:
        asked = models.CreateCollection.model_validate_json(body)
        done = self.replicas.everywhere(
            lambda client: client.create_collection(
                name,
                vectors_config=asked.vectors,
                sparse_vectors_config=asked.sparse_vectors,
                metadata=asked.metadata,
            )
        )
        self.created[name] = asked
        self._params[name] = asked.model_dump(include=set(_SERVERS_OWN), exclude_none=True)
        return done

    def update_collection(self, name: str, body: bytes) -> object:
        asked = models.UpdateCollection.model_validate_json(body)
        if asked.params is None:
            self.options[name] = asked
        else:
            changed = asked.params.model_dump(exclude_none=True)
            self._params[name] = {**self._params.get(name, {}), **changed}
        return self.replicas.everywhere(
            lambda client: client.update_collection(
                name, vectors_config=asked.vectors, metadata=asked.metadata
            )
        )

    def delete_collection(self, name: str) -> object:
        self._indexes.pop(name, None)
        self._params.pop(name, None)
        return self.replicas.everywhere(lambda client: client.delete_collection(name))

    def create_index(self, name: str, body: bytes) -> object:
        asked = models.CreateFieldIndex.model_validate_json(body)
        if not isinstance(asked.field_schema, models.KeywordIndexParams | models.TextIndexParams):
            raise ValueError("only keyword and text indexes are known here")  # noqa: TRY004 - a bad request
        self.client.get_collection(name)
        self._indexes.setdefault(name, {})[asked.field_name] = models.PayloadIndexInfo(
            data_type=models.PayloadSchemaType(asked.field_schema.type.value),
            params=asked.field_schema,
            points=0,
        )
        return _completed()

    def get_aliases(self) -> object:
        return self.client.get_aliases()

    def change_aliases(self, body: bytes) -> object:
        asked = models.ChangeAliasesOperation.model_validate_json(body)
        return self.replicas.everywhere(
            lambda client: client.update_collection_aliases(asked.actions)
        )

    def upsert(self, name: str, body: bytes) -> object:
        def write(client: QdrantClient) -> object:
            asked = TypeAdapter(models.PointsList).validate_json(body)
            return client.upsert(name, asked.points, update_filter=asked.update_filter)

        return self._write(name, write)

    def retrieve(self, name: str, body: bytes) -> object:
        asked = models.PointRequest.model_validate_json(body)
        return self._read(
            lambda client: client.retrieve(
                name,
                asked.ids,
                with_payload=_or(asked.with_payload, default=True),
                with_vectors=_or(asked.with_vector, default=False),
            ),
            agreed,
        )

    def delete(self, name: str, body: bytes) -> object:
        asked: models.PointsSelector = TypeAdapter(models.PointsSelector).validate_json(body)
        return self._write(name, lambda client: client.delete(name, points_selector=asked))

    def batch(self, name: str, body: bytes) -> object:
        def write(client: QdrantClient) -> object:
            asked = models.UpdateOperations.model_validate_json(body)
            return client.batch_update_points(name, asked.operations)

        return self._write(name, write)

    def _write(self, name: str, act: Callable[[QdrantClient], object]) -> object:
        self.client.get_collection(name)
        factor = self._param(name, "write_consistency_factor")
        return self.replicas.write(act, factor=factor)

    def _read(
        self, act: Callable[[QdrantClient], T], join: Callable[[Sequence[T], Condition], T]
    ) -> T:
        return self.replicas.read(act, consistency=self._parameters.consistency, join=join)

    def scroll(self, name: str, body: bytes) -> object:
        asked = models.ScrollRequest.model_validate_json(body)
        if (typed := _typed(asked.filter)) is not None:
            return self._complete(name, asked, typed)
        limit = asked.limit or 10
        points = self._read(
            lambda client: client.scroll(
                name,
                scroll_filter=asked.filter,
                limit=limit + 1,
                offset=asked.offset,
                with_payload=_or(asked.with_payload, default=True),
                with_vectors=_or(asked.with_vector, default=False),
            )[0],
            agreed,
        )
        # As the server does: a page that became shorter by disagreement is taken for the last.
        points = sorted(points, key=lambda point: str(point.id))
        following = points[limit].id if len(points) > limit else None
        return {"points": points[:limit], "next_page_offset": following}

    def _complete(self, name: str, asked: models.ScrollRequest, typed: str) -> object:
        """By the words that begin as typed: the client in memory knows whole words only."""
        self.client.get_collection(name)
        indexed = self._indexes.get(name, {}).get("text")
        if indexed is None or indexed.params.tokenizer != models.TokenizerType.PREFIX:  # type: ignore[union-attr]
            raise ValueError("the stub completes by an index of prefixes alone")
        assert isinstance(asked.filter, models.Filter)
        assert isinstance(asked.filter.must, list)
        others = models.Filter(must=[it for it in asked.filter.must if _typed_in(it) is None])
        points, _ = self.client.scroll(name, scroll_filter=others, limit=10_000)
        hits = [
            point for point in points if begins_as_typed(str((point.payload or {})["text"]), typed)
        ]
        return {"points": hits[: asked.limit or 10], "next_page_offset": None}

    def count(self, name: str, body: bytes) -> object:
        asked = models.CountRequest.model_validate_json(body)
        return self._read(
            lambda client: client.count(name, count_filter=asked.filter, exact=True), agreed_count
        )

    def facet(self, name: str, body: bytes) -> object:
        asked = models.FacetRequest.model_validate_json(body)
        self.client.get_collection(name)
        if asked.key not in self._indexes.get(name, {}):
            raise ValueError(f"No appropriate index for faceting: `{asked.key}`")
        return self._read(
            lambda client: client.facet(
                name, key=asked.key, facet_filter=asked.filter, limit=asked.limit or 10, exact=True
            ),
            agreed_facets,
        )

    def query(self, name: str, body: bytes) -> object:
        return self._query(name, models.QueryRequest.model_validate_json(body))

    def query_batch(self, name: str, body: bytes) -> object:
        asked = models.QueryRequestBatch.model_validate_json(body)
        return [self._query(name, search) for search in asked.searches]

    def _query(self, name: str, asked: models.QueryRequest) -> object:
        asks: list[models.QueryRequest | models.Prefetch] = [asked]
        asks += asked.prefetch if isinstance(asked.prefetch, list) else []
        self.search_params += [one.params for one in asks if one.using not in {None, "bm25"}]
        points = self._read(
            lambda client: (
                client.query_points(
                    name,
                    query=asked.query,
                    using=asked.using,
                    prefetch=asked.prefetch,
                    query_filter=asked.filter,
                    search_params=asked.params,
                    limit=asked.limit or 10,
                    with_payload=_or(asked.with_payload, default=False),
                ).points
            ),
            agreed,
        )
        return {"points": points}


def _typed(matching: object) -> str | None:
    """What a filter wants words to begin with."""
    conditions = getattr(matching, "must", None) or []
    return next((typed for it in conditions if (typed := _typed_in(it)) is not None), None)


def _typed_in(condition: object) -> str | None:
    match = getattr(condition, "match", None)
    return match.text if isinstance(match, models.MatchText) else None


_NAME: Final = "/collections/([^/]+)"
_ROUTES: Final[tuple[tuple[str, str, Callable[..., object]], ...]] = (
    ("GET", "/", QdrantStub.root),
    ("GET", "/collections", QdrantStub.get_collections),
    ("GET", "/aliases", QdrantStub.get_aliases),
    ("POST", "/collections/aliases", QdrantStub.change_aliases),
    ("GET", _NAME, QdrantStub.get_collection),
    ("GET", f"{_NAME}/exists", QdrantStub.collection_exists),
    ("GET", f"{_NAME}/cluster", QdrantStub.get_cluster),
    ("PUT", _NAME, QdrantStub.create_collection),
    ("PATCH", _NAME, QdrantStub.update_collection),
    ("DELETE", _NAME, QdrantStub.delete_collection),
    ("PUT", f"{_NAME}/index", QdrantStub.create_index),
    ("PUT", f"{_NAME}/points", QdrantStub.upsert),
    ("POST", f"{_NAME}/points", QdrantStub.retrieve),
    ("POST", f"{_NAME}/points/delete", QdrantStub.delete),
    ("POST", f"{_NAME}/points/batch", QdrantStub.batch),
    ("POST", f"{_NAME}/points/scroll", QdrantStub.scroll),
    ("POST", f"{_NAME}/points/count", QdrantStub.count),
    ("POST", f"{_NAME}/facet", QdrantStub.facet),
    ("POST", f"{_NAME}/points/query", QdrantStub.query),
    ("POST", f"{_NAME}/points/query/batch", QdrantStub.query_batch),
)


@contextmanager
def running_stub(replicas: int = 1, *, address: str = "127.0.0.1") -> Iterator[QdrantStub]:
    """A stub at ``stub.url`` on this machine, for the length of a ``with``."""
    stub = QdrantStub(replicas)

    class Handler(_Handler):
        pass

    Handler.stub = stub
    server = _Server((address, 0), Handler)
    server.stub = stub
    stub.url = f"http://{address}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield stub
    finally:
        stub.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
        server.hang_up()
        stub.replicas.close()


class _Server(ThreadingHTTPServer):
    stub: QdrantStub

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.stub.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that time out hang up: that is what they are here for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: QdrantStub

    def do_GET(self) -> None:
        self._serve("GET")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _serve(self, method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"]) -> None:
        path, _, parameters = self.path.partition("?")
        self.stub.hear(method, path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        refusal = self._refusal(body)
        if refusal is not None:
            self._reply(refusal)
            return
        step = self.stub.take_step(method, path)
        if step.fault in {Fault.OK, Fault.DUPLICATE_LATE}:
            if step.fault is Fault.DUPLICATE_LATE:
                self.stub.keep_late(method, path, body)
            self._reply(self.stub.answer(method, path, body, parameters))
            return
        if step.is_applied:
            self.stub.answer(method, path, body, parameters)
        self._fail(step)

    def _refusal(self, body: bytes) -> Answer | None:
        if self.stub.api_key is not None and self.headers.get("api-key") != self.stub.api_key:
            return Answer(401, error="Must provide an API key")
        if len(body) > self.stub.max_body_bytes:
            return Answer(413, error=f"{len(body)} bytes are too many")
        return None

    def _fail(self, step: Step) -> None:
        if step.fault is Fault.RESET:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
        elif step.fault is Fault.SLOW:
            self.stub.stopping.wait(30)
            self.close_connection = True
        elif step.fault is Fault.HTML:
            self._send(200, _HTML, content_type="text/html")
        elif step.fault in _STATED:
            stated = {"operation_id": 1, "status": step.fault.value}
            is_batch = self.path.partition("?")[0].endswith("/points/batch")
            self._reply(Answer(200, result=[stated] if is_batch else stated))
        elif step.fault is Fault.ACCEPTED:
            self._reply(Answer(202))
        else:
            self._reply(
                Answer(_STATUSES[step.fault], error=f"told to answer {step.fault}"),
                retry_after=step.retry_after,
            )

    def _reply(self, answer: Answer, *, retry_after: str | None = None) -> None:
        status: object = {"error": answer.error} if answer.error else "ok"
        content: dict[str, Any] = {"time": 0.0, "status": status}
        if answer.error is None:
            content["result"] = to_jsonable_python(answer.result, exclude_none=True)
            if isinstance(answer.result, models.VersionInfo):
                content = content["result"]
        self._send(answer.status, json.dumps(content).encode(), retry_after=retry_after)

    def _send(
        self,
        status: int,
        content: bytes,
        *,
        content_type: str = "application/json",
        retry_after: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)


def _completed() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _or(value: Any, *, default: bool) -> Any:
    return default if value is None else value
