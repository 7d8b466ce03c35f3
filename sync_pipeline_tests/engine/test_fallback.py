"""A chain of providers: who is asked, and that no other model's vectors ever come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from sync_pipeline.core.canaries import CANARY_TEXTS, Canaries, canary_key
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    BudgetExceededError,
    ConfigurationError,
    NoProviderError,
    PermanentError,
    TransientError,
)
from sync_pipeline.core.spending import BudgetPolicy, Limit, Purpose, Tariff
from sync_pipeline.engine.canaries import measure_canaries
from sync_pipeline.engine.fallback import ChainEmbedder, Link
from sync_pipeline.engine.metering import Meter
from sync_pipeline_tests.fakes.embedder import POISON, DriftingEmbedder, FakeEmbedder
from sync_pipeline_tests.fakes.state import (
    FakeBreakers,
    FakeEmbeddingCache,
    FakeGenerations,
    FakeIndexState,
    FakeLedger,
    FakeModelCanaries,
)

TODAY = date(2026, 11, 30)
PRICED = Tariff(Decimal("0.02"), is_service=True)


class Provider(FakeEmbedder):
    """A provider that can be switched off."""

    def __init__(self, *, model: str = "fake-embedder") -> None:
        super().__init__()
        self.behind = model
        self.error: Exception | None = None

    def embed(self, texts: Sequence[str]) -> Embedded:
        if self.error is not None:
            raise self.error
        return super().embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        if self.error is not None:
            raise self.error
        return super().embed_queries(texts)

    def vector(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return FakeEmbedder(model_id=self.behind).vector(text)


class Chain:
    """Two providers and what is recorded of the model of the first."""

    def __init__(
        self,
        *,
        second: str = "fake-embedder",
        is_recorded: bool = True,
        policy: BudgetPolicy | None = None,
    ) -> None:
        self.first, self.second = Provider(), Provider(model=second)
        self.breakers = FakeBreakers()
        generations = FakeGenerations()
        cache = FakeEmbeddingCache(FakeIndexState(), generations=generations)
        self.canaries = FakeModelCanaries(cache, generations)
        if is_recorded:
            recorded: Canaries = measure_canaries(FakeEmbedder())
            self.canaries.record(model_id="fake-embedder", canaries=recorded)
        self.clock = 0.0
        self.ledger = FakeLedger()
        self.meter = Meter(
            ledger=self.ledger,
            policy=policy or BudgetPolicy(),
            now=lambda: datetime(2026, 11, 30, tzinfo=UTC),
            purpose=Purpose.CANARIES,
        )
        self.model = ChainEmbedder(
            [Link("first", self.first), Link("second", self.second)],
            breakers=self.breakers,
            canaries=self.canaries,
            meter=self.meter,
            seconds=lambda: self.clock,
        )


OUTAGE = TransientError("no answer", unanswered_calls=3)


def test_the_first_provider_answers_while_it_can() -> None:
    chain = Chain()

    answer = chain.model.embed(["a"])

    assert answer.vectors == pytest.approx(np.stack([FakeEmbedder().vector("a")]))
    assert (chain.first.embedded, chain.second.calls) == (["a"], 0)


def test_another_provider_of_the_same_model_continues_and_lost_calls_are_counted() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    chain.second.tariff = Tariff(is_service=True)

    answer = chain.model.embed(["a"])

    assert chain.second.embedded == ["a"]
    assert (answer.unanswered_calls, answer.tariff) == (3, chain.second.tariff)
    assert answer.vectors == pytest.approx(np.stack([FakeEmbedder().vector("a")]))


def test_a_provider_of_another_model_is_never_asked_for_a_text() -> None:
    chain = Chain(second="another model")
    chain.first.error = OUTAGE

    with pytest.raises(NoProviderError, match="gives other vectors than it used to") as refused:
        chain.model.embed(["a"])

    assert chain.second.embedded == []
    assert refused.value.providers == ("first", "second")
    assert refused.value.unanswered_calls == 3


def test_what_a_comparison_takes_is_booked() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    chain.second.tariff = PRICED

    chain.model.embed(["a"])

    rows = chain.ledger.rows(first=TODAY, last=TODAY)
    taken = {row.entry.purpose: row.taken for row in rows}
    assert taken[Purpose.CANARIES].texts == len(CANARY_TEXTS)
    assert taken[Purpose.SEARCH].texts == 1
    assert {it.calls for it in taken.values()} == {1}
    assert taken[Purpose.CANARIES].cost == PRICED.cost(taken[Purpose.CANARIES].tokens)


def test_a_comparison_that_no_budget_admits_is_not_made_and_a_search_is_answered() -> None:
    chain = Chain(policy=BudgetPolicy(month=Limit(tokens=10)))
    chain.first.error = OUTAGE
    chain.second.tariff = PRICED

    with pytest.raises(BudgetExceededError):
        chain.model.embed(["a"])

    assert chain.ledger.rows(first=TODAY, last=TODAY) == []
    assert chain.model.embed_queries(["a"]).provider == "fake"


def test_what_a_comparison_lost_is_counted_once() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    chain.second.error = OUTAGE
    chain.second.tariff = PRICED

    with pytest.raises(NoProviderError) as refused:
        chain.model.embed(["a"])

    (row,) = chain.ledger.rows(first=TODAY, last=TODAY)
    assert (row.taken.unconfirmed_calls, refused.value.unanswered_calls) == (3, 3)


def test_a_provider_that_cannot_be_compared_is_not_asked() -> None:
    chain = Chain(is_recorded=False)
    chain.first.error = OUTAGE

    with pytest.raises(NoProviderError, match="nothing is recorded of the model"):
        chain.model.embed(["a"])

    assert chain.second.embedded == []


def test_a_provider_that_fails_again_is_left_alone() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    for _ in range(2):
        chain.model.embed(["a"])
    chain.first.error = None

    chain.model.embed(["b"])

    assert chain.first.embedded == []
    assert chain.second.embedded == ["a", "a", "b"]


def test_a_key_that_is_refused_leads_to_the_next_provider_at_once() -> None:
    chain = Chain()
    chain.first.error = ConfigurationError("it does not accept the key.")
    chain.model.embed(["a"])
    chain.first.error = None
    chain.model.embed(["b"])

    assert chain.second.embedded == ["a", "b"]
    assert chain.breakers.known["first"].error_code == "ConfigurationError"


def test_a_refused_text_is_no_failure_of_its_provider() -> None:
    chain = Chain()

    with pytest.raises(PermanentError):
        chain.model.embed([POISON])

    assert chain.ledger.rows(first=TODAY, last=TODAY) == []
    assert chain.breakers.known == {}


def test_nobody_left_says_why_and_when_to_try_again() -> None:
    chain = Chain()
    chain.first.error = chain.second.error = TransientError("no answer.")

    with pytest.raises(NoProviderError) as nobody:
        chain.model.embed(["a"])
    with pytest.raises(NoProviderError):
        chain.model.embed(["a"])
    with pytest.raises(NoProviderError, match="first is not asked for a while after it failed"):
        chain.model.embed(["a"])

    assert nobody.value.retry_after_seconds > 0
    assert str(nobody.value) == (
        "none of 2 providers of embeddings can be asked now: first: no answer; second: no "
        "answer. What is left over is pending and found by its words; it is caught up once one "
        "of them answers: see `sync-pipeline doctor` and `embedding.fallbacks`"
    )


def test_a_provider_is_compared_again_after_a_while() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    chain.model.embed(["a"])
    chain.second.behind = "another model"
    chain.clock += 601

    with pytest.raises(NoProviderError):
        chain.model.embed(["b"])

    assert chain.second.embedded == ["a"]


def test_search_texts_fall_back_too() -> None:
    chain = Chain()
    chain.first.error = OUTAGE

    answer = chain.model.embed_queries(["a"])

    assert answer.vectors == pytest.approx(np.stack([FakeEmbedder().vector("a")]))
    assert canary_key(CANARY_TEXTS[0]) in chain.canaries.reference(model_id="fake-embedder")


def test_a_provider_with_noise_of_its_own_is_the_same_model() -> None:
    chain = Chain()
    chain.first.error = OUTAGE
    noisy = DriftingEmbedder(noise=0.005)
    model = ChainEmbedder(
        [Link("first", chain.first), Link("noisy", noisy)],
        breakers=chain.breakers,
        canaries=chain.canaries,
        meter=chain.meter,
    )

    assert model.embed(["a"]).provider == "fake"
    assert noisy.embedded == ["a"]
