"""Which scopes a request means, and which refused deletion waits for approval."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import ScopeStatus
from sync_pipeline.operations.requests import read_scope_words, waiting_deletion
from sync_pipeline.operations.scopes import ScopeChoice, ScopeWord

ALL = ScopeChoice(ScopeWord.ALL)
EVERY_TENANT = ScopeChoice(ScopeWord.TENANTS)
SHARED = ScopeChoice(ScopeWord.GLOBAL)


def named(*ids: str) -> ScopeChoice:
    return ScopeChoice(ScopeWord.TENANT, ids)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["all"], [ALL], id="all"),
        pytest.param(["acme", "all", "global"], [ALL], id="all and more"),
        pytest.param(["global", "tenants"], [ALL], id="both halves"),
        pytest.param(["tenants", "acme"], [EVERY_TENANT], id="a tenant among all"),
        pytest.param(["global"], [SHARED], id="global"),
        pytest.param(["global", "acme"], [SHARED, named("acme")], id="global and one"),
        pytest.param(["b", "a", "b"], [named("b", "a")], id="in their order, each once"),
    ],
)
def test_words_mean_each_scope_once(words: list[str], expected: list[ScopeChoice]) -> None:
    assert read_scope_words(words) == expected


def test_no_scope_is_no_request() -> None:
    with pytest.raises(ConfigurationError, match="scopes is a list"):
        read_scope_words([])


def run(status: ScopeStatus, **facts: Any) -> SyncRun:
    now = datetime.now(tz=UTC)
    return SyncRun(
        run_id=str(len(facts)),
        scope_key="acme",
        mode="full",
        status=status,
        started_at=now,
        finished_at=now,
        facts=facts,
    )


REFUSED = run("failed", error="MassDeletionRefusedError", total=30)
OUTAGE = run("failed", error="StoreUnavailableError")
SUCCESS = run("success")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param([REFUSED], REFUSED, id="the last one"),
        pytest.param([OUTAGE, REFUSED, SUCCESS], REFUSED, id="before an outage"),
        pytest.param([SUCCESS, REFUSED], None, id="settled"),
        pytest.param([OUTAGE, SUCCESS, REFUSED], None, id="settled before an outage"),
    ],
)
def test_a_refused_deletion_waits_until_a_run_succeeds(
    runs: list[SyncRun], expected: SyncRun | None
) -> None:
    assert waiting_deletion(runs) is expected
