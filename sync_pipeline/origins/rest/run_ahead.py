"""Pages that are fetched before they are wanted, and given in the order they are asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as await_futures
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Generic, Self, TypeVar

from sync_pipeline.origins.rest.answers import Listing
from sync_pipeline.origins.rest.costs import Cost, is_dropped

K = TypeVar("K")

_GRACE_SECONDS: Final = 1.0
"""How long answers under way are waited for in the end, so that their connections stay whole."""


@dataclass(slots=True, eq=False)
class _Coming(Generic[K]):
    key: K
    answer: Future[Listing]
    dropped: threading.Event
    cost: Cost = field(default_factory=Cost)


class RunAhead(Generic[K]):
    """Asks for pages in threads, at most some beyond the one that was taken last.

    Args:
        ask: Fetches the page of a key, and adds to its cost.
        most: Requests under way at the same time, and pages beyond the last one taken; 0: a page
            is asked for when it is taken.
    """

    def __init__(self, ask: Callable[[K, Cost], Listing], *, most: int) -> None:
        self._ask = ask
        self._most = most
        self._pool = ThreadPoolExecutor(max_workers=max(most, 1), thread_name_prefix="rest-page")
        self._coming: deque[_Coming[K]] = deque()
        self._dropped: list[_Coming[K]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        await_futures([it.answer for it in self._dropped], timeout=_GRACE_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, key: K) -> Listing:
        """The page of a key; pages of other keys that were to come first are dropped."""
        if self._coming and self._coming[0].key != key:
            self.drop()
        return self._result(self._coming.popleft() if self._coming else self._begun(key))

    def ask_again(self, key: K) -> Listing:
        """A page anew, whatever else is coming."""
        return self._result(self._begun(key))

    def expect(self, keys: Iterable[K]) -> None:
        """Have these pages fetched, as many as may be; others that are coming are dropped."""
        wanted = list(islice(keys, self._most))
        kept = 0
        while kept < len(self._coming) and self._coming[kept].key in wanted[kept : kept + 1]:
            kept += 1
        self._drop_after(kept)
        self._coming.extend(self._begun(key) for key in wanted[kept:])

    def drop(self) -> None:
        """Forget what is coming; what is only queued is never asked for."""
        self._drop_after(0)

    def _drop_after(self, kept: int) -> None:
        while len(self._coming) > kept:
            it = self._coming.pop()
            it.dropped.set()
            it.answer.cancel()
            self._dropped.append(it)

    def _begun(self, key: K) -> _Coming[K]:
        dropped, cost = threading.Event(), Cost()
        context = copy_context()
        context.run(is_dropped.set, dropped.is_set)
        answer = self._pool.submit(context.run, self._ask, key, cost)
        return _Coming(key=key, answer=answer, dropped=dropped, cost=cost)

    def _result(self, coming: _Coming[K]) -> Listing:
        listing = coming.answer.result()
        listing.cost.add(coming.cost)
        for it in [it for it in self._dropped if it.answer.done()]:
            listing.cost.add(it.cost)
            self._dropped.remove(it)
        return listing
