"""The pace at which a REST system is asked: by turns, and not at all while it asked to wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync_pipeline.core.errors import RateLimitedError, TransientError
from sync_pipeline.core.landing.origin_options import ByOffset
from sync_pipeline.core.rate_limits import NOTHING_STATED, RateLimits, StatedLimits, Turn
from sync_pipeline.embedding.rate_limits import LocalRateLimiter
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.pacing import Pacing
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.origins.rest_server import Catalogue, Erp, refusal, running_erp
from sync_pipeline_tests.origins.rest_support import opened, read, request_of


def _pacing(clock: SetClock, limiter: LocalRateLimiter | None, *, longest: float = 900) -> Pacing:
    return Pacing(
        "products",
        limiter=limiter,
        longest_wait_seconds=longest,
        sleep=clock.sleep,
        clock=clock,
    )


def test_a_wait_that_was_asked_for_ends_once_and_is_not_waited_for_again() -> None:
    clock = SetClock()
    pacing = _pacing(clock, None)
    pacing.close(5)

    pacing.await_turn(Cost())
    pacing.await_turn(Cost())

    assert sum(clock.slept) == 5


def test_a_clock_that_stands_still_ends_a_wait_as_well() -> None:
    slept: list[float] = []
    pacing = Pacing(
        "p", limiter=None, longest_wait_seconds=9, sleep=slept.append, clock=lambda: 0.0
    )
    pacing.close(2)

    pacing.await_turn(Cost())

    assert sum(slept) == 2


def test_a_refusal_without_a_time_closes_for_a_moment() -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(clock=clock)
    pacing = _pacing(clock, limiter)

    pacing.close(None)

    assert limiter.blocked_seconds() == 2


def test_a_wait_that_another_process_was_asked_for_is_kept_here() -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(clock=clock)
    limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=300))
    cost = Cost()

    _pacing(clock, limiter).await_turn(cost)

    assert sum(clock.slept) == pytest.approx(300)
    assert cost.waited_seconds == pytest.approx(300)


def test_a_longer_one_than_the_connection_allows_is_an_error() -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(clock=clock)
    limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=901))

    with pytest.raises(RateLimitedError, match="for another 901 s") as caught:
        _pacing(clock, limiter).await_turn(Cost())

    assert caught.value.retry_after_seconds == pytest.approx(901)


class _ClosingLimiter(LocalRateLimiter):
    """Is closed for a minute while the first turn is waited for."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__(clock=clock)
        self._turns = iter([Turn(wait_seconds=1, is_taken=True, blocked_seconds=0)])

    def take(self, *, tokens: float, goes_ahead: bool = False) -> Turn:
        first = next(self._turns, None)
        if first is None:
            return super().take(tokens=tokens, goes_ahead=goes_ahead)
        super().settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=60))
        return first


def test_a_turn_that_is_closed_meanwhile_is_given_up_for_a_later_one() -> None:
    clock = SetClock()

    _pacing(clock, _ClosingLimiter(clock)).await_turn(Cost())

    assert sum(clock.slept) == pytest.approx(60)


class _DeafLimiter(LocalRateLimiter):
    def settle(
        self, *, expected: float, taken: float, stated: StatedLimits = NOTHING_STATED
    ) -> None:
        raise TransientError("the database is away")


def test_where_others_cannot_be_told_to_wait_this_one_does() -> None:
    clock = SetClock()
    pacing = _pacing(clock, _DeafLimiter(clock=clock))

    pacing.close(4)
    pacing.await_turn(Cost())

    assert sum(clock.slept) == 4


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(1_000)) as running:
        yield running


@pytest.mark.process
def test_no_more_requests_are_sent_in_a_minute_than_the_settings_allow(erp: Erp) -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(limits=RateLimits(requests_per_minute=30), clock=clock)
    began = clock()
    with opened(erp, request_of(ByOffset(size=50)), clock=clock, limiter=limiter) as origin:
        pages = read(origin)

    minutes = (clock() - began) / 60
    assert len(erp.targets) <= 30 * minutes + 3
    assert sum(page.waited_seconds for page in pages) > 30


@pytest.mark.process
def test_others_are_told_to_wait_as_long_as_the_system_asked_for(erp: Erp) -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(clock=clock)
    erp.faults.script = [refusal(429, retry_after="5000")]
    with opened(erp, clock=clock, limiter=limiter) as origin, pytest.raises(RateLimitedError):
        read(origin)

    assert limiter.blocked_seconds() == 5_000
