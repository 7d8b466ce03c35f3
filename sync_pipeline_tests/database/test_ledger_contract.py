"""What every ``Ledger`` promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.ports import Exhausted, Ledger, Reservation
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import (
    Amount,
    Budget,
    BudgetKind,
    BudgetPolicy,
    Entry,
    LedgerRow,
    Limit,
    Purpose,
    Taken,
)
from sync_pipeline.database.embedding_ledger import PostgresLedger

TODAY = date(2026, 11, 30)
ENTRY = Entry(
    day=TODAY, scope_key="acme", model_id="model", run_id="run-1", purpose=Purpose.DOCUMENTS
)
PRICE = Decimal("0.00000013")


def amount(tokens: int) -> Amount:
    return Amount(tokens=tokens, cost=tokens * PRICE)


def taken(tokens: int, *, texts: int = 1) -> Taken:
    return Taken(calls=1, texts=texts, tokens=tokens, cost=tokens * PRICE)


def budgets(*, month: int | None = None, run: int | None = None) -> list[Budget]:
    policy = BudgetPolicy(month=Limit(tokens=month), run=Limit(tokens=run))
    return policy.budgets(scope=Scope("acme"), run_id="run-1", day=TODAY)


def reserve(ledger: Ledger, tokens: int, of: list[Budget]) -> Reservation:
    reservation = ledger.reserve(ENTRY, amount=amount(tokens), budgets=of)
    assert isinstance(reservation, Reservation)
    return reservation


def test_what_is_booked_adds_up_by_entry_and_provider(ledger: Ledger) -> None:
    ledger.book(ENTRY, provider="here", taken=taken(3, texts=2))
    ledger.book(ENTRY, provider="here", taken=taken(4))
    ledger.book(ENTRY, provider="there", taken=taken(5))
    ledger.book(replace(ENTRY, day=TODAY + timedelta(days=1)), provider="here", taken=taken(6))

    assert ledger.rows(first=TODAY, last=TODAY) == [
        LedgerRow(
            entry=ENTRY,
            provider="here",
            taken=Taken(calls=2, texts=3, tokens=7, cost=Decimal("0.00000091")),
        ),
        LedgerRow(entry=ENTRY, provider="there", taken=taken(5)),
    ]


def test_what_a_call_took_replaces_what_it_might_have_taken(ledger: Ledger) -> None:
    of = budgets(month=100)
    reservation = reserve(ledger, 60, of)
    assert ledger.spent(of) == [amount(60)] * 3

    assert ledger.settle(reservation, provider="there", taken=taken(40)) == [amount(40)] * 3

    assert ledger.spent(of) == [amount(40)] * 3
    assert [row.taken for row in ledger.rows(first=TODAY, last=TODAY)] == [taken(40)]


def test_a_call_is_settled_once(ledger: Ledger) -> None:
    reservation = reserve(ledger, 60, budgets())

    ledger.settle(reservation, provider="there", taken=taken(40))
    ledger.settle(reservation, provider="there", taken=taken(40))

    assert [row.taken.tokens for row in ledger.rows(first=TODAY, last=TODAY)] == [40]
    assert ledger.spent(budgets()) == [amount(40)] * 3


def test_a_call_that_took_nothing_leaves_no_row(ledger: Ledger) -> None:
    of = budgets(month=100)
    other = reserve(ledger, 30, of)

    spent = ledger.settle(reserve(ledger, 60, of), provider="there", taken=Taken())

    assert ledger.rows(first=TODAY, last=TODAY) == []
    assert spent == [Amount()] * 3
    assert ledger.spent(of) == [other.amount] * 3


def test_a_budget_admits_up_to_its_last_token_and_not_one_more(ledger: Ledger) -> None:
    of = budgets(month=100)
    ledger.settle(reserve(ledger, 40, of), provider="there", taken=taken(40))
    reserve(ledger, 60, of)

    refused = ledger.reserve(ENTRY, amount=amount(1), budgets=of)

    assert refused == Exhausted(budget=of[0], spent=amount(40), reserved=amount(60))


def test_a_budget_of_money_is_counted_in_decimals(ledger: Ledger) -> None:
    policy = BudgetPolicy(month=Limit(cost=10 * PRICE))
    of = policy.budgets(scope=None, run_id="", day=TODAY)
    for _ in range(10):
        ledger.settle(reserve(ledger, 1, of), provider="there", taken=taken(1))

    assert isinstance(ledger.reserve(ENTRY, amount=amount(1), budgets=of), Exhausted)
    assert ledger.spent(of) == [amount(10)]


def test_a_refused_call_counts_nowhere(ledger: Ledger) -> None:
    of = budgets(month=1_000, run=10)

    refused = ledger.reserve(ENTRY, amount=amount(11), budgets=of)

    assert isinstance(refused, Exhausted)
    assert refused.budget.kind is BudgetKind.RUN
    assert ledger.spent(of) == [Amount()] * 3
    assert ledger.rows(first=TODAY, last=TODAY) == []


def test_what_was_spent_before_a_limit_was_set_counts(ledger: Ledger) -> None:
    ledger.settle(reserve(ledger, 90, budgets()), provider="there", taken=taken(90))

    assert isinstance(
        ledger.reserve(ENTRY, amount=amount(11), budgets=budgets(month=100)), Exhausted
    )


def test_months_runs_and_tenants_are_counted_apart(ledger: Ledger) -> None:
    policy = BudgetPolicy(tenant=Limit(tokens=10), run=Limit(tokens=15))
    for tenant, run in (("acme", "run-1"), ("other", "run-2")):
        of = policy.budgets(scope=Scope(tenant), run_id=run, day=TODAY)
        assert isinstance(ledger.reserve(ENTRY, amount=amount(10), budgets=of), Reservation)

    month, run_1, acme = ledger.spent(
        policy.budgets(scope=Scope("acme"), run_id="run-1", day=TODAY)
    )
    assert (month, run_1, acme) == (amount(20), amount(10), amount(10))
    assert ledger.spenders("2026-11") == ["acme", "other"]
    assert ledger.spenders("2026-12") == []
    later = policy.budgets(scope=Scope("acme"), run_id="run-3", day=TODAY + timedelta(days=1))
    assert ledger.spent(later) == [Amount()] * 3


def test_many_at_once_never_exceed_a_budget_and_use_all_of_it(ledger: Ledger) -> None:
    of = budgets(month=100)

    def spend(_: int) -> int:
        reservation = ledger.reserve(ENTRY, amount=amount(7), budgets=of)
        if isinstance(reservation, Exhausted):
            return 0
        ledger.settle(reservation, provider="there", taken=taken(5))
        return 5

    with ThreadPoolExecutor(4) as pool:
        spent = sum(pool.map(spend, range(60)))
    # Where others held the rest for a moment, all sixty may have been refused before it was free.
    spent += sum(iter(lambda: spend(0), 0))

    assert 94 <= spent <= 100
    assert ledger.spent(of)[0] == amount(spent)
    (row,) = ledger.rows(first=TODAY, last=TODAY)
    assert row.taken.tokens == spent


def test_rows_of_old_runs_become_one_and_their_sum_stays(ledger: Ledger) -> None:
    for run in ("run-1", "run-2"):
        ledger.book(replace(ENTRY, run_id=run), provider="here", taken=taken(3))
    ledger.book(replace(ENTRY, day=TODAY + timedelta(days=1)), provider="here", taken=taken(3))

    assert ledger.forget_runs(before=TODAY + timedelta(days=1)) == 2

    old, new = ledger.rows(first=TODAY, last=TODAY + timedelta(days=1))
    assert (old.entry.run_id, old.taken.tokens, old.taken.calls) == ("", 6, 2)
    assert new.entry.run_id == "run-1"


@pytest.mark.process
def test_what_a_killed_process_had_reserved_is_unconfirmed_after_an_hour(engine: Engine) -> None:
    ledger = PostgresLedger(engine)
    of = budgets(month=100)
    reserve(ledger, 60, of)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sync_pipeline.embedding_reservation "
                "SET made_at = now() - interval '61 minutes'"
            )
        )

    reserve(ledger, 10, of)

    (row,) = ledger.rows(first=TODAY, last=TODAY)
    assert row.taken == Taken(
        unconfirmed_calls=1, unconfirmed_tokens=60, unconfirmed_cost=60 * PRICE
    )
    assert ledger.spent(of)[0] == amount(70)
