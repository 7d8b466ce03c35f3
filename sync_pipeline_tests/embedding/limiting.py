"""A clock that tests set, and processes that take turns at a service."""

from __future__ import annotations

import sys
import threading
import time

from sync_pipeline.core.rate_limits import RateLimits
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.rate_limits import PostgresRateLimiter


class SetClock:
    """A clock that only sleeping moves; for threads too."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds
            self.slept.append(seconds)


def main(url: str, turns: int, tokens: float, tokens_per_minute: float) -> None:
    """Take turns as fast as they are given, and print when each could be used."""
    limiter = PostgresRateLimiter(
        make_engine(url),
        account="shared",
        limits=RateLimits(tokens_per_minute=tokens_per_minute),
    )
    limiter.blocked_seconds()
    say("ready")
    sys.stdin.readline()
    for _ in range(turns):
        turn = limiter.take(tokens=tokens)
        say(time.time() + turn.wait_seconds)


def say(what: object) -> None:
    """One line, at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
