"""Which scopes share a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.grouping import FEW_SMALL, GroupPolicy, cut_runs
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.core.scope import GLOBAL, Scope

POLICY = GroupPolicy(small_rows=50, max_rows=100, max_scopes=10)


def tenants(count: int) -> list[Scope]:
    return [Scope(f"t{number:04}") for number in range(count)]


def cut(
    rows: dict[Scope, int], *, policy: GroupPolicy = POLICY, **priorities: int
) -> list[list[str]]:
    order = RunOrder(priorities=priorities)
    runs = cut_runs(order.sort(rows), rows=rows, priority=order.priority, policy=policy)
    return [[scope.key for scope in run] for run in runs]


def test_few_small_scopes_have_a_run_each() -> None:
    rows = dict.fromkeys(tenants(FEW_SMALL), 1) | {GLOBAL: 1}

    assert cut(rows) == [[GLOBAL.key], *([scope.key] for scope in tenants(FEW_SMALL))]


def test_many_small_scopes_share_runs_of_so_many_at_most() -> None:
    runs = cut(dict.fromkeys(tenants(25), 1))

    assert [len(run) for run in runs] == [10, 10, 5]
    assert [key for run in runs for key in run] == [scope.key for scope in tenants(25)]


def test_a_group_holds_no_more_rows_than_it_may() -> None:
    runs = cut(dict.fromkeys(tenants(24), 40))

    assert [len(run) for run in runs] == [2] * 12


def test_large_ones_and_global_keep_their_own_run_and_their_place() -> None:
    large, *small = tenants(26)
    runs = cut(dict.fromkeys(small, 1) | {large: 50, GLOBAL: 3})

    assert runs[:2] == [["global"], [large.key]]
    assert [len(run) for run in runs[2:]] == [10, 10, 5]


def test_what_nobody_has_counted_keeps_its_own_run() -> None:
    scopes = tenants(30)
    rows = dict.fromkeys(scopes[:-1], 1)

    runs = cut_runs(scopes, rows=rows, priority=RunOrder().priority, policy=POLICY)

    assert runs[-1] == (scopes[-1],)


def test_scopes_of_one_group_have_one_priority_and_the_greatest_comes_first() -> None:
    runs = cut(dict.fromkeys(tenants(25), 1), t0003=7, t0020=7, t0001=-5)

    assert runs[0] == ["t0003", "t0020"]
    assert runs[-1] == ["t0001"]
    assert [len(run) for run in runs] == [2, 10, 10, 2, 1]


def test_without_small_rows_nothing_is_grouped() -> None:
    runs = cut(dict.fromkeys(tenants(30), 0), policy=GroupPolicy(small_rows=0))

    assert [len(run) for run in runs] == [1] * 30


@given(
    counts=st.lists(st.integers(0, 120), max_size=60),
    urgent=st.sets(st.integers(0, 59)),
)
def test_every_scope_has_exactly_one_run_within_all_bounds(
    counts: list[int], urgent: set[int]
) -> None:
    scopes = tenants(len(counts))
    rows = dict(zip(scopes, counts, strict=True))
    order = RunOrder(priorities={f"t{number:04}": 1 for number in urgent})

    runs = cut_runs(order.sort(rows), rows=rows, priority=order.priority, policy=POLICY)

    assert sorted(scope.key for run in runs for scope in run) == [scope.key for scope in scopes]
    for run in runs:
        assert len(run) == 1 or sum(rows[scope] for scope in run) <= POLICY.max_rows
        assert len(run) <= POLICY.max_scopes
        assert len({order.priority(scope) for scope in run}) == 1
