"""How much of what a service allows is used, on a clock that is set."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sync_pipeline.core.rate_limits import NO_LIMITS, RateLimits, StatedLimits
from sync_pipeline.embedding.rate_limits import LocalRateLimiter
from sync_pipeline.embedding.stated_limits import stated_limits
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.embedding.service import Allowance, ServiceLimits

MINUTES = 20
TOKENS_PER_MINUTE = 1_000_000
REQUESTS_PER_MINUTE = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What came of it, as a share of what the service allowed."""

    tokens: float
    requests: float
    refused: int


def used_by(
    *,
    workers: int = 16,
    tokens: int = 4_000,
    error: float = 1.0,
    latency_seconds: float = 0.4,
    limits: RateLimits = NO_LIMITS,
    states_headers: bool = True,
    others: Callable[[Allowance], object] = lambda _: None,
) -> Used:
    """Have workers ask a service for twenty minutes.

    Args:
        workers: Each asks again when it has its answer.
        tokens: Of a request on average; they differ.
        error: Times so many are expected.
        latency_seconds: From a request to its answer.
        limits: Of the settings.
        states_headers: Whether answers say what is allowed.
        others: What other users of the account do before each request.
    """
    clock = SetClock()
    end = clock.seconds + MINUTES * 60
    limiter = LocalRateLimiter(limits=limits, clock=clock)
    allowance = Allowance(
        ServiceLimits(
            tokens_per_minute=TOKENS_PER_MINUTE,
            requests_per_minute=REQUESTS_PER_MINUTE,
            states_headers=states_headers,
        ),
        clock=clock,
    )
    numbers = itertools.count()
    accepted: list[int] = []
    refused = 0
    events: list[tuple[float, int, Callable[[], None]]] = []

    def at(seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(events, (seconds, next(numbers), what))

    def ask() -> None:
        size = tokens // 2 + next(numbers) * 37 % tokens
        turn = limiter.take(tokens=size * error)
        if not turn.is_taken:
            at(clock.seconds + 30, ask)
        else:
            at(clock.seconds + turn.wait_seconds, lambda: send(size))

    def send(size: int) -> None:
        nonlocal refused
        others(allowance)
        lacking = allowance.take(size)
        if lacking == 0:
            accepted.append(size)
            stated = stated_limits(allowance.headers())
            at(clock.seconds + latency_seconds, lambda: answered(size, size, stated))
        else:
            refused += 1
            closed = StatedLimits(closed_seconds=lacking)
            at(clock.seconds + latency_seconds, lambda: answered(size, size, closed))

    def answered(size: int, taken: int, stated: StatedLimits) -> None:
        limiter.settle(expected=size * error, taken=taken, stated=stated)
        ask()

    for _ in range(workers):
        at(clock.seconds, ask)
    while events and events[0][0] < end:
        clock.seconds, _, what = heapq.heappop(events)
        what()
    return Used(
        tokens=sum(accepted) / (TOKENS_PER_MINUTE * MINUTES),
        requests=len(accepted) / (REQUESTS_PER_MINUTE * MINUTES),
        refused=refused,
    )


@pytest.mark.parametrize(
    ("error", "limits"),
    [
        pytest.param(1.0, NO_LIMITS, id="as expected"),
        pytest.param(1.5, NO_LIMITS, id="expected too much"),
        pytest.param(0.6, NO_LIMITS, id="expected too little"),
        pytest.param(1.2, RateLimits(tokens_per_minute=TOKENS_PER_MINUTE), id="set"),
    ],
)
def test_95_percent_of_the_tokens_that_a_service_allows_are_used(
    error: float, limits: RateLimits
) -> None:
    used = used_by(error=error, limits=limits)

    assert 0.95 <= used.tokens <= 1.0
    assert used.refused == 0


def test_95_percent_of_the_requests_that_a_service_allows_are_used() -> None:
    used = used_by(workers=64, tokens=100)

    assert 0.95 <= used.requests <= 1.0
    assert used.refused == 0


def test_a_service_that_states_nothing_is_used_to_the_full_by_its_refusals() -> None:
    """They are not charged, and there are several per answer: the settings can name the limits."""
    used = used_by(states_headers=False)

    assert used.tokens >= 0.95
    assert used.refused > 0


def test_a_service_that_states_nothing_refuses_nothing_where_the_settings_do() -> None:
    limits = RateLimits(tokens_per_minute=TOKENS_PER_MINUTE)

    used = used_by(states_headers=False, limits=limits)

    assert used.tokens >= 0.95
    assert used.refused == 0


def test_an_account_that_others_use_too_is_shared_with_few_refusals() -> None:
    turns = itertools.count()

    def another(allowance: Allowance) -> None:
        if next(turns) % 2:
            allowance.take(4_000)

    used = used_by(others=another)

    assert 0.5 <= used.tokens <= 0.75
    assert used.refused <= 0.5 * used.requests * REQUESTS_PER_MINUTE * MINUTES
