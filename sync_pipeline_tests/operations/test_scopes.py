from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from unittest import mock

import pytest

from sync_pipeline.cli.options import one_scope
from sync_pipeline.core.errors import ConfigurationError, UnknownScopeError
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.questions.status import ScopeStatusReport
from sync_pipeline.operations.scopes import (
    InstalledScopes,
    ScopeChoice,
    ScopeWord,
    choose_scopes,
    known_tenant,
    read_choice,
    vanished,
)
from sync_pipeline_tests.engine.world import World


def status(key: str, *, rows: int = 0, documents: int = 0, points: int = 0) -> ScopeStatusReport:
    return ScopeStatusReport(
        scope_key=key,
        source_rows=rows,
        documents=documents,
        points=points,
        coverage=1.0,
        failed=0,
        quarantined=0,
        pending=0,
        last_success_at=None,
        oldest_unsynced_seconds=None,
    )


@dataclass
class Known:
    """What there is, and how often all of it was looked at."""

    statuses: list[ScopeStatusReport]
    looks: int = 0
    order: RunOrder = field(default_factory=RunOrder)

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        keys = {status.scope_key for status in self.statuses}
        return [scope for scope in scopes if scope.key not in keys]

    def scope_statuses(self) -> list[ScopeStatusReport]:
        self.looks += 1
        return self.statuses

    def in_run_order(self, rows: Mapping[Scope, int]) -> list[Scope]:
        return self.order.sort(rows)


STATUSES = [
    status("global", rows=5),
    status("acme", rows=3, points=3),
    status("globex", rows=900),
    status("initech", points=7),
    status("remembered"),
]


@pytest.fixture
def known() -> Known:
    return Known(STATUSES)


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        pytest.param(["all"], ScopeChoice(ScopeWord.ALL), id="all"),
        pytest.param(["global"], ScopeChoice(ScopeWord.GLOBAL), id="global"),
        pytest.param(["tenants"], ScopeChoice(ScopeWord.TENANTS), id="tenants"),
        pytest.param(["tenant", "a"], ScopeChoice(ScopeWord.TENANT, ("a",)), id="one tenant"),
        pytest.param(
            ["tenant", "a", "b", "a"],
            ScopeChoice(ScopeWord.TENANT, ("a", "b")),
            id="two tenants, one of them twice",
        ),
        pytest.param(
            ["tenant", "all"], ScopeChoice(ScopeWord.TENANT, ("all",)), id="a tenant called all"
        ),
        pytest.param(
            ["tenant:all", "tenant:tenants", "tenant:all"],
            ScopeChoice(ScopeWord.TENANT, ("all", "tenants")),
            id="tenants by their names",
        ),
        pytest.param(
            ["tenant", "tenant:x"],
            ScopeChoice(ScopeWord.TENANT, ("tenant:x",)),
            id="an id that begins like a name",
        ),
    ],
)
def test_scopes_are_read_from_words(words: list[str], choice: ScopeChoice) -> None:
    assert read_choice(words) == choice


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["tenant"], id="tenant without an id"),
        pytest.param(["acme"], id="an id alone"),
        pytest.param(["all", "acme"], id="an id after all"),
        pytest.param(["tenant:acme", "all"], id="all after a name"),
        pytest.param(["tenant:"], id="a name without an id"),
    ],
)
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=f"not '{' '.join(words)}'"):
        read_choice(words)


def test_all_is_the_global_scope_and_then_tenants_with_most_rows_first(known: Known) -> None:
    scopes = choose_scopes(ScopeChoice(ScopeWord.ALL), among=known)

    assert scopes == [GLOBAL, Scope("globex"), Scope("acme"), Scope("initech")]


def test_the_order_of_the_settings_counts_and_may_put_a_tenant_before_global(
    known: Known,
) -> None:
    known.order = RunOrder(priorities={"acme": 5, "globex": -1})

    assert choose_scopes(ScopeChoice(ScopeWord.ALL), among=known) == [
        Scope("acme"),
        GLOBAL,
        Scope("initech"),
        Scope("globex"),
    ]


def test_all_of_an_installation_come_in_the_order_of_its_settings() -> None:
    world = World()
    for tenant, row_ids in (("acme", "1"), ("globex", "234"), ("vip", "5")):
        world.put_many(*row_ids, tenant_id=tenant)
    world.source.now += timedelta(days=1)
    world.put("1")
    orders = [
        RunOrder(),
        RunOrder(is_recent_first=True),
        RunOrder(priorities={"vip": 3, "global": -1}),
    ]

    chosen = []
    for order in orders:
        world.set_options(run_order=order)
        scopes = choose_scopes(ScopeChoice(ScopeWord.ALL), among=InstalledScopes(world.sync))
        chosen.append([scope.key for scope in scopes])

    assert chosen == [
        ["global", "globex", "acme", "vip"],
        ["global", "acme", "globex", "vip"],
        ["vip", "globex", "acme", "global"],
    ]


