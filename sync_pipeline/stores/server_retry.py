"""Trying again when that can help: five attempts, with growing waits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from sync_pipeline.core.errors import TransientError

T = TypeVar("T")

ATTEMPTS: Final = 5
FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 60.0

Sleep = Callable[[float], None]
"""Waits for so many seconds."""

_log: Final = logging.getLogger(__name__)
_growing: Final = wait_exponential_jitter(
    multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS, jitter=1
)


class Retry:
    """Calls something until it works, fails for good, or has failed five times.

    Args:
        sleep: How to wait.
    """

    __slots__ = ("_sleep",)

    def __init__(self, *, sleep: Sleep) -> None:
        self._sleep = sleep

    def __call__(self, attempt: Callable[[], T]) -> T:
        """Call, and again after each ``TransientError``; the last one is raised."""
        retrying = Retrying(
            sleep=self._sleep,
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait_seconds,
            before_sleep=_log_wait,
            reraise=True,
        )
        return retrying(attempt)


def _wait_seconds(state: RetryCallState) -> float:
    """As long as the other side asked, at most a minute; else 2, 4, 8, 16 s and some."""
    error = _error_of(state)
    if error is not None and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, LONGEST_WAIT_SECONDS)
    return _growing(state)


def _log_wait(state: RetryCallState) -> None:
    error = _error_of(state)
    _log.warning(
        "store request failed, trying again",
        extra={
            "attempt": state.attempt_number,
            "wait_seconds": state.upcoming_sleep,
            "error": str(error),
        },
    )


def _error_of(state: RetryCallState) -> TransientError | None:
    error = None if state.outcome is None else state.outcome.exception()
    return error if isinstance(error, TransientError) else None
