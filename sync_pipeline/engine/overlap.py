"""Reading ahead and recording behind, so that waiting for PostgreSQL costs no time of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


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
