"""Which scopes are synced first, and that none waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.run_order import MAX_PRIORITY, OVERDUE, RunOrder
from sync_pipeline.core.scope import GLOBAL, Scope

ACME, GLOBEX, OLD = Scope("acme"), Scope("globex"), Scope("old")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_unless_said_otherwise_global_is_first_and_then_the_largest() -> None:
    assert RunOrder().sort({ACME: 3, GLOBEX: 900, GLOBAL: 0}) == [GLOBAL, GLOBEX, ACME]


def test_the_greatest_priority_is_first_even_before_global() -> None:
    order = RunOrder(priorities={"acme": 10, "old": -10})

    assert order.sort({OLD: 999, ACME: 1, GLOBEX: 5, GLOBAL: 7}) == [ACME, GLOBAL, GLOBEX, OLD]


def test_global_is_first_among_equals() -> None:
    order = RunOrder(priorities={"acme": 1})

    assert order.sort({ACME: 999, GLOBAL: 1}) == [GLOBAL, ACME]


def test_global_can_be_put_last() -> None:
    assert RunOrder(priorities={"global": -1}).sort({ACME: 1, GLOBAL: 9}) == [ACME, GLOBAL]


def test_what_changed_last_is_first_among_equals_and_what_never_did_is_last() -> None:
    order = RunOrder(is_recent_first=True, priorities={"old": 1})
    newest = {"acme": 100.0, "globex": 200.0, "old": 1.0}

    sorted_scopes = order.sort({ACME: 9, GLOBEX: 1, OLD: 1, Scope("still"): 99}, newest=newest)

    assert sorted_scopes == [OLD, GLOBEX, ACME, Scope("still")]


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def test_of_changes_that_wait_the_oldest_is_first_among_equals() -> None:
    waiting = RunOrder().by_waiting({ACME: ago(1), GLOBEX: ago(2)}, now=NOW)

    assert list(waiting.items()) == [(GLOBEX, 0), (ACME, 0)]


def test_a_priority_goes_before_age_until_somebody_has_waited_too_long() -> None:
    order = RunOrder(priorities={"acme": MAX_PRIORITY, "old": -MAX_PRIORITY})
    oldest = {ACME: ago(1), GLOBEX: ago(59), OLD: ago(60)}

    before = order.by_waiting(oldest, now=NOW)
    after = order.by_waiting(oldest, now=NOW + timedelta(seconds=1))

    assert list(before) == [ACME, GLOBEX, OLD]
    assert list(after.items()) == [(OLD, OVERDUE), (ACME, MAX_PRIORITY), (GLOBEX, 0)]


def test_of_those_that_waited_too_long_the_oldest_is_first() -> None:
    order = RunOrder(priorities={"acme": 5})

    waiting = order.by_waiting({ACME: ago(70), OLD: ago(90)}, now=NOW)

    assert list(waiting.items()) == [(OLD, OVERDUE), (ACME, OVERDUE)]


@given(
    st.dictionaries(
        st.sampled_from([ACME, GLOBEX, OLD, GLOBAL]), st.integers(0, 200), min_size=2, max_size=4
    ),
    st.dictionaries(
        st.sampled_from(["acme", "old", "global"]), st.integers(-MAX_PRIORITY, MAX_PRIORITY)
    ),
)
def test_nobody_who_waits_too_long_stands_behind_one_who_does_not(
    minutes: dict[Scope, int], priorities: dict[str, int]
) -> None:
    order = RunOrder(priorities=priorities)

    waiting = order.by_waiting({scope: ago(age) for scope, age in minutes.items()}, now=NOW)

    is_overdue = [minutes[scope] > 60 for scope in waiting]
    assert is_overdue == sorted(is_overdue, reverse=True)
    assert set(waiting) == set(minutes)


def test_it_is_told_in_words() -> None:
    order = RunOrder(
        priorities={"acme": 10, "old": -5}, is_recent_first=True, max_wait=timedelta(minutes=90)
    )

    assert str(order) == (
        "scopes by priority (acme 10, global 1, old -5, others 0), of equals the latest changed "
        "first; what waits longer than 90 minutes goes before all"
    )
    assert str(RunOrder()).startswith("scopes by priority (global 1, others 0), of equals the larg")
