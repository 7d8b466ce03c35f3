"""When a provider that failed is asked again: a circuit breaker, in pure functions.

Closed, it is asked. After some failures in a row it opens: nobody asks it for a while, twice as
long each time. When that has passed, one call tries (half open): its success closes the breaker,
its failure opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

FAILURES_TO_OPEN: Final = 2
"""Calls that fail in a row, each after all of its attempts, before nobody asks any more."""
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(minutes=15)
_MOST_DOUBLINGS: Final = LONGEST_PAUSE // FIRST_PAUSE
"""More than enough for the longest; a provider that is gone for days fails hundreds of times."""
TRIAL: Final = timedelta(minutes=2)
"""How long one call that tries keeps all others from doing so."""


class BreakerState(StrEnum):
    """Whether a provider is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is known of a provider's failures."""

    provider: str
    failures: int = 0
    """In a row."""
    retry_at: datetime | None = None
    """When it is asked again; None while it is asked anyway."""
    error_code: str | None = None
    """Class name of the last error."""
    error: str | None = None
    failed_at: datetime | None = None

    def state(self, *, now: datetime) -> BreakerState:
        """Whether it is asked."""
        if self.retry_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self.retry_at else BreakerState.OPEN

    def after_failure(
        self,
        *,
        now: datetime,
        error_code: str,
        error: str,
        wait_seconds: float | None = None,
        is_lasting: bool = False,
    ) -> Breaker:
        """The same after one more failure.

        Args:
            now: The present.
            error_code: Class name of the error.
            error: Its message.
            wait_seconds: How long the provider asked to wait; it opens at once then.
            is_lasting: Whether somebody has to change something first; likewise.
        """
        failures = self.failures + 1
        doublings = min(max(0, failures - FAILURES_TO_OPEN), _MOST_DOUBLINGS)
        pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
        if is_lasting:
            pause = LONGEST_PAUSE
        elif wait_seconds is not None:
            pause = timedelta(seconds=wait_seconds)
        is_open = failures >= FAILURES_TO_OPEN or is_lasting or wait_seconds is not None
        return replace(
            self,
            failures=failures,
            retry_at=now + pause if is_open else None,
            error_code=error_code,
            error=error,
            failed_at=now,
        )

    def told(self, *, now: datetime) -> str:
        """For people."""
        if self.retry_at is None:
            return f"{self.provider} is asked"
        is_open = self.state(now=now) is BreakerState.OPEN
        again = f"until {self.retry_at:%H:%M:%S %Z}" if is_open else "the next call tries it"
        failures = "a failure" if self.failures == 1 else f"{self.failures} failures"
        why = (self.error or "").strip().removesuffix(".")
        return f"{self.provider} is not asked after {failures}, {again}: {why}"
