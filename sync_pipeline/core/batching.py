"""How work is cut: by count, by size, by length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most ``size`` items, in order."""
    if size < 1:
        raise ValueError("a batch holds at least one item")
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def batched_by_size(
    items: Iterable[T], *, max_items: int, max_bytes: int | None, size_of: Callable[[T], int]
) -> Iterator[list[T]]:
    """Cut by count and bytes; one item over ``max_bytes`` makes a batch of its own.

    Without ``max_bytes`` sizes do not matter, and nobody is asked for them.
    """
    if max_bytes is None:
        yield from batched(items, max_items)
        return
    batch: list[T] = []
    held = 0
    for item in items:
        size_bytes = size_of(item)
        if batch and (len(batch) == max_items or held + size_bytes > max_bytes):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size_bytes
    if batch:
        yield batch


def by_length(texts: Sequence[str]) -> list[int]:
    """Positions of ``texts`` from longest to shortest, ties in order.

    Batches of like length waste no padding, and the longest comes first, so
    that memory runs out at once or not at all.
    """
    return sorted(range(len(texts)), key=lambda position: -len(texts[position]))
