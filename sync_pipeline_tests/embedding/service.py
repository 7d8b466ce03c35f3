"""A small embeddings service with OpenAI's interface, for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sync_pipeline_tests.fakes.embedder import FakeEmbedder

DIMENSION = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer; ``body`` None means what a working service would say."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Close the connection without an answer."""


OK = Answer()


@dataclass(slots=True)
class EmbeddingService:
    """What was asked, and what is answered next."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    """Answers in order; when it is used up the service works."""
    requests: list[dict[str, object]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    model: str = "fake-embedder"
    """Which fake model answers, whatever model was asked for."""
    window: int | None = None
    """Characters of a text that it reads."""

    def texts(self) -> list[str]:
        """Every text of every request."""
        return [text for request in self.requests for text in request["input"]]  # type: ignore[attr-defined]  # a list by construction


def vectors_for(
    texts: list[str], *, model: str = "fake-embedder", window: int | None = None
) -> bytes:
    """The answer of a working service, last text first."""
    fake = FakeEmbedder(dimension=DIMENSION, max_batch=len(texts), model_id=model)
    data = [
        {
            "index": place,
            "object": "embedding",
            "embedding": (fake.vector(text[:window]) * 3).tolist(),
        }
        for place, text in enumerate(texts)
    ]
    return json.dumps({"object": "list", "data": data[::-1], "model": "stub"}).encode()


@contextmanager
def running_service(*script: Answer) -> Iterator[EmbeddingService]:
    """A service on this machine for the length of the ``with``."""
    service = EmbeddingService(script=list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.requests.append(request)
            service.keys.append(self.headers.get("Authorization"))
            service.paths.append(self.path)
            answer = service.script.pop(0) if service.script else OK
            if answer.breaks:
                self.close_connection = True
                return
            body = answer.body
            if body is None:
                body = vectors_for(request["input"], model=service.model, window=service.window)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
