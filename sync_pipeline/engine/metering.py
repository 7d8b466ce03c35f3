"""Models whose calls are booked, and made only where every budget admits them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from threading import Lock
from typing import Final, Protocol

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import BudgetExceededError, SyncPipelineError
from sync_pipeline.core.ports import Embedder, Exhausted, Ledger, Reservation
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import (
    NOTHING,
    Amount,
    Budget,
    BudgetPolicy,
    BudgetState,
    Entry,
    Limit,
    Purpose,
    Taken,
    Tariff,
)
from sync_pipeline.engine.embedders import StandingFor

_log: Final = logging.getLogger(__name__)

BATCH_SHARE: Final = Decimal("0.5")
"""Of the price of a call, what services take for the same by the batch."""
LONGEST_WAIT_SECONDS: Final = 60.0
"""How long a call waits for others under way, which have reserved more than they will take. Once:
what is in the way for longer was reserved by a process that is gone."""
_LOOK_AGAIN_SECONDS: Final = 0.5
_WRITE_EVERY_SECONDS: Final = 1.0


class Bookings(Protocol):
    """Where calls are booked that no budget looks at."""

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        """See ``Ledger``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Who embeds, and what it counts against."""

    ledger: Ledger
    policy: BudgetPolicy
    now: Callable[[], datetime]
    scope: Scope | None = None
    """None where it is nobody's."""
    run_id: str = ""
    purpose: Purpose = Purpose.DOCUMENTS
    is_limiting: bool = True
    """Whether budgets are kept; else what is taken is counted against them and nothing refused."""
    longest_wait_seconds: float = LONGEST_WAIT_SECONDS
    sleep: Callable[[float], None] = time.sleep
    bookings: Bookings | None = None
    """None is the ledger."""

    def entry(self, model_id: str) -> Entry:
        """What a call is booked under."""
        return Entry(
            day=self.now().date(),
            scope_key="" if self.scope is None else self.scope.key,
            model_id=model_id,
            run_id=self.run_id,
            purpose=self.purpose,
        )

    def budgets(self, entry: Entry) -> list[Budget]:
        """What it counts against."""
        budgets = self.policy.budgets(scope=self.scope, run_id=self.run_id, day=entry.day)
        return budgets if self.is_limiting else [_unlimited(budget) for budget in budgets]

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        """Book a call that no budget looks at."""
        (self.bookings or self.ledger).book(entry, provider=provider, taken=taken)

    def book_batch(self, embedder: Embedder, *, texts: int, tokens: int) -> None:
        """Book texts that a service has embedded by the batch, at half of its price."""
        taken = Taken(
            calls=1, texts=texts, tokens=tokens, cost=embedder.tariff.cost(tokens) * BATCH_SHARE
        )
        entry = self.entry(embedder.model_id)
        budgets = replace(self, is_limiting=False).budgets(entry)
        reservation = self.ledger.reserve(entry, amount=Amount(), budgets=budgets)
        if isinstance(reservation, Reservation):
            self.ledger.settle(reservation, provider="batch", taken=taken)

    def on(self, embedder: Embedder, *, purpose: Purpose | None = None) -> Embedder:
        """The same model, with its documents metered."""
        meter = self if purpose is None else replace(self, purpose=purpose)
        return MeteredEmbedder(embedder, meter=meter)

    def on_all(self, embedder: Embedder) -> Embedder:
        """The same model, with its documents metered and its search texts booked."""
        return self.on(BookedQueries(embedder, ledger=self.ledger, now=self.now))


@contextmanager
def summing_up(meter: Meter, *, seconds: Callable[[], float]) -> Iterator[Meter]:
    """Hand out the same meter, which books what no budget looks at a second later at most.

    For a model that answers many small calls: each would wait for a commit otherwise. A process
    that is killed loses what the last second took, for which nobody charges anything.

    Args:
        meter: What books them.
        seconds: A clock that never goes back.
    """
    summed = _SummedBookings(meter.ledger, seconds=seconds)
    try:
        yield replace(meter, bookings=summed)
    except BaseException:
        # What went wrong says more than that it could not be booked.
        with suppress(SyncPipelineError):
            summed.write()
        raise
    summed.write()


