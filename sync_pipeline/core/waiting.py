"""Waiting that ends when somebody asks to stop, wherever in a call it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from sync_pipeline.core.errors import StoppedError

SLICE_SECONDS: Final = 0.5
"""How long a stop may go unnoticed."""

_should_stop: Final[ContextVar[Callable[[], bool]]] = ContextVar("should_stop")


@contextmanager
def stoppable(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Have what waits inside the ``with`` look up whether to stop.

    Another thread sees it too where it was given this context (``contextvars.copy_context``).
    """
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


def wait(seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, some of it at a time.

    Raises:
        StoppedError: asked to stop meanwhile.
    """
    left = seconds
    while left > 0:
        if _should_stop.get(_never)():
            raise StoppedError(f"stopped while waiting, {left:.0f} s before the end of it")
        sleep(min(left, SLICE_SECONDS))
        left -= SLICE_SECONDS


def _never() -> bool:
    return False