def test_the_source_is_asked_for_its_newest_changes_only_where_they_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    asked = mock.Mock(wraps=world.source.newest_by_scope)
    monkeypatch.setattr(world.source, "newest_by_scope", asked)
    rows = {GLOBAL: 1, Scope("acme"): 2}

    InstalledScopes(world.sync).in_run_order(rows)
    world.set_options(run_order=RunOrder(is_recent_first=True))
    InstalledScopes(world.sync).in_run_order({GLOBAL: 1})
    before = asked.call_count
    InstalledScopes(world.sync).in_run_order(rows)

    assert (before, asked.call_count) == (0, 1)


def test_the_global_scope_is_part_of_all_even_where_it_never_had_a_row() -> None:
    assert choose_scopes(ScopeChoice(ScopeWord.ALL), among=Known([])) == [GLOBAL]


def test_tenants_leave_the_global_scope_out(known: Known) -> None:
    scopes = choose_scopes(ScopeChoice(ScopeWord.TENANTS), among=known)

    assert scopes == [Scope("globex"), Scope("acme"), Scope("initech")]


@pytest.mark.parametrize(
    "tenant",
    [
        pytest.param("acme", id="has rows"),
        pytest.param("initech", id="has only points"),
        pytest.param("remembered", id="has only a record"),
    ],
)
def test_a_tenant_is_known_that(known: Known, tenant: str) -> None:
    choice = ScopeChoice(ScopeWord.TENANT, (tenant,))

    assert choose_scopes(choice, among=known) == [Scope(tenant)]
    assert known.looks == 0


def test_many_tenants_are_looked_up_at_once_and_keep_their_order(known: Known) -> None:
    choice = ScopeChoice(ScopeWord.TENANT, ("initech", "acme"))

    assert choose_scopes(choice, among=known) == [Scope("initech"), Scope("acme")]
    with pytest.raises(UnknownScopeError, match="'nobody' among the 4"):
        choose_scopes(ScopeChoice(ScopeWord.TENANT, ("acme", "nobody", "who")), among=known)


def test_an_unknown_tenant_is_refused_with_names_that_are_spelled_alike(known: Known) -> None:
    choice = ScopeChoice(ScopeWord.TENANT, ("globx",))

    with pytest.raises(UnknownScopeError, match=r"'globx' among the 4 .* Did you mean 'globex'"):
        choose_scopes(choice, among=known)


def test_the_global_scope_is_chosen_without_a_look(known: Known) -> None:
    assert choose_scopes(ScopeChoice(ScopeWord.GLOBAL), among=known) == [GLOBAL]
    assert known.looks == 0


@pytest.mark.parametrize("tenant", ["", "a\nb", "x" * 300])
def test_an_id_that_no_tenant_can_have_is_unknown(known: Known, tenant: str) -> None:
    with pytest.raises(UnknownScopeError, match="among the 4"):
        known_tenant(tenant, among=known)


def test_global_is_no_tenant(known: Known) -> None:
    with pytest.raises(UnknownScopeError, match="no tenant 'global'"):
        choose_scopes(ScopeChoice(ScopeWord.TENANT, ("global",)), among=known)


def test_a_tenant_has_vanished_when_points_are_all_it_has(known: Known) -> None:
    scopes = choose_scopes(ScopeChoice(ScopeWord.ALL), among=known)

    assert vanished(scopes, statuses=STATUSES) == {Scope("initech"): 7}


def test_the_global_scope_never_vanishes() -> None:
    assert vanished([GLOBAL], statuses=[status("global", points=3)]) == {}


def test_one_scope_is_a_tenant_or_the_global_one_or_none() -> None:
    assert one_scope(tenant="acme", is_global=False) == Scope("acme")
    assert one_scope(tenant=None, is_global=True) == GLOBAL
    assert one_scope(tenant=None, is_global=False) is None


def test_tenant_and_global_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        one_scope(tenant="acme", is_global=True)


def test_an_id_that_no_tenant_can_have_is_wrong_usage() -> None:
    with pytest.raises(ConfigurationError, match="'global' names the shared rows"):
        one_scope(tenant="Global", is_global=False)
