"""Reading ahead, recording behind and several calls at once, so that waiting costs little."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield the same items in the same order, fetching the next one meanwhile.

    One thread fetches, at most one item ahead. An error of ``items`` is raised
    where its item would have come.
    """
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        coming: Future[T | object] = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # only the sentinel is not a T


@contextmanager
def record_behind(record: Callable[[T], None]) -> Iterator[Callable[[T], None]]:
    """Hand out a function that records in a thread, in order, at most one call behind.

    An error of an earlier call is raised by the next one, or at the end of the
    ``with``, which waits for the last call.
    """
    pending: list[Future[None]] = []

    def submit(item: T) -> None:
        settle()
        pending.append(pool.submit(record, item))

    def settle() -> None:
        while pending:
            pending.pop().result()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="record-behind") as pool:
        yield submit
        settle()


def in_flight(work: Callable[[T], R], items: Iterable[T], *, most: int) -> Iterator[R]:
    """Yield what ``work`` makes of each item, in their order, several at a time.

    Of what is under way when one fails nothing is lost: what succeeds is yielded before the
    error is raised. What has not begun by then is not begun.

    Args:
        work: Called in threads, unless ``most`` is 1.
        items: Fetched as they are needed.
        most: Calls under way at the same time.
    """
    if most == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(max_workers=most, thread_name_prefix="in-flight") as pool:
        coming = (pool.submit(copy_context().run, work, item) for item in items)
        # Twice as many, so that a slow one does not keep the others from going on.
        under_way = deque(islice(coming, 2 * most))
        try:
            while under_way:
                yield under_way.popleft().result()
                under_way.extend(islice(coming, 1))
        except Exception:
            for future in under_way:
                future.cancel()
            yield from (
                future.result()
                for future in under_way
                if not future.cancelled() and future.exception() is None
            )
            raise
