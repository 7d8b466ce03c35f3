"""Threads of searches, which are there before the first search comes.

A thread that is started while others keep the interpreter busy makes the event loop wait for them
(measured: 32 clients that came at once kept a probe waiting for half a second), and those of the
framework end after ten idle seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

SEARCHES: Final = 40
"""Searches at once; later ones wait without a thread."""
ASKED_AHEAD: Final = 2
"""Threads that ask record and source for searches that wait for the model."""

P = ParamSpec("P")
T = TypeVar("T")


class SharedReads:
    """Reads that several searches need, each done once for all that asked before it began.

    So a burst of searches asks no more than a few times, and nobody is told what was read before
    they came (``engine.questions.search.Ahead``).
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._mutex = threading.Lock()
        self._waiting: dict[Hashable, Future[Any]] = {}
        """Asked for and not begun."""

    def begin(self, key: Hashable, work: Callable[[], T]) -> Callable[[], T]:
        """See ``Ahead``."""
        with self._mutex:
            if key not in self._waiting:
                begun = partial(copy_context().run, self._read, key, work)
                self._waiting[key] = self._pool.submit(begun)
            return self._waiting[key].result

    def _read(self, key: Hashable, work: Callable[[], T]) -> T:
        with self._mutex:
            del self._waiting[key]
        return work()


class SearchThreads:
    """Where searches run, and where they ask ahead what does not need the model."""

    def __init__(self) -> None:
        self._searches = ThreadPoolExecutor(SEARCHES, thread_name_prefix="search")
        self._ahead = ThreadPoolExecutor(ASKED_AHEAD, thread_name_prefix="asked ahead")
        self.ahead = SharedReads(self._ahead)
        """For what is asked while a search waits for the model."""

    def start(self) -> None:
        """Start all of them, before anything is asked; not beside ``close``."""
        for pool, size in ((self._searches, SEARCHES), (self._ahead, ASKED_AHEAD)):
            everybody = threading.Barrier(size)
            for started in [pool.submit(everybody.wait) for _ in range(size)]:
                started.result()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Answer a search, in the context of its request.

        Raises:
            Exception: what ``work`` raises.
        """
        begun = partial(work, *args, **kwargs)
        return await asyncio.wrap_future(self._searches.submit(copy_context().run, begun))

    def close(self) -> None:
        """End them; what waits is answered before."""
        self._searches.shutdown()
        self._ahead.shutdown()
