"""When to ask again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from sync_pipeline.core.errors import PermanentError, RateLimitedError, TransientError
from sync_pipeline.core.retrying import Retries, retry_after_seconds

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


class Attempt:
    """Fails with each of these errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def waits_of(attempt: Attempt, **limits: int) -> list[float]:
    """Call, and say how long was waited in between."""
    waits: list[float] = []
    Retries(sleep=waits.append, **limits).call(attempt)
    return waits


def asking(seconds: float) -> TransientError:
    """The error of a service that asks to wait."""
    return RateLimitedError("wait", retry_after_seconds=seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7, id="whole seconds"),
        pytest.param(" 1.5 ", 1.5, id="a fraction"),
        pytest.param("Fri, 20 Nov 2026 12:00:30 GMT", 30, id="a date"),
        pytest.param("Friday, 20-Nov-26 12:00:30 GMT", 30, id="an old date"),
        pytest.param("Fri Nov 20 12:00:30 2026", 30, id="asctime"),
        pytest.param("Fri, 20 Nov 2026 11:00:00 GMT", 0, id="a date in the past"),
        pytest.param("-3", 0, id="negative"),
        pytest.param("1e300", 86_400, id="absurd"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("soon", None, id="words"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="no header"),
    ],
)
def test_every_form_of_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


def test_waits_double_from_two_to_sixty_seconds_and_some() -> None:
    waits = waits_of(Attempt(*[TransientError("down")] * 8), attempts=9)

    least = [2, 4, 8, 16, 32, 60, 60, 60]
    assert [low <= wait <= low + 1 for low, wait in zip(least, waits, strict=True)] == [True] * 8


@pytest.mark.parametrize("asked", [0, 1.5, 40, 60])
def test_whoever_asks_for_a_time_gets_it_and_never_less(asked: float) -> None:
    (wait,) = waits_of(Attempt(asking(asked)))

    assert asked <= wait <= asked + 1


def test_a_longer_wait_than_ours_is_left_to_the_caller() -> None:
    attempt = Attempt(asking(61))

    with pytest.raises(RateLimitedError) as caught:
        waits_of(attempt)

    assert attempt.calls == 1
    assert caught.value.retry_after_seconds == 61


def test_it_gives_up_after_five_attempts_with_the_last_error() -> None:
    attempt = Attempt(*[TransientError(f"attempt {number}") for number in range(1, 7)])

    with pytest.raises(TransientError, match="attempt 5"):
        waits_of(attempt)

    assert attempt.calls == 5


def test_a_success_after_failures_is_returned() -> None:
    attempt = Attempt(TransientError("down"), RateLimitedError("wait"))

    assert Retries(sleep=lambda _: None).call(attempt) == "done"


def test_permanent_errors_are_not_retried() -> None:
    attempt = Attempt(PermanentError("no"))

    with pytest.raises(PermanentError, match="no"):
        waits_of(attempt)

    assert attempt.calls == 1


def test_a_wait_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        waits_of(
            Attempt(RateLimitedError("gone\nfor now", retry_after_seconds=7)), jitter_seconds=0
        )

    assert [record.getMessage() for record in caplog.records] == [
        "trying again in 7 s: gone for now"
    ]
