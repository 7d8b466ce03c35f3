"""Doing something again and again beside the work of a step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sync_pipeline.core.errors import (
    LandingSupersededError,
    SupersededError,
    SyncPipelineError,
)

_log: Final = logging.getLogger(__name__)


@contextmanager
def repeating(work: Callable[[], None], *, every_seconds: float, name: str) -> Iterator[None]:
    """Do ``work`` every so many seconds in a thread, for the length of the ``with``.

    What fails is done again at the next turn: a database that is away now may be back then. It
    ends for good where another run has taken over what was held; the step finds that out itself.
    """
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(every_seconds):
            try:
                work()
            except (SupersededError, LandingSupersededError):
                return
            except SyncPipelineError as error:
                _log.debug("%s: %s", name, error)

    # A daemon: whatever happens to the step, it keeps no process alive.
    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
