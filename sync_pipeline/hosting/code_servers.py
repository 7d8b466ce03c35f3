"""Dagster's code servers, which hold our code for its interface and its daemon."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final

import psutil

LOOK_SECONDS: Final = 2.0
"""How often ``mend_code_servers`` looks."""

GRACE_SECONDS: Final = 10.0
"""How long a code server may be without the process behind it: it changes it for a new one when
somebody presses "Reload"."""

_FRONT: Final = "code-server"
"""Word in the command line of the process that the interface and the daemon talk to."""
_BACK: Final = "grpc"
"""Word in the command line of its child, which loads the code and starts runs."""

_log: Final = logging.getLogger(__name__)


def mend_code_servers(is_over: threading.Event) -> None:
    """End code servers below this process that lost the process behind them, until it is over.

    Dagster 1.13 starts a code server again that has ended, but not the process behind
    it: then everything seems to be up, and no run, no schedule and no sensor can start.
    """
    lacking: dict[int, float] = {}
    while not is_over.wait(LOOK_SECONDS):
        lacking = look(psutil.Process(), lacking=lacking)


def look(parent: psutil.Process, *, lacking: dict[int, float]) -> dict[int, float]:
    """Look at the code servers below ``parent`` once, and end those whose grace is over.

    Args:
        parent: Directly or indirectly it started them.
        lacking: What the look before returned; empty for the first one.

    Returns:
        For each that ever had a process behind it, by process id, how many seconds it
        has been without.
    """
    lacking_now: dict[int, float] = {}
    for front in parent.children(recursive=True):
        if not _has_word(front, _FRONT):
            continue
        if _has_child(front):
            lacking_now[front.pid] = 0.0
        elif front.pid in lacking:
            lacking_now[front.pid] = lacking[front.pid] + LOOK_SECONDS
        if lacking_now.get(front.pid, 0.0) >= GRACE_SECONDS:
            _log.warning("code_server_restarted: the process behind it was gone")
            with suppress(psutil.NoSuchProcess):
                front.kill()
            del lacking_now[front.pid]
    return lacking_now


def _has_child(front: psutil.Process) -> bool:
    try:
        return any(_has_word(process, _BACK) for process in front.children())
    except psutil.NoSuchProcess:
        return False


def _has_word(process: psutil.Process, word: str) -> bool:
    """Whether a process is alive with this word in its command line."""
    try:
        return word in process.cmdline()
    except psutil.NoSuchProcess:
        # It is gone, or nobody has asked yet how it ended.
        return False
