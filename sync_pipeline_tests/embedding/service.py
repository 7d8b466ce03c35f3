"""A small embeddings service with OpenAI's interface, for tests: with limits, prices and faults."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline_tests.embedding.batch_desk import BatchDesk
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

DIMENSION = 16
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer; ``body`` None means what a working service would say."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Do the work, and close the connection without an answer."""
    hangs_seconds: float = 0
    """Do the work, and let the client wait for so long."""
    cuts_at: int | None = None
    """Send so many bytes of the body and close the connection."""
    cuts_json: bool = False
    """Send half of the body as if it were all of it."""

    @property
    def is_done(self) -> bool:
        """Whether the work is done, and charged."""
        return self.status == 200


OK = Answer()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """What the service allows in a minute; unused allowance is kept for a minute at most."""

    requests_per_minute: float = 1e12
    tokens_per_minute: float = 1e12
    states_headers: bool = True


class Allowance:
    """Two buckets that fill as time passes, by which a request is taken or refused."""

    def __init__(self, limits: ServiceLimits, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._seen_at = clock()
        self.requests_left = limits.requests_per_minute
        self.tokens_left = limits.tokens_per_minute

    def take(self, tokens: int) -> float:
        """Take a request: 0, or seconds until one like it would be taken."""
        now = self._clock()
        passed, self._seen_at = now - self._seen_at, now
        requests, total = self._limits.requests_per_minute, self._limits.tokens_per_minute
        self.requests_left = min(requests, self.requests_left + passed * requests / _MINUTE)
        self.tokens_left = min(total, self.tokens_left + passed * total / _MINUTE)
        lacking = max(
            (1 - self.requests_left) * _MINUTE / requests,
            (tokens - self.tokens_left) * _MINUTE / total,
            0.0,
        )
        if lacking == 0:
            self.requests_left -= 1
            self.tokens_left -= tokens
        return lacking

    def headers(self) -> dict[str, str]:
        """What an answer says of it, as OpenAI writes it."""
        if not self._limits.states_headers:
            return {}
        stated: dict[str, str] = {}
        for kind, limit, left in (
            ("requests", self._limits.requests_per_minute, self.requests_left),
            ("tokens", self._limits.tokens_per_minute, self.tokens_left),
        ):
            stated |= {
                f"x-ratelimit-limit-{kind}": f"{limit:.0f}",
                f"x-ratelimit-remaining-{kind}": f"{max(0, int(left))}",
                f"x-ratelimit-reset-{kind}": f"{(limit - left) * _MINUTE / limit * 1000:.0f}ms",
            }
        return stated


@dataclass(slots=True)
class EmbeddingService:
    """What was asked, what it took, and what is answered next; used by any number of threads."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    """Answers in order; when it is used up the service works."""
    requests: list[dict[str, object]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request, by names in lower case."""
    model: str = "fake-embedder"
    """Which fake model answers, whatever model was asked for."""
    window: int | None = None
    """Characters of a text that it reads."""
    states_usage: bool = True
    latency_seconds: float = 0
    calls: int = 0
    """Requests whose work was done, and is charged, whether or not an answer arrived."""
    tokens: int = 0
    """Of them."""
    refused: int = 0
    """Requests beyond the limits."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    allowance: Allowance | None = None
    batches: BatchDesk = field(default_factory=BatchDesk)

    def texts(self) -> list[str]:
        """Every text of every request."""
        return [text for request in self.requests for text in request["input"]]  # type: ignore[attr-defined]  # a list by construction

    def limit(self, limits: ServiceLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Refuse what is beyond limits from now on."""
        self.allowance = Allowance(limits, clock=clock)


def tokens_of(texts: Sequence[str]) -> int:
    """What the service charges for texts: a little more than a third of their bytes."""
    return sum(len(text.encode()) // 3 + 1 for text in texts)


def _written(vector: NDArray[np.float32], *, is_base64: bool) -> object:
    """A vector as it was asked for."""
    if is_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


def vectors_for(
    texts: list[str],
    *,
    model: str = "fake-embedder",
    window: int | None = None,
    dimension: int = DIMENSION,
    states_usage: bool = True,
    is_base64: bool = False,
) -> bytes:
    """The answer of a working service, last text first."""
    fake = FakeEmbedder(dimension=dimension, max_batch=len(texts), model_id=model)
    data = [
        {
            "index": place,
            "object": "embedding",
            "embedding": _written(fake.vector(text[:window]) * 3, is_base64=is_base64),
        }
        for place, text in enumerate(texts)
    ]
    tokens = tokens_of(texts)
    usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if states_usage else {}
    return json.dumps({"object": "list", "data": data[::-1], "model": "stub", **usage}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, service: EmbeddingService) -> None:
        self.service = service
        super().__init__((address, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up waiting is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._at_the_desk(b"")

    def do_DELETE(self) -> None:
        self._at_the_desk(b"")

    def _at_the_desk(self, body: bytes) -> None:
        service = self.server.service
        with service.lock:
            service.headers.append({name.lower(): it for name, it in self.headers.items()})
            answer = service.script.pop(0) if service.script else OK
            status, said = service.batches.answer(self.command, self.path, body)
        if answer.breaks:
            self.close_connection = True
        else:
            self._send(
                Answer(status=answer.status if status == 200 else status), body=said, headers={}
            )

    def do_POST(self) -> None:
        service = self.server.service
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.endswith("/embeddings"):
            self._at_the_desk(body)
            return
        request = json.loads(body)
        texts = request["input"]
        with service.lock:
            service.requests.append(request)
            service.keys.append(self.headers.get("Authorization"))
            service.paths.append(self.path)
            service.headers.append({name.lower(): it for name, it in self.headers.items()})
            answer = service.script.pop(0) if service.script else OK
            answer, headers = _within_limits(service, answer, texts)
            if answer.is_done:
                service.calls += 1
                service.tokens += tokens_of(texts)
        time.sleep(service.latency_seconds + answer.hangs_seconds)
        if answer.breaks:
            self.close_connection = True
            return
        said = answer.body
        if said is None:
            said = vectors_for(
                texts,
                model=service.model,
                window=service.window,
                dimension=request.get("dimensions", DIMENSION),
                states_usage=service.states_usage,
                is_base64=request.get("encoding_format") == "base64",
            )
        self._send(answer, body=said, headers=headers)

    def _send(self, answer: Answer, *, body: bytes, headers: Mapping[str, str]) -> None:
        if answer.cuts_json:
            body = body[: len(body) // 2]
        self.send_response(answer.status)
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: answer.cuts_at])
        if answer.cuts_at is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        pass


@contextmanager
def running_service(*script: Answer, address: str = "127.0.0.1") -> Iterator[EmbeddingService]:
    """A service on this machine for the length of the ``with``."""
    service = EmbeddingService(script=list(script))
    server = _Server(address, service)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    service.url = f"http://{address}:{server.server_address[1]}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _within_limits(
    service: EmbeddingService, answer: Answer, texts: Sequence[str]
) -> tuple[Answer, Mapping[str, str]]:
    """The answer, or a refusal where it would be beyond the limits; and what headers say."""
    if service.allowance is None or answer.status != 200:
        return answer, {}
    lacking = service.allowance.take(tokens_of(texts))
    headers = service.allowance.headers()
    if lacking == 0:
        return answer, headers
    service.refused += 1
    return Answer(status=429, body=b"{}", headers={"Retry-After": f"{lacking:.3f}"}), headers