class _SummedBookings:
    """Bookings that are summed up, and written once a second at most; of several threads."""

    def __init__(self, bookings: Bookings, *, seconds: Callable[[], float]) -> None:
        self._bookings = bookings
        self._seconds = seconds
        self._written_at = seconds()
        self._taken: dict[tuple[Entry, str], Taken] = {}
        self._lock = Lock()

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        """See ``Ledger``."""
        key = entry, provider
        with self._lock:
            self._taken[key] = self._taken.get(key, NOTHING) + taken
            if self._seconds() - self._written_at >= _WRITE_EVERY_SECONDS:
                self._write()

    def write(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._written_at = self._seconds()
        while self._taken:
            (entry, provider), taken = self._taken.popitem()
            self._bookings.book(entry, provider=provider, taken=taken)


class BookedQueries(StandingFor):
    """A model whose search texts are booked where they cost something; they are never refused.

    Args:
        embedder: The model.
        ledger: Where they are booked.
        now: The clock.
    """

    def __init__(self, embedder: Embedder, *, ledger: Ledger, now: Callable[[], datetime]) -> None:
        super().__init__(embedder)
        self._ledger = ledger
        self._now = now

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``."""
        answer = self._embedder.embed_queries(texts)
        if texts and self.tariff.is_limited:
            entry = Entry(
                day=self._now().date(),
                scope_key="",
                model_id=self.model_id,
                run_id="",
                purpose=Purpose.SEARCH,
            )
            most = self.most_tokens(texts) if answer.unanswered_calls else 0
            tariff = answer.tariff or self.tariff
            taken = _taken(answer, texts=len(texts), tariff=tariff, most=most)
            self._ledger.book(entry, provider=answer.provider, taken=taken)
        return answer


class MeteredEmbedder(StandingFor):
    """A model whose calls for documents are booked.

    Where its tokens count against budgets, what a call may take at most is reserved before it is
    made, and what it took is booked instead.
    """

    def __init__(self, embedder: Embedder, *, meter: Meter) -> None:
        super().__init__(embedder)
        self._meter = meter
        self._may_wait = True

    def embed(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``.

        Raises:
            BudgetExceededError: a budget does not admit the call; it was not made.
        """
        embed = self._embedder.embed
        if not texts:
            return embed(texts)
        entry = self._meter.entry(self.model_id)
        if not self.tariff.is_limited:
            answer = embed(texts)
            taken = _taken(answer, texts=len(texts), tariff=self.tariff, most=0)
            self._meter.book(entry, provider=answer.provider, taken=taken)
            return answer
        most = self.most_tokens(texts)
        reservation = self._reserved(entry, most=most)
        try:
            answer = embed(texts)
        except Exception as error:
            self._settle(reservation, provider="", taken=self._lost(error, most=most))
            raise
        tariff = answer.tariff or self.tariff
        taken = _taken(answer, texts=len(texts), tariff=tariff, most=most)
        self._settle(reservation, provider=answer.provider, taken=taken)
        return answer

    def _reserved(self, entry: Entry, *, most: int) -> Reservation:
        """Reserve the most that a call can take; where only others under way are in the way, wait.

        Raises:
            BudgetExceededError: it is not admitted, whatever they take.
        """
        amount = Amount(tokens=most, cost=self.tariff.cost(most))
        budgets = self._meter.budgets(entry)
        waited = 0.0
        while True:
            made = self._meter.ledger.reserve(entry, amount=amount, budgets=budgets)
            if isinstance(made, Reservation):
                return made
            self._may_wait = self._may_wait and waited < self._meter.longest_wait_seconds
            if not (self._may_wait and made.budget.limit.admits(made.spent + amount)):
                raise _exceeded(made, tariff=self.tariff, needed=most)
            self._meter.sleep(_LOOK_AGAIN_SECONDS)
            waited += _LOOK_AGAIN_SECONDS

    def _lost(self, error: Exception, *, most: int) -> Taken:
        """What a call that failed may have taken: nothing where it was refused."""
        calls = getattr(error, "unanswered_calls", 0) + getattr(error, "charged_calls", 0)
        return Taken(
            unconfirmed_calls=calls,
            unconfirmed_tokens=calls * most,
            unconfirmed_cost=self.tariff.cost(calls * most),
        )

    def _settle(self, reservation: Reservation, *, provider: str, taken: Taken) -> None:
        after = self._meter.ledger.settle(reservation, provider=provider, taken=taken)
        policy = self._meter.policy
        for budget, spent in zip(reservation.budgets, after, strict=True):
            if not budget.limit.is_set:
                continue
            state = BudgetState(budget=budget, spent=spent, alert_fraction=policy.alert_fraction)
            before = Amount(
                tokens=spent.tokens - taken.amount.tokens, cost=spent.cost - taken.amount.cost
            )
            if budget.limit.fraction(before) < policy.alert_fraction <= state.fraction:
                _log.warning("%s", state.told())


def _unlimited(budget: Budget) -> Budget:
    """The same, for what is spent already and only has to be counted."""
    return replace(budget, limit=Limit())


def fitting(embedder: Embedder, texts: Sequence[str], *, left: int) -> int:
    """How many of the first of these texts can be embedded with so many tokens."""
    bounds = accumulate(embedder.most_tokens([text]) for text in texts)
    return sum(bound <= left for bound in bounds)


def _taken(answer: Embedded, *, texts: int, tariff: Tariff, most: int) -> Taken:
    lost = answer.unanswered_calls * most
    return Taken(
        calls=answer.calls,
        texts=texts,
        tokens=answer.tokens,
        cost=tariff.cost(answer.tokens),
        unconfirmed_calls=answer.unanswered_calls,
        unconfirmed_tokens=lost,
        unconfirmed_cost=tariff.cost(lost),
    )


def _exceeded(refused: Exhausted, *, tariff: Tariff, needed: int) -> BudgetExceededError:
    taken = refused.spent + refused.reserved
    left = refused.budget.limit.tokens_left(taken, tariff=tariff)
    return BudgetExceededError(
        budget=refused.budget, spent=taken, tokens_left=left or 0, tokens_needed=needed
    )
