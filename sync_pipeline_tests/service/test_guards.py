"""What every request passes: limits, headers, an id; and what a service without sign-in refuses."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

import pytest

from sync_pipeline_tests.service.served import Served, serving


def search(served: Served, body: object, **headers: str) -> object:
    return served.client.post("/api/search", json=body, headers={**served.headers(), **headers})


def test_every_answer_has_an_id_and_the_headers_of_a_careful_service(served: Served) -> None:
    answers = [
        served.client.get("/healthz"),
        served.client.get("/nothing/here"),
        served.client.post("/api/search", json={"query": "x"}),
    ]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


@pytest.mark.parametrize("says_length", [True, False])
def test_a_body_that_is_too_long_is_not_read(served: Served, *, says_length: bool) -> None:
    body = json.dumps({"query": "x" * 300_000}).encode()
    content = body if says_length else iter([body[:200_000], body[200_000:]])

    answer = served.client.post("/api/search", content=content, headers=served.headers())

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("length", ["-1", "1e9", "\u0661", "9" * 30])
def test_a_length_that_is_none_is_refused(served: Served, length: str) -> None:
    headers = {**served.headers(), "Content-Length": length.encode()}

    answer = served.client.post("/api/search", content=b"{}", headers=headers)  # type: ignore[arg-type]

    assert answer.status_code == 413


def test_a_caller_who_asks_too_often_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    with serving(tmp_path, requests_per_minute=3) as served:
        own = [served.client.get("/api/suggest?q=x", headers=served.headers()) for _ in range(5)]
        other = served.client.get("/api/suggest?q=x", headers=served.headers(tenant_id="globex"))

    assert [answer.status_code for answer in own] == [200, 200, 200, 429, 429]
    assert int(own[-1].headers["retry-after"]) >= 1
    assert other.status_code == 200


def test_an_answer_that_does_not_begin_in_time_is_a_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()
    with serving(tmp_path, request_seconds=0.3) as served:
        embedder = served.app.state.service.sync.models.main._embedder
        monkeypatch.setattr(embedder, "embed_queries", lambda texts: is_over.wait(20))
        began = time.monotonic()

        answer = served.client.post("/api/search", json={"query": "x"}, headers=served.headers())

        took = time.monotonic() - began
        is_over.set()
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    assert took < 10


def test_no_text_of_a_search_or_document_is_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        served.search("larch cladding")
        served.client.get("/api/suggest?q=larch", headers=served.headers())
        served.client.post("/api/search", json={"query": "larch", "x": 1}, headers=served.headers())

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sync_")]
    assert any("POST /api/search 200" in line for line in ours)
    assert not [line for line in ours if "larch" in line]


# --- without sign-in --------------------------------------------------------------------


def test_without_sign_in_everybody_on_this_machine_is_the_operator(tmp_path: Path) -> None:
    with serving(tmp_path, secret=None) as served:
        answer = served.client.post(
            "http://127.0.0.1:8080/api/search", json={"query": "solar", "tenant_id": "globex"}
        )

    assert answer.json()["hits"][0]["document_id"] == "tenant-material-b1"


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        pytest.param("http://evil.example/api/search", {}, 421, id="a name that leads here"),
        pytest.param("http://127.0.0.1.evil.example/api/search", {}, 421, id="a name like ours"),
        pytest.param(
            "http://localhost/api/search", {"Origin": "https://evil.example"}, 403, id="a page"
        ),
        pytest.param(
            "http://localhost/api/search", {"Origin": "null"}, 403, id="a page without an origin"
        ),
        pytest.param(
            "http://localhost/api/search", {"Sec-Fetch-Site": "cross-site"}, 403, id="another site"
        ),
        pytest.param("http://localhost/api/search", {"Origin": "http://localhost"}, 200, id="ours"),
        pytest.param("http://[::1]:8080/api/search", {}, 200, id="by number"),
        pytest.param("http://[::1]/api/search", {}, 200, id="by number, the usual port"),
        pytest.param(
            "http://localhost/api/search", {"Host": "[::1"}, 421, id="a name that is none"
        ),
        pytest.param(
            "http://localhost/api/search",
            {"Origin": "http://[::1"},
            403,
            id="an origin that is none",
        ),
    ],
)
def test_without_sign_in_pages_of_others_get_nothing(
    tmp_path: Path, url: str, headers: dict[str, str], status: int
) -> None:
    with serving(tmp_path, secret=None) as served:
        answer = served.client.post(url, json={"query": "x"}, headers=headers)

    assert answer.status_code == status
