"""What the engine is given by whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T = TypeVar("T")
Lease = Callable[[], AbstractContextManager[T]]
"""Opens something for the length of a ``with``."""


class Progress(Protocol):
    """Where a step tells how far it is."""

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        """``done`` of ``total`` items of ``step`` are finished."""


StopSignal = Callable[[], bool]
"""Whether somebody asked to stop; steps ask between batches."""
