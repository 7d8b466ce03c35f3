"""When a request may be sent: for all threads of an origin, and all processes of an account."""

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
    UNSTATED_BLOCK_SECONDS,
    StatedLimits,
)
from sync_pipeline.core.waiting import wait
from sync_pipeline.origins.rest.costs import Cost

_WORTH_LOOKING_SECONDS: Final = 0.25
"""After a longer wait the system may have closed meanwhile."""

_log: Final = logging.getLogger(__name__)


class Pacing:
    """Holds requests back while the system asked for it, and to the limits of the settings.

    Args:
        landing: For messages.
        limiter: Gives turns among all who share an account; None: there is no limit.
        longest_wait_seconds: A longer wait is an error.
        sleep: Waits a little.
        clock: Seconds.
    """

    def __init__(
        self,
        landing: str,
        *,
        limiter: RateLimiter | None,
        longest_wait_seconds: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._landing = landing
        self._limiter = limiter
        self._longest_wait_seconds = longest_wait_seconds
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._open_at = float("-inf")

    def await_turn(self, cost: Cost) -> None:
        """Wait until a request may be sent.

        Raises:
            RateLimitedError: that takes longer than the connection allows.
            StoppedError: asked to stop while waiting.
        """
        self._await_opening()
        if self._limiter is not None:
            self._await_place(self._limiter, cost)

    def close(self, seconds: float | None) -> None:
        """Have everybody wait, for the system asked for it.

        Args:
            seconds: As it asked; None: it did not say for how long.
        """
        closed_seconds = UNSTATED_BLOCK_SECONDS if seconds is None else seconds
        with self._lock:
            self._open_at = max(self._open_at, self._clock() + closed_seconds)
        if self._limiter is None:
            return
        try:
            self._limiter.settle(
                expected=0, taken=0, stated=StatedLimits(closed_seconds=closed_seconds)
            )
        except TransientError as error:
            _log.warning("others could not be told to wait: %s", error)

    def _await_opening(self) -> None:
        """Each moment of opening is waited for once, and anew where it was put off meanwhile."""
        waited_for = None
        while True:
            with self._lock:
                open_at = self._open_at
            left = open_at - self._clock()
            if left <= 0 or open_at == waited_for:
                return
            wait(left, sleep=self._sleep)
            waited_for = open_at

    def _await_place(self, limiter: RateLimiter, cost: Cost) -> None:
        waited = 0.0
        while True:
            turn = limiter.take(tokens=0)
            if not turn.is_taken and (
                max(turn.blocked_seconds, waited) > self._longest_wait_seconds
            ):
                raise RateLimitedError(
                    f"landing {self._landing!r}: no request may be sent for another "
                    f"{turn.wait_seconds:.0f} s, which is longer than `longest_wait_seconds`.",
                    remedy="What was fetched is kept; the next run goes on there.",
                    retry_after_seconds=turn.wait_seconds,
                )
            pause = min(turn.wait_seconds, MAX_QUEUE_SECONDS / (1 if turn.is_taken else 2))
            waited += pause
            wait(pause, sleep=self._sleep)
            cost.waited_seconds += pause
            if turn.is_taken and (pause < _WORTH_LOOKING_SECONDS or limiter.blocked_seconds() <= 0):
                return
            if turn.is_taken:
                # Closed while this one waited: its place is given up, and it queues again.
                limiter.settle(expected=0, taken=0)
