"""What the calls of a model are booked under, and what budgets admit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    BudgetExceededError,
    PermanentError,
    RateLimitedError,
    TransientError,
)
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.core.spending import Amount, BudgetPolicy, Entry, Limit, Purpose, Taken, Tariff
from sync_pipeline.engine.metering import (
    LONGEST_WAIT_SECONDS,
    BookedQueries,
    Meter,
    fitting,
    summing_up,
)
from sync_pipeline_tests.fakes.embedder import POISON, FakeEmbedder
from sync_pipeline_tests.fakes.state import FakeLedger

PRICED = Tariff(Decimal("0.02"), is_service=True)
TODAY = date(2026, 11, 30)
ACME = Scope("acme")


def now() -> datetime:
    return datetime(2026, 11, 30, 23, 59, tzinfo=UTC)


def metered(
    ledger: FakeLedger,
    embedder: FakeEmbedder,
    *,
    policy: BudgetPolicy | None = None,
    scope: Scope | None = ACME,
    purpose: Purpose = Purpose.DOCUMENTS,
    waits: list[float] | None = None,
) -> Meter:
    embedder.tariff = PRICED
    return Meter(
        ledger=ledger,
        policy=policy or BudgetPolicy(),
        now=now,
        scope=scope,
        run_id="run-1",
        purpose=purpose,
        sleep=(waits if waits is not None else []).append,
    )


def booked(ledger: FakeLedger) -> list[tuple[Entry, str, Taken]]:
    return [(row.entry, row.provider, row.taken) for row in ledger.rows(first=TODAY, last=TODAY)]


def entry(purpose: Purpose = Purpose.DOCUMENTS) -> Entry:
    return Entry(
        day=TODAY, scope_key="acme", model_id="fake-embedder", run_id="run-1", purpose=purpose
    )


class StatingEmbedder(FakeEmbedder):
    """A service that states what it charges, and after how many lost attempts."""

    def __init__(self, *, stated: int, lost: int = 0) -> None:
        super().__init__()
        self.stated = stated
        self.lost = lost

    def most_tokens(self, texts: Sequence[str]) -> int:
        return 100 * len(texts)

    def embed(self, texts: Sequence[str]) -> Embedded:
        answer = super().embed(texts)
        return Embedded(
            vectors=answer.vectors,
            counts=answer.counts,
            truncated=answer.truncated,
            provider="api.example",
            stated_tokens=self.stated,
            unanswered_calls=self.lost,
        )


def test_what_the_provider_states_is_booked_with_its_price() -> None:
    ledger, model = FakeLedger(), StatingEmbedder(stated=7)

    metered(ledger, model).on(model).embed(["one two", "three"])

    taken = Taken(calls=1, texts=2, tokens=7, cost=Decimal("0.00000014"))
    assert booked(ledger) == [(entry(), "api.example", taken)]
    assert set(ledger.spent_of.values()) == {Amount(tokens=7, cost=taken.cost)}


def test_what_the_model_here_embeds_is_booked_and_counts_against_nothing() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    meter = metered(ledger, model, policy=BudgetPolicy(month=Limit(tokens=0)))
    model.tariff = Tariff()

    meter.on(model).embed(["one two", "three"])

    assert booked(ledger) == [(entry(), "fake", Taken(calls=1, texts=2, tokens=3))]
    assert ledger.spent_of == {}


class CountingLedger(FakeLedger):
    """Counts what it is asked, and fails where it is told to."""

    def __init__(self, *, failing: bool = False) -> None:
        super().__init__()
        self.bookings = 0
        self.failing = failing

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        self.bookings += 1
        if self.failing:
            raise TransientError("the database is away")
        super().book(entry, provider=provider, taken=taken)


def free(ledger: FakeLedger, model: FakeEmbedder) -> Meter:
    meter = metered(ledger, model)
    model.tariff = Tariff()
    return meter


def embed_each(ledger: FakeLedger, model: FakeEmbedder, texts: Sequence[str]) -> None:
    """One call per text, within a second."""
    with summing_up(free(ledger, model), seconds=lambda: 0.0) as meter:
        for text in texts:
            meter.on(model).embed([text])


def test_many_calls_of_the_model_here_are_booked_once_a_second_and_at_the_end() -> None:
    ledger, model, clock = CountingLedger(), FakeEmbedder(), iter(range(1000))
    with summing_up(free(ledger, model), seconds=lambda: next(clock) / 10) as meter:
        for _ in range(15):
            meter.on(model).embed(["one two", "three"])
        bookings, calls = ledger.bookings, sum(it.calls for _, _, it in booked(ledger))

    assert (bookings, calls) == (1, 10)
    assert ledger.bookings == 2
    assert booked(ledger) == [(entry(), "fake", Taken(calls=15, texts=30, tokens=45))]


def test_calls_of_several_threads_are_all_booked() -> None:
    ledger, model = CountingLedger(), FakeEmbedder()
    with (
        summing_up(free(ledger, model), seconds=lambda: 0.0) as meter,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda _: meter.on(model).embed(["one"]), range(200)))

    assert ledger.bookings == 1
    assert booked(ledger) == [(entry(), "fake", Taken(calls=200, texts=200, tokens=200))]


def test_what_was_embedded_before_an_error_is_booked() -> None:
    ledger, model = CountingLedger(), FakeEmbedder(failures={2: MemoryError("too large")})

    with pytest.raises(MemoryError):
        embed_each(ledger, model, ["one", "two"])

    assert booked(ledger) == [(entry(), "fake", Taken(calls=1, texts=1, tokens=1))]


@pytest.mark.parametrize(
    ("failures", "raised"),
    [
        pytest.param({}, "the database is away", id="alone"),
        pytest.param({2: PermanentError("refused")}, "refused", id="after-another-error"),
    ],
)
def test_an_error_of_the_model_says_more_than_that_it_cannot_be_booked(
    failures: dict[int, Exception], raised: str
) -> None:
    ledger, model = CountingLedger(failing=True), FakeEmbedder(failures=failures)

    with pytest.raises((TransientError, PermanentError), match=raised):
        embed_each(ledger, model, ["one", "two"])


def test_calls_that_cost_something_are_booked_at_once() -> None:
    ledger, model = FakeLedger(), StatingEmbedder(stated=7)
    with summing_up(metered(ledger, model), seconds=lambda: 0.0) as meter:
        meter.on(model).embed(["one two"])

        assert set(ledger.spent_of.values()) == {Amount(tokens=7, cost=Decimal("0.00000014"))}


def test_lost_attempts_before_an_answer_are_unconfirmed() -> None:
    ledger, model = FakeLedger(), StatingEmbedder(stated=7, lost=2)

    metered(ledger, model).on(model).embed(["one two"])

    ((_, _, taken),) = booked(ledger)
    assert (taken.calls, taken.tokens) == (1, 7)
    assert (taken.unconfirmed_calls, taken.unconfirmed_tokens) == (2, 200)
    assert set(ledger.spent_of.values()) == {taken.amount}


@pytest.mark.parametrize(
    ("error", "unconfirmed"),
    [
        pytest.param(TransientError("no answer", unanswered_calls=3), 3, id="time-outs"),
        pytest.param(TransientError("500"), 0, id="500"),
        pytest.param(RateLimitedError("slow down"), 0, id="429"),
        pytest.param(PermanentError("refused"), 0, id="400"),
        pytest.param(MemoryError("too large"), 0, id="memory"),
    ],
)
def test_a_call_that_failed_takes_what_may_have_been_done(
    error: Exception, unconfirmed: int
) -> None:
    ledger, model = FakeLedger(), FakeEmbedder(failures={1: error})

    with pytest.raises(type(error)):
        metered(ledger, model).on(model).embed(["one two"])

    taken = Taken(
        unconfirmed_calls=unconfirmed,
        unconfirmed_tokens=2 * unconfirmed,
        unconfirmed_cost=PRICED.cost(2 * unconfirmed),
    )
    assert [it for _, _, it in booked(ledger)] == ([taken] if unconfirmed else [])
    assert ledger.reserved == {}


def test_a_call_beyond_a_budget_is_not_made() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    meter = metered(ledger, model, policy=BudgetPolicy(month=Limit(tokens=3)))
    meter.on(model).embed(["one two"])

    with pytest.raises(BudgetExceededError) as refused:
        meter.on(model).embed(["one two"])

    assert model.calls == 1
    assert (refused.value.tokens_left, refused.value.tokens_needed) == (1, 2)
    assert str(refused.value) == (
        "the budget of 2026-11 is used up: 2 tokens, 0.00000004 of 3 tokens; the next call may "
        "take 2 tokens, and 1 are left. What is left over is pending and found by its words: the "
        "next month has a budget of its own, or raise `budget.tokens_per_month` and run it again"
    )


def test_a_call_waits_for_others_that_have_reserved_more_than_they_take() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    policy = BudgetPolicy(month=Limit(tokens=10))
    other = ledger.reserve(
        entry(),
        amount=Amount(tokens=9),
        budgets=policy.budgets(scope=ACME, run_id="run-2", day=TODAY),
    )
    waits: list[float] = []
    meter = metered(ledger, model, policy=policy, waits=waits)

    with pytest.raises(BudgetExceededError):
        meter.on(model).embed(["one two"])
    assert sum(waits) == LONGEST_WAIT_SECONDS
    ledger.settle(other, provider="there", taken=Taken(calls=1, tokens=8))  # type: ignore[arg-type]  # admitted

    meter.on(model).embed(["one two"])

    assert ledger.spent_of["month", "2026-11"].tokens == 10


def test_several_processes_spend_a_budget_to_its_last_token_and_not_one_more() -> None:
    ledger = FakeLedger()
    policy = BudgetPolicy(month=Limit(tokens=50))

    def spend(number: int) -> int:
        model = FakeEmbedder()
        meter = metered(ledger, model, policy=policy)
        for _ in range(20):
            try:
                meter.on(model).embed([f"text {number}"])
            except BudgetExceededError:
                break
        return model.calls

    with ThreadPoolExecutor(4) as pool:
        calls = sum(pool.map(spend, range(4)))

    assert calls == 25
    assert ledger.spent_of["month", "2026-11"].tokens == 50


def test_a_search_is_booked_and_never_refused() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    model.tariff = PRICED

    asked = BookedQueries(model, ledger=ledger, now=now)
    asked.embed_queries(["one two"])

    ((of, _, taken),) = booked(ledger)
    assert (of.purpose, of.scope_key, taken.tokens) == (Purpose.SEARCH, "", 2)
    assert ledger.spent_of == {}


def test_a_search_with_the_model_here_writes_nothing() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()

    BookedQueries(model, ledger=ledger, now=now).embed_queries(["one two"])

    assert booked(ledger) == []


def test_people_are_told_once_when_a_budget_nears_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    meter = metered(ledger, model, policy=BudgetPolicy(tenant=Limit(tokens=10)))

    for _ in range(5):
        meter.on(model).embed(["one two"])

    assert [record.message for record in caplog.records] == [
        "80% of the budget of acme in 2026-11 is spent: 8 tokens, 0.00000016 of 10 tokens"
    ]


def test_shared_rows_are_nobody_s_unless_they_are_named() -> None:
    policy = BudgetPolicy(tenant=Limit(tokens=10), tenants={"acme": Limit(tokens=5)})

    assert policy.of_scope("acme") == Limit(tokens=5)
    assert policy.of_scope("globex") == Limit(tokens=10)
    assert policy.of_scope(GLOBAL.key) == Limit()


def test_as_many_of_the_first_texts_fit_as_their_bounds_allow() -> None:
    model = FakeEmbedder()

    assert fitting(model, ["a b c", "a b", "a"], left=5) == 2
    assert fitting(model, ["a b c"], left=2) == 0


def test_a_poisoned_text_costs_nothing_of_the_budget() -> None:
    ledger, model = FakeLedger(), FakeEmbedder()
    meter = metered(ledger, model, policy=BudgetPolicy(run=Limit(tokens=10)))

    with pytest.raises(PermanentError):
        meter.on(model).embed([f"bad {POISON}"])

    assert ledger.spent_of["run", "run-1"] == Amount()
