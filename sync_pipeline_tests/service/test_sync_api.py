"""Asking for syncs over HTTP: nothing is synced here, and nothing is told that is another's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.core.ports import FailedDocument, SyncRequest, SyncRun
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.scope import Scope
from sync_pipeline_tests.cli.installed import row
from sync_pipeline_tests.service.served import Served, serving

NOW = datetime.now(tz=UTC)
WORKER = ("worker", None)
ADMIN = ("admin", None)
ACME = ("tenant", "acme")
GLOBEX = ("tenant", "globex")
Who = tuple[str, str | None]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A service that a test may change; its scopes were synced just now."""
    with serving(tmp_path) as service:
        service.run.source.now = datetime.now(tz=UTC)
        assert service.run("sync", "all").exit_code == 0
        yield service


def get(served: Served, path: str, who: Who = WORKER) -> Any:
    return served.client.get(path, headers=served.headers(*who))


def post(served: Served, path: str, body: Any = None, who: Who = WORKER) -> Any:
    return served.client.post(path, json=body, headers=served.headers(*who))


def stored(served: Served, answer: Any) -> SyncRequest:
    """The request that an answer names."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/sync/requests/{answer.json()['id']}"
    request = served.run.sync.requests.get(answer.json()["id"])
    assert request is not None
    return request


def fail(served: Served, row_id: str, *, tenant: str, error: str = "refused") -> str:
    """Have a document recorded as failed; its id."""
    document_id = f"tenant-material-{row_id}"
    record = served.run.sync.state.get(document_id=document_id)
    assert record is not None
    served.run.sync.state.record_failed(
        scope=Scope(tenant),
        failures=[
            FailedDocument(
                document_id=document_id,
                point_id=record.point_id,
                entity_type="material",
                db_id=row_id,
                error_code="RejectedPointError",
                error=error,
            )
        ],
    )
    return document_id


def due(served: Served) -> dict[str, int]:
    sync = served.run.sync
    return sync.state.count_due_retries()


def change(served: Served, tenant: str = "acme") -> None:
    served.run.source.tables["materials"].append(row("new", "wood glue", tenant=tenant))


# --- run --------------------------------------------------------------------------------


def test_a_sync_that_is_asked_for_is_a_request_and_no_run(own: Served) -> None:
    before = own.run.documents()
    change(own)

    answer = post(own, "/api/sync/run", {"scopes": ["acme"]})

    request = stored(own, answer)
    assert (request.scope_keys, request.mode, request.force) == (("acme",), "full", False)
    assert (request.requested_by, request.status) == ("someone", "pending")
    assert (request.max_deleted_fraction, request.approve_deletions) == (None, None)
    assert answer.json() == {
        "id": request.request_id,
        "status": "pending",
        "scopes": 1,
        "left_out": 0,
        "reasons": {},
    }
    assert own.run.documents() == before


def test_scopes_that_are_as_they_were_synced_are_left_out_with_the_reason(own: Served) -> None:
    change(own)

    answer = post(own, "/api/sync/run", {"scopes": ["all"]})

    assert stored(own, answer).scope_keys == ("acme",)
    assert answer.json()["left_out"] == 2
    assert set(answer.json()["reasons"]) == {"global", "globex"}


def test_nothing_to_do_is_done_at_once(own: Served) -> None:
    answer = post(own, "/api/sync/run", {"scopes": ["acme"]})

    assert (stored(own, answer).status, answer.json()["scopes"]) == ("done", 0)


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        pytest.param(["all"], {"global", "acme", "globex"}, id="all"),
        pytest.param(["tenants"], {"acme", "globex"}, id="tenants"),
        pytest.param(["global"], {"global"}, id="global"),
        pytest.param(["global", "tenants"], {"global", "acme", "globex"}, id="both"),
        pytest.param(["globex", "global", "globex"], {"global", "globex"}, id="named"),
        pytest.param(["tenants", "acme"], {"acme", "globex"}, id="a tenant among all of them"),
    ],
)
def test_force_runs_every_scope_that_is_named(
    own: Served, scopes: list[str], expected: set[str]
) -> None:
    request = stored(own, post(own, "/api/sync/run", {"scopes": scopes, "force": True}))

    assert set(request.scope_keys) == expected
    assert len(request.scope_keys) == len(expected)
    assert request.force


def test_an_incremental_sync_is_passed_on_as_one(own: Served) -> None:
    request = stored(own, post(own, "/api/sync/run", {"scopes": ["acme"], "mode": "incremental"}))

    assert (request.mode, request.scope_keys) == ("incremental", ("acme",))


def test_a_tenant_whose_rows_are_gone_is_not_emptied_by_a_sync_of_all(own: Served) -> None:
    own.run.source.tables["materials"] = [
        it for it in own.run.source.tables["materials"] if it["tenant_id"] != "globex"
    ]

    answer = post(own, "/api/sync/run", {"scopes": ["all"], "force": True})

    assert set(stored(own, answer).scope_keys) == {"global", "acme"}
    assert "has no rows any more" in answer.json()["reasons"]["globex"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"scopes": ["nobody"]}, 404, id="an unknown tenant"),
        pytest.param({"scopes": ["acme", " acme"]}, 404, id="no tenant id"),
        pytest.param({"scopes": ["a\0b"]}, 404, id="a zero byte"),
        pytest.param({"scopes": []}, 422, id="none"),
        pytest.param({"scopes": [""]}, 422, id="empty"),
        pytest.param({"scopes": "all"}, 422, id="a text"),
        pytest.param({"scopes": ["x" * 200]}, 422, id="long"),
        pytest.param({"scopes": ["acme"], "mode": "magic"}, 422, id="mode"),
        pytest.param({"scopes": ["acme"], "max_deleted_fraction": 1}, 422, id="a limit"),
    ],
)
def test_what_cannot_be_asked_for_leaves_no_request(
    own: Served, body: dict[str, Any], status: int
) -> None:
    answer = post(own, "/api/sync/run", body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert own.run.sync.requests.list_recent(limit=10) == []


@pytest.fixture
def called_like_words(own: Served) -> Served:
    """Two more tenants, called ``all`` and ``tenants``, of which nothing is synced yet."""
    own.run.source.tables["materials"] += [
        row("l1", "oak door", tenant="all"),
        row("t1", "ash door", tenant="tenants"),
    ]
    return own


@pytest.mark.parametrize("tenant", ["all", "tenants"])
def test_a_tenant_called_like_a_word_is_synced_by_its_name(
    called_like_words: Served, tenant: str
) -> None:
    answer = post(called_like_words, "/api/sync/run", {"scopes": [f"tenant:{tenant}"]})

    assert stored(called_like_words, answer).scope_keys == (tenant,)


def test_the_words_mean_what_they_always_did(called_like_words: Served) -> None:
    answer = post(called_like_words, "/api/sync/run", {"scopes": ["all"], "force": True})

    assert set(stored(called_like_words, answer).scope_keys) == {
        "global",
        "acme",
        "all",
        "globex",
        "tenants",
    }


@pytest.mark.parametrize("name", ["all", "tenant:all"])
def test_where_one_scope_is_asked_for_its_key_and_its_name_mean_the_same(
    called_like_words: Served, name: str
) -> None:
    pending = post(called_like_words, "/api/sync/batch", {"status": "pending", "scope": name})
    planned = get(called_like_words, f"/api/sync/plan?scope={name}").json()
    refused = post(called_like_words, "/api/sync/approve", {"scope": name, "deletions": 1}, ADMIN)
    listed = get(called_like_words, f"/api/sync/documents?scope={name}").json()

    assert stored(called_like_words, pending).scope_keys == ("all",)
    assert [plan["scope_key"] for plan in planned["scopes"]] == ["all"]
    assert refused.json()["detail"] == "no deletion of scope 'all' waits for approval"
    assert listed["documents"] == []


def test_a_tenant_names_itself_either_way_and_nobody_else(own: Served) -> None:
    answers = {
        name: get(own, f"/api/sync/documents?scope={name}", ACME)
        for name in ("acme", "tenant:acme", "globex", "tenant:globex", "tenant:nobody")
    }

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "acme": 200,
        "tenant:acme": 200,
        "globex": 403,
        "tenant:globex": 403,
        "tenant:nobody": 403,
    }
    assert answers["tenant:acme"].json() == answers["acme"].json()
    assert len({answers[name].json()["detail"] for name in ("globex", "tenant:nobody")}) == 1


def test_an_id_that_begins_like_a_name_is_still_one(own: Served) -> None:
    own.run.source.tables["materials"].append(row("u1", "oak door", tenant="tenant:7"))

    bare = post(own, "/api/sync/run", {"scopes": ["tenant:7"]})
    named = post(own, "/api/sync/run", {"scopes": ["tenant:tenant:7"]})

    assert stored(own, bare).scope_keys == stored(own, named).scope_keys == ("tenant:7",)


def test_a_name_of_nobody_is_told_by_its_id(own: Served) -> None:
    answer = post(own, "/api/sync/run", {"scopes": ["tenant:nobody"]})

    assert answer.status_code == 404
    assert own.run.sync.requests.list_recent(limit=10) == []


def test_a_tenant_starts_no_sync(own: Served) -> None:
    for path, body in (
        ("/api/sync/run", {"scopes": ["acme"]}),
        ("/api/sync/batch", {"status": "pending"}),
        ("/api/sync/batch", {"status": "pending", "scope": "acme"}),
        ("/api/sync/approve", {"scope": "acme", "deletions": 1}),
    ):
        assert post(own, path, body, ACME).status_code == 403
    assert own.run.sync.requests.list_recent(limit=10) == []


# --- following --------------------------------------------------------------------------


def ended(run_id: str, scope_key: str, **more: Any) -> SyncRun:
    return SyncRun(
        run_id=run_id,
        scope_key=scope_key,
        mode="full",
        started_at=NOW,
        finished_at=NOW,
        **{"status": "success", "counts": Counts(rows=3), **more},
    )


def test_a_request_is_followed_to_its_runs(own: Served) -> None:
    requests, runs = own.run.sync.requests, own.run.sync.runs
    made = requests.add(requested_by="someone", scope_keys=["global", "acme", "globex", "x"])
    requests.record_runs(
        made.request_id,
        run_ids={"global": "r1", "acme": "r2", "globex": "r3"},
        status="pending",
    )
    runs.record(ended("r1", "global"))
    runs.record(ended("r3", "globex", status="failed", error="refused to delete"))

    answer = get(own, f"/api/sync/requests/{made.request_id}").json()

    assert (answer["status"], answer["scopes"], answer["started"]) == ("pending", 4, 3)
    assert [(it["scope_key"], it["run_id"], it["status"]) for it in answer["runs"]] == [
        ("global", "r1", "success"),
        ("acme", "r2", "running"),
        ("globex", "r3", "failed"),
        ("x", None, "waiting"),
    ]
    assert answer["runs"][0]["counts"]["rows"] == 3
    assert answer["runs"][2]["error"] == "refused to delete"
    page = get(own, f"/api/sync/requests/{made.request_id}?limit=2&offset=1").json()
    assert [it["scope_key"] for it in page["runs"]] == ["acme", "globex"]


def test_a_tenant_follows_only_what_is_about_its_own_scope(own: Served) -> None:
    requests = own.run.sync.requests
    mine = requests.add(requested_by="boss", scope_keys=["acme"]).request_id
    hidden = [
        requests.add(requested_by="boss", scope_keys=keys).request_id
        for keys in (["globex"], ["global"], ["acme", "globex"])
    ]

    answer = get(own, f"/api/sync/requests/{mine}", ACME)
    refused = [get(own, f"/api/sync/requests/{it}", ACME) for it in (*hidden, uuid.uuid4(), "x")]

    assert answer.status_code == 200
    assert answer.json()["requested_by"] is None
    assert {it.status_code for it in refused} == {404}
    assert len({it.json()["detail"] for it in refused}) == 1


# --- approvals --------------------------------------------------------------------------


def refused(total: int, run_id: str = "r1", scope_key: str = "acme") -> SyncRun:
    return ended(
        run_id,
        scope_key,
        status="failed",
        error=f"refused to delete {total} points",
        facts={"error": "MassDeletionRefusedError", "total": total},
    )


def test_an_approval_names_exactly_what_was_refused(own: Served) -> None:
    own.run.sync.runs.record(refused(30))

    request = stored(own, post(own, "/api/sync/approve", {"scope": "acme", "deletions": 30}, ADMIN))

    assert (request.scope_keys, request.approve_deletions) == (("acme",), 30)
    assert (request.mode, request.force) == ("full", True)
    assert request.max_deleted_fraction is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"scope": "acme", "deletions": 29}, "30 deletions", id="fewer"),
        pytest.param({"scope": "acme", "deletions": 31}, "30 deletions", id="more"),
        pytest.param({"scope": "globex", "deletions": 30}, "no deletion", id="another scope"),
        pytest.param({"scope": "nobody", "deletions": 30}, "no deletion", id="no scope"),
        pytest.param({"scope": " acme", "deletions": 30}, "cannot be used", id="no tenant id"),
    ],
)
def test_another_number_or_scope_is_not_approved(
    own: Served, body: dict[str, Any], message: str
) -> None:
    own.run.sync.runs.record(refused(30))

    answer = post(own, "/api/sync/approve", body, ADMIN)

    assert (answer.status_code, message in answer.json()["detail"]) == (400, True)
    assert own.run.sync.requests.list_recent(limit=1) == []


@pytest.mark.parametrize("deletions", [0, -1, 1.5, "30", True, None, 2**60])
def test_an_approval_is_a_whole_number(own: Served, deletions: object) -> None:
    body = {"scope": "acme", "deletions": deletions}

    assert post(own, "/api/sync/approve", body, ADMIN).status_code == 422


def test_a_success_since_has_settled_a_refusal_and_a_failure_has_not(own: Served) -> None:
    runs = own.run.sync.runs
    runs.record(refused(30))
    later = NOW + timedelta(days=365)
    runs.record(replace(ended("r2", "acme", status="failed"), finished_at=later))
    body = {"scope": "acme", "deletions": 30}
    assert post(own, "/api/sync/approve", body, ADMIN).status_code == 202

    runs.record(replace(ended("r3", "acme"), finished_at=later + timedelta(days=365)))

    assert post(own, "/api/sync/approve", body, ADMIN).status_code == 400


def test_a_worker_approves_nothing(own: Served) -> None:
    own.run.sync.runs.record(refused(30))

    answer = post(own, "/api/sync/approve", {"scope": "acme", "deletions": 30}, WORKER)

    assert answer.status_code == 403


# --- documents --------------------------------------------------------------------------


@pytest.mark.parametrize("who", [ACME, WORKER, ADMIN])
def test_a_failed_document_is_due_at_once_and_its_scope_is_asked_for(own: Served, who: Who) -> None:
    document_id = fail(own, "a1", tenant="acme")
    assert due(own) == {}

    answer = post(own, f"/api/sync/documents/{document_id}/retry", None, who)

    request = stored(own, answer)
    assert (request.scope_keys, request.mode) == (("acme",), "incremental")
    assert due(own) == {"acme": 1}
    assert get(own, answer.headers["location"], who).json()["runs"][0]["status"] == "waiting"


def test_a_document_that_has_not_failed_is_not_tried_again(own: Served) -> None:
    answer = post(own, "/api/sync/documents/tenant-material-a1/retry")

    assert (answer.status_code, "has not failed" in answer.text) == (400, True)
    assert own.run.sync.requests.list_recent(limit=1) == []


UNKNOWN = [
    "tenant-material-b1",
    "tenant-material-nobody",
    "global-material-g1",
    "tenant-tool-b1",
    "nonsense",
    "tenant-material-",
    "a%00b",
    "tenant-material-a%00b",
    "tenant-material-%ff",
    "tenant-material-a/b",
    "x" * 3_000,
]


@pytest.mark.parametrize("document_id", UNKNOWN)
def test_a_foreign_document_and_an_unknown_one_get_the_same_answer(
    own: Served, document_id: str
) -> None:
    fail(own, "b1", tenant="globex")

    answers = [
        get(own, f"/api/sync/documents/{document_id}", ACME),
        post(own, f"/api/sync/documents/{document_id}/retry", None, ACME),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such document")
    assert due(own) == {}
    assert own.run.sync.requests.list_recent(limit=1) == []


@pytest.mark.parametrize("who", [ACME, WORKER])
def test_a_document_is_explained_to_whom_it_belongs(served: Served, who: Who) -> None:
    answer = get(served, "/api/sync/documents/tenant-material-a1", who).json()

    assert (answer["searchable"], answer["verdict"]["outcome"]) == (True, "searchable")
    assert (answer["entity_type"], answer["db_id"]) == ("material", "a1")
    (document,) = answer["documents"]
    assert document["text"] == "charred larch cladding"
    assert document["record"]["status"] == "synced"
    assert document["scope"]["scope_key"] == "acme"


def test_of_a_row_that_came_from_another_tenant_the_new_owner_sees_its_own_part(
    own: Served,
) -> None:
    moved = next(it for it in own.run.source.tables["materials"] if it["id"] == "b1")
    moved["tenant_id"] = "acme"

    answer = get(own, "/api/sync/documents/tenant-material-b1", ACME)
    before = get(own, "/api/sync/documents/tenant-material-b1", GLOBEX)
    whole = get(own, "/api/sync/documents/tenant-material-b1", ADMIN)

    assert answer.json()["verdict"]["outcome"] == "not_synced"
    assert answer.json()["documents"][0]["point"] is None
    assert "globex" not in answer.text
    assert before.json()["verdict"]["outcome"] == "leftover"
    assert "acme" not in before.text
    assert "globex" in whole.text


def test_of_an_id_that_another_tenant_has_too_nothing_is_said(own: Served) -> None:
    own.run.source.tables["materials"].append(row("b1", "their panel", tenant="acme"))

    answer = get(own, "/api/sync/documents/tenant-material-b1", ACME)

    (document,) = answer.json()["documents"]
    assert document["rejection"]["detail"] == "the id is not unique"
    assert document["record"] is None
    assert document["point"] is None
    for word in ("globex", "other tenant", "solar"):
        assert word not in answer.text


def test_documents_are_listed_page_by_page(served: Served) -> None:
    names: list[str] = []
    cursor = ""
    while True:
        answer = get(served, f"/api/sync/documents?limit=2{cursor}").json()
        assert len(answer["documents"]) <= 2
        names += [it["document_id"] for it in answer["documents"]]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"

    assert names == sorted(served.run.documents())
    first = get(served, "/api/sync/documents?limit=1").json()["documents"][0]
    assert first["views"] == ["text"]
    assert (first["status"], first["attempts"], first["entity"]) == ("synced", 0, "material")


def test_documents_can_be_asked_for_by_what_they_are(own: Served) -> None:
    fail(own, "b1", tenant="globex", error="too long")

    def listed(query: str, who: Who = WORKER) -> list[str]:
        answer = get(own, f"/api/sync/documents?{query}", who)
        assert answer.status_code == 200, answer.text
        return [it["document_id"] for it in answer.json()["documents"]]

    assert listed("status=failed") == ["tenant-material-b1"]
    assert listed("scope=globex&status=synced") == ["tenant-material-b2"]
    assert listed("entity=work") == ["global-work-g2", "tenant-work-a2"]
    assert listed("view=text&scope=acme") == ["tenant-material-a1", "tenant-work-a2"]
    assert listed("", ACME) == ["tenant-material-a1", "tenant-work-a2"]
    assert listed("status=failed", ACME) == []
    assert listed("cursor=tenant-material-a1", ACME) == ["tenant-work-a2"]


@pytest.mark.parametrize(
    ("query", "who", "status"),
    [
        pytest.param("scope=globex", ACME, 403, id="another tenant's"),
        pytest.param("scope=nobody", ACME, 403, id="nobody's"),
        pytest.param("scope=global", ACME, 403, id="everybody's"),
        pytest.param("entity=tool", ACME, 400, id="no entity"),
        pytest.param("view=title", ACME, 400, id="no view"),
        pytest.param("status=lost", ACME, 422, id="no status"),
        pytest.param("limit=0", ACME, 422, id="limit 0"),
        pytest.param("limit=100000", ACME, 422, id="a huge limit"),
        pytest.param("cursor=a%00b", ACME, 400, id="a zero byte"),
        pytest.param("scope=a%00b", WORKER, 400, id="no scope"),
    ],
)
def test_a_list_that_cannot_be_had_is_refused(
    served: Served, query: str, who: Who, status: int
) -> None:
    answer = get(served, f"/api/sync/documents?{query}", who)

    assert answer.status_code == status, answer.text


# --- batches ----------------------------------------------------------------------------


def test_all_failed_documents_are_tried_again_with_their_scopes(own: Served) -> None:
    fail(own, "a1", tenant="acme")
    fail(own, "b1", tenant="globex")

    request = stored(own, post(own, "/api/sync/batch", {"status": "failed"}))

    assert (set(request.scope_keys), request.mode) == ({"acme", "globex"}, "incremental")
    assert due(own) == {"acme": 1, "globex": 1}


def test_a_batch_is_about_the_scope_and_entity_that_it_names(own: Served) -> None:
    fail(own, "a1", tenant="acme")
    fail(own, "b1", tenant="globex")

    by_scope = {"status": "failed", "scope": "acme"}
    assert stored(own, post(own, "/api/sync/batch", by_scope)).scope_keys == ("acme",)
    assert due(own) == {"acme": 1}
    works = {"status": "failed", "entity": "work"}
    assert stored(own, post(own, "/api/sync/batch", works)).status == "done"
    assert due(own) == {"acme": 1}


def test_a_tenant_has_its_own_failed_documents_tried_again_and_no_others(own: Served) -> None:
    fail(own, "a1", tenant="acme")
    fail(own, "b1", tenant="globex")

    answer = post(own, "/api/sync/batch", {"status": "failed"}, ACME)
    foreign = post(own, "/api/sync/batch", {"status": "failed", "scope": "globex"}, ACME)

    assert stored(own, answer).scope_keys == ("acme",)
    assert due(own) == {"acme": 1}
    assert foreign.status_code == 403


def test_what_is_pending_is_synced_in_full(own: Served) -> None:
    change(own)

    request = stored(own, post(own, "/api/sync/batch", {"status": "pending"}))
    of_one = stored(own, post(own, "/api/sync/batch", {"status": "pending", "scope": "globex"}))

    assert (request.scope_keys, request.mode) == (("acme",), "full")
    assert of_one.scope_keys == ()


# --- plans ------------------------------------------------------------------------------


def test_a_plan_says_what_a_sync_would_do_and_writes_nothing(own: Served) -> None:
    change(own)
    before = own.run.documents()

    answer = get(own, "/api/sync/plan?scope=acme").json()

    (plan,) = answer["scopes"]
    assert (plan["scope_key"], plan["new"], plan["unchanged"]) == ("acme", 1, 2)
    assert answer["collection"] == own.run.sync.spec.collection
    assert own.run.documents() == before


def test_a_plan_is_about_a_scope_that_there_is(served: Served) -> None:
    assert get(served, "/api/sync/plan?scope=nobody").status_code == 404
    assert get(served, "/api/sync/plan?scope=global").status_code == 200
    assert get(served, "/api/sync/plan").status_code == 422
    assert get(served, "/api/sync/plan?scope=acme", ACME).status_code == 403
