"""Who is offered what, as buttons and as remedies of problem documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from sync_pipeline.core.errors import CollectionMissingError, MassDeletionRefusedError
from sync_pipeline.core.remedy import (
    Action,
    ApproveDeletions,
    ChangeSetting,
    LandRecords,
    Migrate,
    RetryDocument,
    RollBackIndex,
    Show,
    SwitchIndex,
    SyncScopes,
    VerifyScopes,
)
from sync_pipeline.service import state
from sync_pipeline.service.buttons import button_of, known_actions
from sync_pipeline.service.models import ActionModel
from sync_pipeline.service.principals import Principal, Role
from sync_pipeline_tests.service.served import Served

ACME = Principal("someone", Role.TENANT, "acme")
WORKER = Principal("someone", Role.WORKER, None)
ADMIN = Principal("someone", Role.ADMIN, None)
RETRY = RetryDocument(
    document_id="tenant-material-a/1", scope_key="acme", entity_type="material", db_id="a/1"
)
ACTIONS: tuple[Action, ...] = (
    SyncScopes(),
    SyncScopes(scope_key="acme", force=True),
    ApproveDeletions(scope_key="acme", deletions=40),
    RETRY,
    SwitchIndex(),
    RollBackIndex(),
    VerifyScopes(),
    LandRecords(landing="products"),
    Migrate(),
    Show("tenants"),
    ChangeSetting("index.url"),
)


@pytest.mark.parametrize(
    ("principal", "offered"),
    [(ACME, {3}), (WORKER, {0, 1, 3}), (ADMIN, {0, 1, 2, 3, 4, 5})],
    ids=["tenant", "worker", "admin"],
)
def test_a_button_is_for_those_who_may(principal: Principal, offered: set[int]) -> None:
    buttons = [button_of(action, principal) for action in ACTIONS]

    assert {number for number, it in enumerate(buttons) if it is not None} == offered


def test_a_tenant_is_told_of_what_it_can_do_itself_and_operators_of_all() -> None:
    foreign = RetryDocument(
        document_id="tenant-material-b1", scope_key="globex", entity_type="material", db_id="b1"
    )

    assert known_actions((*ACTIONS, foreign), ACME) == [RETRY]
    assert known_actions(ACTIONS, WORKER) == list(ACTIONS)
    assert known_actions(ACTIONS, None) == []


def test_a_button_sends_what_the_interface_takes() -> None:
    approve = button_of(ApproveDeletions(scope_key="acme", deletions=40), ADMIN)
    retry = button_of(RETRY, ADMIN)

    assert approve is not None
    assert (approve.path, approve.body, approve.repeat) == (
        "/api/sync/approve",
        {"scope": "acme", "deletions": 40},
        40,
    )
    assert retry is not None
    assert retry.path == "/api/sync/documents/tenant-material-a%2F1/retry"


def test_a_button_for_a_tenant_called_all_syncs_that_tenant_alone() -> None:
    button = button_of(SyncScopes(scope_key="all"), WORKER)

    assert button is not None
    assert button.body["scopes"] == ["tenant:all"]


def test_the_description_of_the_interface_names_every_action() -> None:
    field = ActionModel.model_fields["action"].annotation

    assert set(get_args(field)) == {kind.name for kind in get_args(Action)}


# --- problem documents ---------------------------------------------------------------------------


def search(served: Served, role: str, tenant: str | None) -> Any:
    return served.client.post(
        "/api/search", json={"query": "tile"}, headers=served.headers(role, tenant)
    )


def test_a_problem_names_what_an_operator_can_do_and_nothing_to_a_tenant(tmp_path: Path) -> None:
    served = Served(tmp_path, is_synced=False)

    told, kept = search(served, "worker", None), search(served, "tenant", "acme")

    assert told.status_code == kept.status_code == 503
    assert told.json()["remedy"] == [
        {"action": "sync", "arguments": {"scopes": ["all"], "mode": "full", "force": False}}
    ]
    assert "remedy" not in kept.json()


REFUSED = MassDeletionRefusedError(
    scope_key="globex",
    entity_type="material",
    stale=30,
    indexed=50,
    allowed=5,
    total=40,
    total_indexed=60,
)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            CollectionMissingError(collection="documents_1", store="the index"),
            [{"action": "sync", "arguments": {"scopes": ["all"], "mode": "full", "force": False}}],
        ),
        (
            REFUSED,
            [{"action": "approve_deletions", "arguments": {"scope": "globex", "deletions": 40}}],
        ),
    ],
    ids=["missing", "refused"],
)
def test_what_is_not_said_in_words_to_all_is_a_remedy_to_operators(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: list[object]
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(state, "search_many", fail)
    told, kept = search(served, "worker", None), search(served, "tenant", "acme")

    assert told.status_code == kept.status_code == 500
    assert told.json()["remedy"] == remedy
    assert set(kept.json()) == {"type", "title", "status", "request_id"}


def test_an_error_page_has_the_button_for_who_may(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise REFUSED

    monkeypatch.setattr(state, "search_many", fail)
    pages = {
        role: served.client.get("/search?q=tile", headers=served.headers(role, tenant)).text
        for role, tenant in (("admin", None), ("worker", None), ("tenant", "acme"))
    }

    assert 'data-post="/api/sync/approve"' in pages["admin"]
    assert "data-post" not in pages["worker"]
    assert "<code>sync-pipeline sync tenant globex --approve-deletions 40</code>" in pages["worker"]
    assert "<code>" not in pages["tenant"]
    assert "globex" not in pages["tenant"]


def test_a_wrong_request_of_a_caller_has_no_remedy(served: Served) -> None:
    answer = served.client.post("/api/search", json={}, headers=served.headers("admin", None))

    assert answer.status_code == 422
    assert "remedy" not in answer.json()
