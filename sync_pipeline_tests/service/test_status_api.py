"""How everything stands, asked over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline_tests.service.served import Served


def status(
    served: Served, query: str = "", *, role: str = "admin", tenant: str | None = None
) -> Any:
    answer = served.client.get(f"/api/sync/status{query}", headers=served.headers(role, tenant))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_everything_is_told_per_scope_entity_and_view(served: Served) -> None:
    answer = status(served, "?sort=scope&descending=false")

    assert answer["health_percent"] == 100.0
    assert answer["problems"] == ["1 row cannot become a document"]
    assert [it["scope_key"] for it in answer["scopes"]] == ["acme", "global", "globex"]
    assert answer["total_scopes"] == 3
    (acme, _, globex) = answer["scopes"]
    assert (acme["rows"], acme["documents"], acme["coverage"]) == (2, 2, 1.0)
    assert [(it["entity"], it["view"], it["state"]) for it in globex["views"]] == [
        ("material", "text", "synced"),
        ("work", "text", "synced"),
    ]
    assert globex["quarantined"] == 1
    assert answer["measured"] is None


def test_a_tenant_sees_its_own_scope_and_the_global_one_only(served: Served) -> None:
    answer = status(served, role="tenant", tenant="acme")

    assert {it["scope_key"] for it in answer["scopes"]} == {"acme", "global"}
    assert (answer["total_scopes"], answer["problems"]) == (2, [])


def test_pages_are_as_long_as_is_asked_for(served: Served) -> None:
    answer = status(served, "?sort=scope&descending=false&limit=1&offset=1")

    assert [it["scope_key"] for it in answer["scopes"]] == ["global"]
    assert answer["total_scopes"] == 3


def test_an_operator_may_have_everything_counted_now(served: Served) -> None:
    answer = status(served, "?measured=true&q=globex", role="worker")

    assert [(it["scope_key"], it["source_rows"], it["points"]) for it in answer["measured"]] == [
        ("globex", 3, 2)
    ]


def test_a_tenant_may_not_have_everything_counted(served: Served) -> None:
    answer = served.client.get(
        "/api/sync/status?measured=true", headers=served.headers("tenant", "acme")
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "offset=-1", "sort=nonsense"])
def test_a_page_that_there_cannot_be_is_refused(served: Served, query: str) -> None:
    answer = served.client.get(f"/api/sync/status?{query}", headers=served.headers("admin", None))

    assert answer.status_code == 422
