"""Trying again when that can help: one rule for databases, index and embedding services."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from sync_pipeline.core.errors import TransientError

T = TypeVar("T")

LONGEST_ASKED_SECONDS: Final = 86_400.0
"""A ``Retry-After`` beyond a day is taken for one."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how long to try again what can be cured by waiting: 2, 4, 8, 16 s and some.

    Whoever asks for a time gets it, and never less. Where that is longer than the longest
    wait, the error is raised at once: who called knows what to do meanwhile.
    """

    attempts: int = 5
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 60.0
    jitter_seconds: float = 1.0
    """Most that is added to a wait, so that callers which failed together spread."""
    sleep: Callable[[float], None] = time.sleep

    def call(self, attempt: Callable[[], T]) -> T:
        """Call until it succeeds, fails for good, or waiting is no use.

        Args:
            attempt: Does no harm if it is done again.

        Raises:
            TransientError: the last one.
        """
        retrying = Retrying(
            sleep=self.sleep,
            retry=retry_if_exception(self._is_worth_waiting),
            stop=stop_after_attempt(self.attempts),
            wait=self._wait_seconds,
            before_sleep=_log_wait,
            reraise=True,
        )
        return retrying(attempt)

    def _is_worth_waiting(self, error: BaseException) -> bool:
        if not isinstance(error, TransientError):
            return False
        asked = error.retry_after_seconds
        return asked is None or asked <= self.longest_wait_seconds

    def _wait_seconds(self, state: RetryCallState) -> float:
        error = _error_of(state)
        if isinstance(error, TransientError) and error.retry_after_seconds is not None:
            return error.retry_after_seconds + random.uniform(0, self.jitter_seconds)  # noqa: S311 - spreads callers
        growing = wait_exponential_jitter(
            multiplier=self.first_wait_seconds,
            max=self.longest_wait_seconds,
            jitter=self.jitter_seconds,
        )
        return growing(state)


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3), whose seconds may be a fraction.

    Args:
        value: The header, None where there was none.
        now: The present, with time zone.

    Returns:
        Seconds from now, not below 0; None for a header that says nothing usable.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now=now)
    return min(max(seconds, 0.0), LONGEST_ASKED_SECONDS) if math.isfinite(seconds) else None


def _seconds_until(value: str, *, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def _log_wait(state: RetryCallState) -> None:
    error = _error_of(state)
    # What to do about it is done here.
    said = " ".join((error.what if isinstance(error, TransientError) else str(error)).split())
    _log.warning("trying again in %.0f s: %s", state.upcoming_sleep, said)


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
