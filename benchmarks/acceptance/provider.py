"""The real model behind an embeddings service, which keeps every text that it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.ports import Embedder

REFUSED: Final = "unspeakable"
"""A request with a text that holds this word is refused."""


@dataclass(slots=True)
class Provider:
    """A service with OpenAI's interface; what it was asked is what was embedded."""

    embedder: Embedder
    url: str = ""
    embedded: list[str] = field(default_factory=list)
    """Every text that got a vector, canaries left out, in the order of the requests."""
    canaries: int = 0
    """Texts of canaries that got a vector."""
    refused: int = 0
    """Requests that were refused."""

    def taken(self) -> list[str]:
        """What was embedded since this was last asked."""
        taken, self.embedded = self.embedded, []
        return taken

    def answer(self, texts: Sequence[str]) -> tuple[int, object]:
        """Status and body."""
        if any(REFUSED in text for text in texts):
            self.refused += 1
            said = {"message": "this text is refused", "type": "invalid_request_error"}
            return 400, {"error": said}
        vectors = self.embedder.embed(texts).vectors
        documents = [text for text in texts if text not in CANARY_TEXTS]
        self.embedded += documents
        self.canaries += len(texts) - len(documents)
        data = [
            {"object": "embedding", "index": place, "embedding": vector.tolist()}
            for place, vector in enumerate(vectors)
        ]
        return 200, {"object": "list", "data": data, "model": self.embedder.model_id}


@contextmanager
def providing(embedder: Embedder) -> Iterator[Provider]:
    """The service, on this machine, for the length of the ``with``."""
    provider, turn = Provider(embedder), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                status, answer = provider.answer(asked["input"])
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - as inherited
            del format

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
