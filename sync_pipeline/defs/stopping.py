"""Ending a run between two batches when its process is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.engine.context import SyncContext

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def stopping_on_signals(sync: SyncContext) -> Iterator[SyncContext]:
    """Turn the first SIGINT or SIGTERM into the context's stop signal.

    Inside a step Dagster 1.13 answers both by raising at whatever line is being
    executed, which may be in the middle of a write. Here the batch in flight is
    finished first. The second signal gets Dagster's answer.

    In a thread other than the main one nothing is changed: no signal arrives
    there, and whoever started the thread has a stop signal of its own.

    Raises:
        StoppedError: asked to stop when the step had already come to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield sync
        return
    asked = threading.Event()
    previous: dict[signal.Signals, _Handler] = {
        number: signal.getsignal(number) for number in _SIGNALS
    }

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        restore()

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield replace(sync, should_stop=lambda: asked.is_set() or sync.should_stop())
    finally:
        restore()
    if asked.is_set():
        raise StoppedError("stopped after this step; run the scope again for the steps after it")
