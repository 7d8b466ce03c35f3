"""Search over HTTP: what the engine finds, as the caller, and not a word of anybody else's."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import StoreLockedError, StoreUnavailableError
from sync_pipeline.core.scope import Scope
from sync_pipeline.service.routes import search as search_routes
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.service.served import Served, serving


def ids(answer: Any) -> list[str]:
    return [hit["document_id"] for hit in answer["hits"]]


def test_a_tenant_finds_its_own_and_the_global_documents(served: Served) -> None:
    answer = served.search("cladding", limit=100)

    assert set(ids(answer)) == {
        "tenant-material-a1",
        "tenant-work-a2",
        "global-material-g1",
        "global-work-g2",
    }
    assert set(answer["in_sync_to"]) == {"global", "acme"}
    assert all(answer["in_sync_to"].values())
    assert answer["hits"][0]["payload"]["scope_key"] in {"acme", "global"}


@pytest.mark.parametrize("named", ["globex", "acme ", "GLOBAL", "global"])
def test_a_tenant_cannot_search_as_anybody_else(served: Served, named: str) -> None:
    answer = served.client.post(
        "/api/search", json={"query": "solar panel", "tenant_id": named}, headers=served.headers()
    )

    assert answer.status_code == 403
    assert "globex" not in answer.text


@pytest.mark.parametrize("role", ["worker", "admin"])
def test_operators_search_as_whom_they_name(served: Served, role: str) -> None:
    own = served.search("solar panel", role=role, tenant=None)
    as_globex = served.search("solar panel", role=role, tenant=None, tenant_id="globex")

    assert "tenant-material-b1" not in ids(own)
    assert ids(as_globex)[0] == "tenant-material-b1"


def test_a_search_can_be_by_words_alone_and_explained(served: Served) -> None:
    answer = served.search("cladding", mode="text", explain=True)

    assert set(ids(answer)) == {"tenant-material-a1", "tenant-work-a2"}
    assert all(hit["rankings"] == {"bm25": place} for place, hit in enumerate(answer["hits"], 1))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param({"unit": "m2"}, {"tenant-material-a1"}, id="a value"),
        pytest.param({"unit": ["m2", "pcs"]}, {"tenant-material-a1"}, id="alternatives"),
        pytest.param({"unit": {"any": ["m2"]}}, {"tenant-material-a1"}, id="an object"),
        pytest.param({"code": 7}, set(), id="a number of another tenant"),
        pytest.param({"unit": {"any": ["m2"], "none": ["m2"]}}, set(), id="both"),
    ],
)
def test_filters_narrow(served: Served, filters: dict[str, Any], expected: set[str]) -> None:
    assert set(ids(served.search("cladding", filters=filters, limit=100))) == expected


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "no query": ({}, 422),
    "an empty query": ({"query": ""}, 422),
    "a blank query": ({"query": "   "}, 400),
    "an endless query": ({"query": "x" * 2_001}, 422),
    "limit 0": ({"query": "x", "limit": 0}, 422),
    "limit a billion": ({"query": "x", "limit": 10**9}, 422),
    "an unknown field": ({"query": "x", "scope": "globex"}, 422),
    "our own field": ({"query": "x", "filters": {"scope_key": "globex"}}, 400),
    "our own field, deep": ({"query": "x", "filters": {"scope_key.a": "globex"}}, 400),
    "our own field, quoted": ({"query": "x", "filters": {'"scope_key"': "globex"}}, 400),
    "a field with brackets": ({"query": "x", "filters": {"scope_key[]": "globex"}}, 400),
    "an unknown payload field": ({"query": "x", "filters": {"colour": "red"}}, 400),
    "an operator": ({"query": "x", "filters": {"unit": {"should": [{"key": "scope_key"}]}}}, 422),
    "a nested list": ({"query": "x", "filters": {"unit": [["m2"]]}}, 422),
    "a bound that is none": ({"query": "x", "filters": {"code": {"gt": "much"}}}, 400),
    "too many values": ({"query": "x", "filters": {"code": list(range(2_000))}}, 400),
    "an unknown view": ({"query": "x", "view": "title"}, 400),
    "an unknown entity": ({"query": "x", "entity": "tool"}, 400),
    "an unknown mode": ({"query": "x", "mode": "magic"}, 422),
    "a query with a lone surrogate": ({"query": "plaster \ud800"}, 422),
    "a lone surrogate": ({"query": "x", "filters": {"unit": "\ud800"}}, 400),
}


@pytest.mark.parametrize(
    ("body", "status"), [pytest.param(*it, id=name) for name, it in BAD.items()]
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    served: Served, body: dict[str, Any], status: int
) -> None:
    headers = {**served.headers(), "Content-Type": "application/json"}
    answer = served.client.post("/api/search", content=json.dumps(body), headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("detail") or answer.json()["errors"]
    assert "globex" not in str(answer.json().get("detail"))


def test_a_batch_answers_each_search_in_order(served: Served) -> None:
    searches: list[dict[str, Any]] = [
        {"query": "cladding", "limit": 1},
        {"query": "tiles", "mode": "text"},
    ]

    answer = served.client.post(
        "/api/search/batch", json={"searches": searches}, headers=served.headers()
    )

    results = answer.json()["results"]
    assert [ids(result) for result in results] == [ids(served.search(**it)) for it in searches]


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_has_1_to_100_searches(served: Served, count: int) -> None:
    body = {"searches": [{"query": "x"}] * count}

    answer = served.client.post("/api/search/batch", json=body, headers=served.headers())

    assert answer.status_code == 422


def test_a_search_of_a_batch_cannot_name_a_tenant_of_its_own(served: Served) -> None:
    body = {"searches": [{"query": "x"}, {"query": "x", "tenant_id": "globex"}]}

    for role in ("tenant", "admin"):
        answer = served.client.post("/api/search/batch", json=body, headers=served.headers(role))
        assert answer.status_code == 400


def test_before_the_first_sync_a_search_is_told_to_come_back(tmp_path: Any) -> None:
    with serving(tmp_path, is_synced=False) as served:
        answer = served.client.post("/api/search", json={"query": "x"}, headers=served.headers())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "nothing has been synced yet" in answer.text


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            StoreLockedError(path="/secret/index", holder="process 7 (globex)", waited_seconds=1),
            id="the embedded index is in use",
        ),
        pytest.param(StoreUnavailableError("http://10.0.0.7: no answer"), id="no server"),
    ],
)
def test_an_index_that_cannot_be_asked_now_is_a_503_that_names_nothing(
    served: Served, error: Exception
) -> None:
    served.run.store.fail_next("query", error)

    answer = served.client.post("/api/search", json={"query": "x"}, headers=served.headers())

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["detail"] == "this cannot be answered now"


def test_a_caller_can_wait_for_its_own_change(tmp_path: Any) -> None:
    with serving(tmp_path) as served:
        feed = FakeChangeFeed()
        feed.install(served.run.sync.entities)
        service = served.app.state.service
        service.sync = replace(service.sync, feed=feed)
        feed.record(Operation.UPDATE, entity_type="material", db_id="a1", old="acme", new="acme")
        (change,) = feed.events
        timer = threading.Timer(0.3, lambda: feed.consume(feed.read(Scope("acme"))))
        timer.start()

        began = time.monotonic()
        answer = served.search("larch", min_change_id=change)
        waited = time.monotonic() - began
        timer.join()
        at_once = served.search("larch", min_change_id=change)

    assert ids(answer) == ids(at_once) != []
    assert waited > 0.25


def test_a_change_that_does_not_become_searchable_is_no_error_of_the_caller(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_routes, "WAIT_SECONDS", 0.1)
    with serving(tmp_path) as served:
        feed = FakeChangeFeed()
        feed.install(served.run.sync.entities)
        service = served.app.state.service
        service.sync = replace(service.sync, feed=feed)
        feed.record(Operation.DELETE, entity_type="material", db_id="b1", old="globex")
        feed.record(Operation.UPDATE, entity_type="material", db_id="a1", old="acme", new="acme")
        others, own = feed.events

        served.search("larch", min_change_id=others)
        answer = served.client.post(
            "/api/search", json={"query": "x", "min_change_id": own}, headers=served.headers()
        )

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_only_fields_that_the_settings_open_can_be_filtered_on(tmp_path: Any) -> None:
    with serving(tmp_path, filter_fields=("unit",)) as served:
        open_ = served.search("cladding", filters={"unit": "m2"})
        closed = served.client.post(
            "/api/search",
            json={"query": "x", "filters": {"code": 1}},
            headers=served.headers(),
        )

    assert ids(open_) == ["tenant-material-a1"]
    assert (closed.status_code, "these can: unit" in closed.text) == (400, True)


def suggestions(served: Served, typed: str, **query: Any) -> list[str]:
    answer = served.client.get(
        "/api/suggest", params={"q": typed, **query}, headers=served.headers()
    )
    assert answer.status_code == 200, answer.text
    texts: list[str] = answer.json()["suggestions"]
    return texts


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param("char", ["charred larch cladding m2"], id="a beginning"),
        pytest.param("CLADD", ["facade cladding", "charred larch cladding"], id="in the middle"),
        pytest.param("larch cl", ["charred larch cladding"], id="two words"),
        pytest.param("adding", [], id="an end"),
        pytest.param("sol", [], id="a word of another tenant"),
        pytest.param("", [], id="nothing"),
        pytest.param("--", [], id="signs alone"),
    ],
)
def test_what_is_typed_is_completed_by_visible_texts(
    served: Served, typed: str, expected: list[str]
) -> None:
    texts = suggestions(served, typed)

    assert [text.removesuffix(" m2") for text in texts] == [
        text.removesuffix(" m2") for text in expected
    ]


def test_a_tenant_cannot_be_suggested_what_is_anothers(served: Served) -> None:
    answer = served.client.get(
        "/api/suggest", params={"q": "sol", "tenant_id": "globex"}, headers=served.headers()
    )

    assert answer.status_code == 403
