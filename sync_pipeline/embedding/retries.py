"""When to ask a service again, and when to give up."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from sync_pipeline.core.errors import TransientError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to wait."""

    attempts: int = 5
    first_wait_seconds: float = 2
    longest_wait_seconds: float = 60

    def wait_seconds(self, *, failed: int, asked: float | None, chance: float) -> float | None:
        """How long to wait after a failure; None to give up.

        Args:
            failed: Attempts that have failed, at least one.
            asked: Seconds that the other side asked for. Never less is waited; if it is more
                than the longest wait, whoever called decides what to do in the meantime.
            chance: From 0 to 1; spreads callers that failed together.
        """
        if failed >= self.attempts:
            return None
        if asked is not None:
            return asked + chance if asked <= self.longest_wait_seconds else None
        doubled: float = self.first_wait_seconds * 2.0 ** (failed - 1)
        return min(doubled, self.longest_wait_seconds) * (0.5 + chance / 2)


def retrying(
    attempt: Callable[[], T],
    *,
    policy: RetryPolicy,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Call ``attempt`` until it succeeds, fails for good, or the policy gives up.

    Raises:
        TransientError: the last one, when the policy gives up.
    """
    failed = 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            failed += 1
            asked = error.retry_after_seconds
            wait = policy.wait_seconds(failed=failed, asked=asked, chance=chance())
            if wait is None:
                raise
            logger.info(
                "attempt %d of %d failed (%s), waiting %.1f s",
                failed,
                policy.attempts,
                type(error).__name__,
                wait,
            )
        sleep(wait)


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Read a ``Retry-After`` header: whole seconds, a fraction, or an HTTP date.

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
    # NaN compares false with everything.
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None  # noqa: PLR0124


def _seconds_until(value: str, *, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return float("nan")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
