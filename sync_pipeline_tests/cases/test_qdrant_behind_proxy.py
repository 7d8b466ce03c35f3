"""Case qdrant-behind-proxy: Qdrant under a path, and proxies in the environment (scenario S67)."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.fakes.qdrant_stub import running_stub

TABLE = """
CREATE TABLE items (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, name text);
INSERT INTO items VALUES (1, 'acme', false, 'bolt'), (2, 'acme', false, 'nut');
"""
SETTINGS = "entities: [{name: item, table: items, views: {text: [name]}}]\n"
PREFIX = "/qdrant"
PASSED_ON = ("content-type", "api-key")


@contextmanager
def published(backend: str) -> Iterator[tuple[str, list[str]]]:
    """A reverse proxy that publishes a server under a path; its URL, and paths outside it."""
    place = urlsplit(backend).netloc
    outside: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if not self.path.startswith(f"{PREFIX}/") or self.path.startswith(f"{PREFIX}//"):
                outside.append(self.path)
                self.reply(404, b"", kind="text/plain")
                return
            connection = http.client.HTTPConnection(place)
            kept = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            connection.request(self.command, self.path.removeprefix(PREFIX), body, kept)
            answer = connection.getresponse()
            kind = answer.getheader("content-type") or "application/json"
            self.reply(answer.status, answer.read(), kind=kind)
            connection.close()

        def reply(self, status: int, content: bytes, *, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815 - http.server's

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}", outside
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def shop(case: Case) -> Case:
    """The table of the case."""
    case.sql(TABLE)
    case.settings(SETTINGS)
    case.environment["SYNC_PIPELINE__INDEX__TIMEOUT_SECONDS"] = "5"
    return case


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "trailing slash"])
def test_s67_qdrant_under_a_path_is_used(shop: Case, slash: str) -> None:
    """Synced, searched and verified below the path; no request leaves it."""
    with running_stub() as stub, published(stub.url) as (url, outside):
        shop.environment["QDRANT_URL"] = url + slash

        assert shop.scopes("sync", "all")["acme"]["documents"] == 2
        assert "bolt" in shop.found("bolt", tenant="acme")
        assert shop.run("verify", "all").returncode == 0

    assert outside == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/qdrant", "http://127.0.0.1/qdrant/"])
def test_s67_a_path_without_a_port_is_asked_about_at_once(shop: Case, url: str) -> None:
    """Both addresses that may be meant are named, before anything is connected to."""
    before = time.monotonic()

    done = shop.run("doctor", QDRANT_URL=url)

    assert time.monotonic() - before < 20
    assert done.returncode == 2
    for meant in ("http://127.0.0.1:80/qdrant", "http://127.0.0.1:6333/qdrant", "QDRANT_URL"):
        assert meant in done.stderr, done.stderr


def test_s67_proxies_of_the_environment_do_not_stand_before_this_machine(
    shop: Case, dead_port: int
) -> None:
    """Dead HTTP and SOCKS proxies matter to nothing that is on loopback."""
    dead = f"http://127.0.0.1:{dead_port}"
    with running_stub() as stub:
        for url in (stub.url, stub.url.replace("127.0.0.1", "localhost")):
            for everything in (dead, dead.replace("http://", "socks5://"), "socks5h://x:1"):
                shop.environment |= {
                    "QDRANT_URL": url,
                    "HTTP_PROXY": dead,
                    "HTTPS_PROXY": dead,
                    "ALL_PROXY": everything,
                    "http_proxy": dead,
                    "all_proxy": everything,
                }
                assert shop.advice() == ""
        assert shop.scopes("sync", "all")["acme"]["documents"] == 2


def test_s67_a_socks_proxy_before_another_machine_is_named(shop: Case, dead_port: int) -> None:
    """A proxy that cannot be used is the environment's fault and ends in words, not in a trace."""
    shop.environment |= {
        "QDRANT_URL": "http://qdrant.invalid:6333",
        "ALL_PROXY": f"socks5://127.0.0.1:{dead_port}",
    }

    advice = shop.advice()
    done = shop.run("sync", "all")

    assert done.returncode == 2, done.stderr
    for told in (advice, done.stderr):
        assert "on the way to qdrant.invalid" in told
        assert "`ALL_PROXY`" in told
