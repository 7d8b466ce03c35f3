"""What every ``RateLimiter`` promises."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.ports import RateLimiter
from sync_pipeline.core.rate_limits import (
    BURST_SECONDS,
    MAX_QUEUE_SECONDS,
    SHARE_USED,
    RateLimits,
    StatedLimits,
)
from sync_pipeline.database.rate_limits import PostgresRateLimiter
from sync_pipeline.embedding.rate_limits import LocalRateLimiter

MakeLimiter = Callable[..., RateLimiter]
SLACK = 0.5
"""Seconds that a database may take between two statements of a test."""


@pytest.fixture(params=["local", pytest.param("postgres", marks=pytest.mark.process)])
def make(request: pytest.FixtureRequest) -> MakeLimiter:
    """Limiters by their limits."""
    if request.param == "local":
        return lambda **limits: LocalRateLimiter(limits=RateLimits(**limits))
    engine: Engine = request.getfixturevalue("engine")
    return lambda **limits: PostgresRateLimiter(engine, account="a", limits=RateLimits(**limits))


def seconds_for(tokens: float, *, per_minute: float) -> float:
    """How long a service takes to allow so many tokens."""
    return tokens * 60 / (per_minute * SHARE_USED)


def test_without_limits_nobody_waits(make: MakeLimiter) -> None:
    limiter = make()

    turns = [limiter.take(tokens=1e9) for _ in range(5)]

    assert [(turn.wait_seconds, turn.is_taken) for turn in turns] == [(0, True)] * 5


def test_the_first_goes_at_once_and_each_other_when_the_allowance_is_there(
    make: MakeLimiter,
) -> None:
    limiter = make(tokens_per_minute=600)

    waits = [limiter.take(tokens=100).wait_seconds for _ in range(4)]

    each = seconds_for(100, per_minute=600)
    assert waits[0] == 0
    for place, wait in enumerate(waits[1:], start=1):
        assert wait == pytest.approx(place * each - BURST_SECONDS, abs=SLACK)


def test_requests_have_a_limit_of_their_own_and_the_slower_one_counts(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600, requests_per_minute=6)

    waits = [limiter.take(tokens=1).wait_seconds for _ in range(3)]

    each = seconds_for(1, per_minute=6)
    assert waits == pytest.approx([0, each - BURST_SECONDS, 2 * each - BURST_SECONDS], abs=SLACK)


def test_a_search_goes_ahead_of_all_that_wait_and_counts(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    for _ in range(3):
        limiter.take(tokens=100)

    ahead = limiter.take(tokens=10, goes_ahead=True)
    behind = limiter.take(tokens=100)

    assert (ahead.wait_seconds, ahead.is_taken) == (0, True)
    expected = seconds_for(310, per_minute=600) - BURST_SECONDS
    assert behind.wait_seconds == pytest.approx(expected, abs=SLACK)


def test_who_would_wait_for_too_long_gets_no_place_and_takes_none(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    limiter.take(tokens=1000)

    first = limiter.take(tokens=100)
    second = limiter.take(tokens=100)

    assert not first.is_taken
    assert first.wait_seconds > MAX_QUEUE_SECONDS
    assert second.wait_seconds == pytest.approx(first.wait_seconds, abs=SLACK)
    assert first.blocked_seconds == 0


def test_what_was_not_taken_is_there_for_the_next(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    limiter.take(tokens=300)

    limiter.settle(expected=300, taken=100)

    expected = seconds_for(100, per_minute=600) - BURST_SECONDS
    assert limiter.take(tokens=1).wait_seconds == pytest.approx(expected, abs=SLACK)


def test_what_was_taken_beyond_is_waited_for(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    limiter.take(tokens=100)

    limiter.settle(expected=100, taken=300)

    expected = seconds_for(300, per_minute=600) - BURST_SECONDS
    assert limiter.take(tokens=1).wait_seconds == pytest.approx(expected, abs=SLACK)


def test_limits_that_the_service_states_count_where_they_are_less(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    limiter.settle(
        expected=0,
        taken=0,
        stated=StatedLimits(limits=RateLimits(tokens_per_minute=300, requests_per_minute=10_000)),
    )

    limiter.take(tokens=100)

    expected = seconds_for(100, per_minute=300) - BURST_SECONDS
    assert limiter.take(tokens=1).wait_seconds == pytest.approx(expected, abs=SLACK)


def test_limits_of_the_settings_count_where_the_service_states_more(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    more = StatedLimits(limits=RateLimits(tokens_per_minute=60_000))
    limiter.settle(expected=0, taken=0, stated=more)

    limiter.take(tokens=100)

    expected = seconds_for(100, per_minute=600) - BURST_SECONDS
    assert limiter.take(tokens=1).wait_seconds == pytest.approx(expected, abs=SLACK)


def test_where_others_use_the_account_too_what_a_request_lacks_is_waited_for(
    make: MakeLimiter,
) -> None:
    limiter = make(tokens_per_minute=60_000, requests_per_minute=60)

    limiter.take(tokens=3000)
    limiter.settle(
        expected=3000, taken=3000, stated=StatedLimits(tokens_left=1000, requests_left=0)
    )

    expected = max(
        seconds_for(3000, per_minute=60_000) - BURST_SECONDS, seconds_for(2000, per_minute=60_000)
    )
    assert limiter.take(tokens=1).wait_seconds == pytest.approx(expected, abs=SLACK)


@pytest.mark.parametrize("goes_ahead", [False, True])
def test_while_the_service_answers_nobody_all_wait(*, make: MakeLimiter, goes_ahead: bool) -> None:
    limiter = make()
    limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=20))
    limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=5))

    turn = limiter.take(tokens=1, goes_ahead=goes_ahead)

    assert turn.wait_seconds == pytest.approx(20, abs=SLACK)
    assert turn.blocked_seconds == pytest.approx(20, abs=SLACK)
    assert limiter.blocked_seconds() == pytest.approx(20, abs=SLACK)


def test_after_a_closed_time_requests_are_spread_again(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=600)
    limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=20))

    waits = [limiter.take(tokens=100).wait_seconds for _ in range(3)]

    each = seconds_for(100, per_minute=600)
    assert waits == pytest.approx([20, 20 + each, 20 + 2 * each], abs=SLACK)


def test_a_service_that_is_open_is_said_to_be(make: MakeLimiter) -> None:
    assert make().blocked_seconds() == 0


def test_threads_never_get_the_same_turn(make: MakeLimiter) -> None:
    limiter = make(tokens_per_minute=60_000)
    waits: list[float] = []

    def take() -> None:
        waits.extend(limiter.take(tokens=1000).wait_seconds for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(waits) == 20
    expected = seconds_for(19_000, per_minute=60_000) - BURST_SECONDS
    assert max(waits) == pytest.approx(expected, abs=2 * SLACK)


@pytest.mark.process
@pytest.mark.slow
def test_four_processes_share_one_pace(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    command = [
        sys.executable,
        "-m",
        "sync_pipeline_tests.embedding.limiting",
        url,
        "25",
        "100",
        "60000",
    ]
    programs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    said = [program.communicate("\n", timeout=60)[0] for program in programs]

    moments = sorted(float(line) for lines in said for line in lines.split())
    assert len(moments) == 100
    assert moments[-1] - moments[0] == pytest.approx(
        seconds_for(9900, per_minute=60_000) - BURST_SECONDS, abs=SLACK
    )


@pytest.mark.process
def test_accounts_do_not_wait_for_each_other(engine: Engine) -> None:
    limits = RateLimits(tokens_per_minute=600)
    first = PostgresRateLimiter(engine, account="a", limits=limits)
    second = PostgresRateLimiter(engine, account="b", limits=limits)
    first.take(tokens=500)

    assert second.take(tokens=500).wait_seconds == 0


@pytest.mark.process
def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(engine: Engine) -> None:
    limiter = PostgresRateLimiter(engine, account="a", limits=RateLimits(tokens_per_minute=600))
    limiter.take(tokens=100)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sync_pipeline.rate_limit SET requests_at = requests_at + interval '1 hour',"
                " tokens_at = tokens_at + interval '1 hour',"
                " asked_at = asked_at + interval '1 hour'"
            )
        )

    waited = limiter.take(tokens=100).wait_seconds

    expected = seconds_for(100, per_minute=600) - BURST_SECONDS
    assert waited == pytest.approx(expected, abs=SLACK)
