"""Stopping after the batch in flight at the first signal, and at once at the second."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeVar

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK_SECONDS: Final = 0.2
"""How often the main thread looks up while it waits for the work."""
STOPPING: Final = "stopping after the batch in flight ... press again to stop at once"


def answer_signals() -> None:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt, outside ``run_stoppable``.

    Left alone, SIGTERM would end the process without closing anything, and SIGINT
    would be ignored in a program that a shell started in the background.
    """
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)


def run_stoppable(
    work: Callable[[Callable[[], bool]], T],
    *,
    tell: Callable[[str], None],
    stopping: str = STOPPING,
) -> T:
    """Do ``work`` in a thread of its own while this one listens for SIGINT and SIGTERM.

    Dagster installs its own handlers in the main thread, which break a step off
    in the middle of a batch; in another thread it leaves signals alone.

    Args:
        work: Is given what it must ask between batches: whether to stop.
        tell: Shows one line to whoever sent the signal.
        stopping: That line.

    Raises:
        KeyboardInterrupt: at the second signal; ``work`` ends with the process.
    """
    asked = threading.Event()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work(asked.is_set))
        except BaseException as error:  # noqa: BLE001 - raised again by `result` in the main thread
            outcome.set_exception(error)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        tell(stopping)

    with _handled_by(on_signal):
        thread = threading.Thread(target=run, name="work", daemon=True)
        thread.start()
        # A signal that reached another thread is answered when this one looks up.
        while not outcome.done():
            thread.join(_LOOK_SECONDS)
        return outcome.result()


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
