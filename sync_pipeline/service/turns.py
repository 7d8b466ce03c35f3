"""Searches ask the index in turn, so that a busy service stays answerable.

The embedded engine keeps the interpreter to itself for as long as a query takes (measured: 13 to
30 ms), so more threads at it do not make it faster: they make everything else wait, the answer
to a probe too. Waiting for a turn costs nobody anything, and shows as what it is in the time of
a search. Between two turns there is a breath, in which the event loop and the model come to work:
one query right after the other kept a probe waiting twice as long, and answered no more searches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sync_pipeline.core.errors import StoreLockedError
from sync_pipeline.service.problems import BusyError
from sync_pipeline.service.timing import note


class Turns:
    """So many at once, the others in the order in which they came."""

    def __init__(
        self, at_once: int, *, on_busy: Callable[[], None], breath_seconds: float = 0.0
    ) -> None:
        """Begin with nobody waiting.

        Args:
            at_once: How many may have a turn at the same time.
            on_busy: Called where a turn is refused.
            breath_seconds: Between a turn and that of somebody who waited for it.
        """
        self._breath_seconds = breath_seconds
        self._free = at_once
        self._waiting: deque[threading.Event] = deque()
        self._mutex = threading.Lock()
        self._on_busy = on_busy
        self._locked_at = float("-inf")
        """When the index was last found to be another process's."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it.

        Raises:
            BusyError: another process kept the index for as long as one that came before waited,
                and this one waited for that already.
        """
        asked = time.perf_counter()
        self._take()
        try:
            note("waiting", time.perf_counter() - asked)
            if asked < self._locked_at:
                self._on_busy()
                raise BusyError("a sync uses the index", retry_after=1)
            yield
        except StoreLockedError:
            self._locked_at = time.perf_counter()
            raise
        finally:
            self._give_back()

    def _take(self) -> None:
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            called = threading.Event()
            self._waiting.append(called)
        called.wait()
        time.sleep(self._breath_seconds)

    def _give_back(self) -> None:
        """Hand the turn to whoever waits longest: a newcomer cannot come in between."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
