"""When to ask again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipeline.core.errors import PermanentError, RateLimitedError, TransientError
from sync_pipeline.embedding.retries import RetryPolicy, retry_after_seconds, retrying

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7, id="whole seconds"),
        pytest.param("1.5", 1.5, id="a fraction"),
        pytest.param("Fri, 20 Nov 2026 12:00:30 GMT", 30, id="a date"),
        pytest.param("Fri, 20 Nov 2026 11:00:00 GMT", 0, id="a date in the past"),
        pytest.param("-3", 0, id="negative"),
        pytest.param("1e300", 86_400, id="absurd"),
        pytest.param("soon", None, id="words"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="no header"),
    ],
)
def test_every_form_of_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


def test_waits_double_from_two_to_sixty_seconds_with_jitter() -> None:
    policy = RetryPolicy(attempts=9)

    longest = [policy.wait_seconds(failed=n, asked=None, chance=1) for n in range(1, 9)]
    shortest = [policy.wait_seconds(failed=n, asked=None, chance=0) for n in range(1, 9)]

    assert longest == [2, 4, 8, 16, 32, 60, 60, 60]
    assert shortest == [1, 2, 4, 8, 16, 30, 30, 30]


def test_never_less_is_waited_than_asked() -> None:
    assert RetryPolicy().wait_seconds(failed=1, asked=40, chance=0.5) == 40.5


def test_a_longer_wait_than_ours_is_left_to_the_caller() -> None:
    assert RetryPolicy().wait_seconds(failed=1, asked=61, chance=0.5) is None


def test_it_gives_up_after_five_attempts_with_the_last_error() -> None:
    waits: list[float] = []
    errors = [TransientError(f"attempt {n}") for n in range(1, 7)]
    left = iter(errors)

    def attempt() -> None:
        raise next(left)

    with pytest.raises(TransientError, match="attempt 5"):
        retrying(attempt, policy=RetryPolicy(), sleep=waits.append, chance=lambda: 1)

    assert waits == [2, 4, 8, 16]


def test_a_success_after_failures_is_returned() -> None:
    answers: list[object] = [TransientError("down"), RateLimitedError("wait"), "vectors"]

    def attempt() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retrying(attempt, policy=RetryPolicy(), sleep=lambda _: None) == "vectors"


def test_permanent_errors_are_not_retried() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise PermanentError("no")

    with pytest.raises(PermanentError, match="no"):
        retrying(attempt, policy=RetryPolicy(), sleep=lambda _: None)

    assert len(calls) == 1
