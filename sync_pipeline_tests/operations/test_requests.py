"""Which scopes a request means, and which refused deletion waits for approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import ScopeStatus
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.status import ScopeStatusReport
from sync_pipeline.operations.requests import read_scope_words, waiting_deletion
from sync_pipeline.operations.scopes import ScopeChoice, ScopeWord

ALL = ScopeChoice(ScopeWord.ALL)
EVERY_TENANT = ScopeChoice(ScopeWord.TENANTS)
SHARED = ScopeChoice(ScopeWord.GLOBAL)


def named(*ids: str) -> ScopeChoice:
    return ScopeChoice(ScopeWord.TENANT, ids)


class Known:
    """A directory of these tenants."""

    def __init__(self, *tenant_ids: str) -> None:
        self._tenant_ids = tenant_ids

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        return [scope for scope in scopes if scope.key not in self._tenant_ids]

    def scope_statuses(self) -> list[ScopeStatusReport]:
        raise AssertionError("reading words looks at no other scope")

    def in_run_order(self, rows: Mapping[Scope, int]) -> list[Scope]:
        raise AssertionError(f"reading words orders nothing, {len(rows)} scopes least of all")


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
    assert read_scope_words(words, among=Known("acme", "a", "b")) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["tenant:all"], [named("all")], id="a tenant called all"),
        pytest.param(["tenant:tenants", "b"], [named("tenants", "b")], id="one called tenants"),
        pytest.param(["global", "tenant:b"], [SHARED, named("b")], id="with the global scope"),
        pytest.param(["b", "tenant:b"], [named("b")], id="the same by both names"),
        pytest.param(["tenant:nobody"], [named("nobody")], id="unknown either way"),
        pytest.param(["tenant:7"], [named("tenant:7")], id="an id that begins like a name"),
        pytest.param(["tenant:tenant:7"], [named("tenant:7")], id="that one by its name"),
        pytest.param(["tenant:b", "tenant:tenant:b"], [named("b", "tenant:b")], id="of two"),
        pytest.param(["tenant:"], [named("tenant:")], id="no id"),
        pytest.param(["tenant:global"], [named("tenant:global")], id="an id that there cannot be"),
        pytest.param(["all", "tenant:all"], [ALL], id="all and one called so"),
    ],
)
def test_a_tenant_has_a_name_that_means_nothing_else(
    words: list[str], expected: list[ScopeChoice]
) -> None:
    known = Known("all", "tenants", "b", "tenant:b", "tenant:7")

    assert read_scope_words(words, among=known) == expected


def test_no_scope_is_no_request() -> None:
    with pytest.raises(ConfigurationError, match="scopes is a list"):
        read_scope_words([], among=Known())


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
