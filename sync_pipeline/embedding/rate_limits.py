"""Waiting for one's turn at a service: among the threads of a process, or of all processes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sync_pipeline.core.errors import RateLimitedError, TransientError
from sync_pipeline.core.ports import RateLimiter
from sync_pipeline.core.rate_limits import (
    MAX_QUEUE_SECONDS,
    NO_LIMITS,
    NOTHING_STATED,
    Pace,
    RateLimits,
    StatedLimits,
    Turn,
    settle_turn,
    take_turn,
)
from sync_pipeline.core.waiting import wait

_PATIENCE_SECONDS: Final = 900.0
"""Longest wait for a place behind others of this installation."""
_WORTH_LOOKING_SECONDS: Final = 0.25
"""After a longer wait the service may have closed meanwhile."""

_log: Final = logging.getLogger(__name__)


class LocalRateLimiter:
    """``RateLimiter`` of one process, for use without a database.

    Args:
        limits: Of the settings.
        clock: Seconds; tests replace it.
    """

    def __init__(
        self, *, limits: RateLimits = NO_LIMITS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._pace = Pace()

    def take(self, *, tokens: float, goes_ahead: bool = False) -> Turn:
        """Take a turn among the threads of this process."""
        with self._lock:
            self._pace, turn = take_turn(
                self._pace,
                limits=self._limits,
                tokens=tokens,
                now=self._clock(),
                goes_ahead=goes_ahead,
            )
        return turn

    def settle(
        self, *, expected: float, taken: float, stated: StatedLimits = NOTHING_STATED
    ) -> None:
        """Correct a turn, and note what the service states."""
        with self._lock:
            self._pace = settle_turn(
                self._pace,
                limits=self._limits,
                expected=expected,
                taken=taken,
                stated=stated,
                now=self._clock(),
            )

    def blocked_seconds(self) -> float:
        """For how long the service answers nobody."""
        with self._lock:
            return max(0.0, self._pace.blocked_until - self._clock())


def await_turn(
    limiter: RateLimiter,
    *,
    tokens: float,
    goes_ahead: bool,
    service: str,
    sleep: Callable[[float], None],
) -> None:
    """Wait until a request of so many tokens may be sent.

    Args:
        limiter: Gives the turns.
        tokens: That it is expected to take.
        goes_ahead: See ``RateLimiter.take``.
        service: For messages.
        sleep: Waits a little.

    Raises:
        RateLimitedError: the service asked to wait for more than a minute, or so many requests
            of this installation are queued that a place cannot be had in time.
        StoppedError: asked to stop while waiting.
    """
    waited = 0.0
    while True:
        turn = limiter.take(tokens=tokens, goes_ahead=goes_ahead)
        if not turn.is_taken and (
            turn.blocked_seconds > MAX_QUEUE_SECONDS or waited > _PATIENCE_SECONDS
        ):
            raise RateLimitedError(
                f"{service} takes no request for another {turn.wait_seconds:.0f} s.",
                remedy="Run it again then; what was embedded is kept.",
                retry_after_seconds=turn.wait_seconds,
            )
        pause = min(
            turn.wait_seconds, MAX_QUEUE_SECONDS / 2 if not turn.is_taken else MAX_QUEUE_SECONDS
        )
        waited += pause
        wait(pause, sleep=sleep)
        if not turn.is_taken:
            continue
        if pause < _WORTH_LOOKING_SECONDS or limiter.blocked_seconds() <= 0:
            return
        # Closed while this one waited: its place is given up, and it queues again.
        limiter.settle(expected=tokens, taken=0)


def settle(limiter: RateLimiter, *, expected: float, taken: float, stated: StatedLimits) -> None:
    """Settle a turn; where that cannot be done, the answer counts more than the pace."""
    try:
        limiter.settle(expected=expected, taken=taken, stated=stated)
    except TransientError as error:
        _log.warning("the pace of requests could not be corrected: %s", error)
