"""When a provider that failed is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sync_pipeline.core.breaker import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Breaker,
    BreakerState,
)

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def failed(breaker: Breaker, *, times: int) -> Breaker:
    for _ in range(times):
        breaker = breaker.after_failure(now=NOON, error_code="E", error="no answer")
    return breaker


def test_pauses_double_up_to_a_quarter_of_an_hour() -> None:
    pauses = [
        breaker.retry_at - NOON
        for times in range(2, 9)
        if (breaker := failed(Breaker(provider="a"), times=times)).retry_at is not None
    ]

    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_one_that_is_gone_for_weeks_is_tried_as_often_as_before() -> None:
    breaker = failed(Breaker(provider="a"), times=5_000)

    assert breaker.retry_at == NOON + LONGEST_PAUSE


def test_it_opens_and_is_tried_after_its_pause() -> None:
    breaker = failed(Breaker(provider="a"), times=2)

    assert breaker.state(now=NOON) is BreakerState.OPEN
    assert breaker.state(now=NOON + FIRST_PAUSE) is BreakerState.HALF_OPEN
    assert failed(Breaker(provider="a"), times=1).state(now=NOON) is BreakerState.CLOSED


def test_people_are_told_until_when_and_why() -> None:
    breaker = failed(Breaker(provider="api.example small"), times=2)

    assert breaker.told(now=NOON) == (
        "api.example small is not asked after 2 failures, until 12:00:30 UTC: no answer"
    )
    assert "the next call tries it" in breaker.told(now=NOON + timedelta(hours=1))
    once = breaker.after_failure(now=NOON, error_code="E", error="Mend it.", is_lasting=True)
    assert "after 3 failures, until 12:15:00 UTC: Mend it" in once.told(now=NOON)
    assert Breaker(provider="a").told(now=NOON) == "a is asked"
