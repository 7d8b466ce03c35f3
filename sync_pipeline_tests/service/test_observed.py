"""Requests as logs and traces show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode

from sync_pipeline.log_file import log_to_file, stop_logging_to_file
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.logged import Logged
from sync_pipeline_tests.service.served import Served
from sync_pipeline_tests.tracing.spans import Spans, is_inside, trace_of

CANARY = "hunter2canary"
TRACE, PARENT = "a" * 32, "b" * 16


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def served(tmp_path: Path, spans: Spans) -> Iterator[Served]:
    """A service whose requests are measured."""

    def prepare(run: CommandLine) -> None:
        run.use(replace(run.sync, tracer=spans.tracer))

    served = Served(tmp_path, prepare=prepare)
    with served.client:
        yield served


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Logged]:
    """An open log, with everything in it."""
    log_to_file(tmp_path / "log.jsonl", level="debug")
    yield Logged(tmp_path / "log.jsonl")
    stop_logging_to_file()


def test_a_search_goes_on_with_the_trace_of_its_caller(served: Served, spans: Spans) -> None:
    answer = served.client.post(
        "/api/search",
        json={"query": f"{CANARY} cladding"},
        headers={**served.headers(), "traceparent": f"00-{TRACE}-{PARENT}-01"},
    )

    request, search = spans.one("POST /api/search"), spans.one("search")
    assert answer.status_code == 200
    assert request.parent is not None
    assert (trace_of(request), request.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert is_inside(search, request)
    assert {span.name for span in spans.finished if is_inside(span, search)} == {"encode", "index"}
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/api/search",
        "http.response.status_code": 200,
        "sync_pipeline.request_id": answer.headers["x-request-id"],
    }
    assert CANARY not in spans.text


def test_a_sync_that_is_asked_for_is_named_where_it_was_asked_for(
    served: Served, spans: Spans
) -> None:
    answer = served.client.post(
        "/api/sync/run",
        json={"scopes": ["acme"], "force": True},
        headers={
            **served.headers(role="worker", tenant_id=None),
            "traceparent": f"00-{TRACE}-{PARENT}-01",
        },
    )

    asked = spans.one("sync request")
    assert trace_of(asked) == int(TRACE, 16)
    assert dict(asked.attributes or {}) == {
        "sync_pipeline.sync_request": answer.json()["id"],
        "sync_pipeline.scopes": 1,
    }


def test_what_a_caller_makes_up_is_in_no_span(served: Served, spans: Spans) -> None:
    served.client.get(f"/{CANARY}?q={CANARY}", headers={"traceparent": CANARY})
    served.client.request(CANARY.upper(), "/api/search", headers=served.headers())

    assert {span.name for span in spans.finished} == {"GET other", "HTTP /api/search"}
    assert CANARY not in spans.text.lower()


def test_a_request_that_breaks_is_marked(
    served: Served, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setattr("sync_pipeline.service.routes.search.suggest_as", broken)

    served.client.get("/api/suggest?q=x", headers=served.headers())

    request = spans.one("GET /api/suggest")
    assert request.status.status_code is StatusCode.ERROR
    assert CANARY not in spans.text


def test_each_request_is_a_line_of_the_log_without_its_words(
    served: Served, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = served.client.get(f"/api/suggest?q={CANARY}", headers=served.headers())
    served.search(CANARY)

    def broken(*_arguments: object, **_named: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setattr("sync_pipeline.service.routes.search.suggest_as", broken)
    served.client.get(f"/api/suggest?q={CANARY}", headers=served.headers())

    first, *_, last = logged.events("request_answered")
    (broke,) = [line for line in logged.lines if line["logger"].endswith("service.problems")]
    assert (first["method"], first["route"], first["status"]) == ("GET", "/api/suggest", 200)
    assert first["request_id"] == answer.headers["x-request-id"]
    assert broke["error"]["code"] == "ValueError"
    assert (last["route"], last["status"]) == ("/api/suggest", 500)
    assert CANARY not in logged.text
