"""The lock of an index folder: one process at a time, and it says who it is."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil
from filelock import FileLock, Timeout

from sync_pipeline.core.errors import StoreLockedError
from sync_pipeline.processes import machine_name
from sync_pipeline.stores.edge.files import file_errors, write_text

_PLAIN_WORD: Final = re.compile(r"[a-z][a-z-]{0,30}")
_WAITING: Final = "waiting-"
"""Begins the name of the mark that a waiting process leaves; its process id ends it."""

Clock = Callable[[], datetime]
"""Tells the time, with time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that holds an index folder, as it describes itself to others."""

    pid: int
    host: str
    command: str
    since: str
    machine: str = ""
    """See ``processes.machine_name``; a release that did not say it leaves it empty."""

    def describe(self, *, is_running: bool) -> str:
        """Name the holder in a message."""
        shown = f"process {self.pid} ({self.command}) on {self.host} since {self.since}"
        if is_running:
            return shown
        return f"{shown}, which is no longer running (a process it started may still hold it)"


def describe_command(argv: Sequence[str]) -> str:
    """Name a command for strangers: the program and its subcommand, nothing that can be secret.

    Options and texts are left out: they can hold passwords, addresses and search texts.
    """
    program = Path(argv[0] if argv else "").name or "python"
    words = argv[1:2] if len(argv) > 1 and _PLAIN_WORD.fullmatch(argv[1]) else []
    return " ".join([program, *words])


def read_owner(path: Path) -> Owner | None:
    """What the owner file says, or None where it is missing or half written."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def describe_holder(path: Path) -> str:
    """Name the holder of a lock by its owner file."""
    owner = read_owner(path)
    if owner is None:
        return "a process that has not said who it is"
    is_elsewhere = owner.machine != machine_name()
    return owner.describe(is_running=is_elsewhere or psutil.pid_exists(owner.pid))


class NeedlessError(Exception):
    """What was waited for is not needed any more."""


class FolderLock:
    """An advisory lock on a folder, with a file beside it that names the holder.

    The operating system frees the lock when its process dies, whatever the owner
    file still says.
    """

    __slots__ = ("_folder", "_lock", "_now", "_owner_path")

    LOOK_SECONDS: Final = 0.05
    """How often a process that waits looks whether it still has to."""
    COURTESY_SECONDS: Final = 0.2
    """How long a process that asks again lets one go first that was waiting already."""

    def __init__(self, folder: Path, *, now: Clock) -> None:
        self._folder = folder
        self._now = now
        self._owner_path = folder / "owner.json"
        # Not per thread: the last of several leases may end in another thread than the first.
        self._lock = FileLock(folder / "index.lock", thread_local=False)

    def acquire(self, *, wait_seconds: float, unless: Callable[[], bool]) -> None:
        """Take the lock and say who holds it.

        Args:
            wait_seconds: How long to wait for another process.
            unless: Whether waiting has become needless; asked again and again.

        Raises:
            StoreLockedError: another process has had it for ``wait_seconds``.
            NeedlessError: there is no need to wait any more.
        """
        self._let_others_first()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._wait(wait_seconds, unless)
        owner = Owner(
            pid=os.getpid(),
            host=socket.gethostname(),
            machine=machine_name(),
            command=describe_command(sys.argv),
            since=self._now().isoformat(timespec="seconds"),
        )
        try:
            with file_errors(self._folder):
                write_text(self._owner_path, json.dumps(asdict(owner)), is_durable=False)
        except BaseException:
            self._lock.release()
            raise

    def is_wanted(self) -> bool:
        """Whether another living process is waiting for the lock."""
        return bool(self._waiting())

    def _wait(self, wait_seconds: float, unless: Callable[[], bool]) -> None:
        """Wait in sight of the holder, who then does not linger."""
        until = time.monotonic() + wait_seconds
        mark = self._folder / f"{_WAITING}{os.getpid()}"
        try:
            while not unless():
                mark.touch()
                left = until - time.monotonic()
                try:
                    self._lock.acquire(timeout=max(min(left, self.LOOK_SECONDS), 0))
                except Timeout as error:
                    if left > self.LOOK_SECONDS:
                        continue
                    raise StoreLockedError(
                        path=str(self._folder),
                        holder=describe_holder(self._owner_path),
                        waited_seconds=wait_seconds,
                    ) from error
                return
            raise NeedlessError
        finally:
            mark.unlink(missing_ok=True)

    def _waiting(self) -> list[Path]:
        """Marks of other waiting processes; those of dead ones are removed."""
        marks: list[Path] = []
        # Asked at the end of every lease, and `Path.glob` takes a millisecond.
        for mark in self._folder.iterdir() if self._folder.is_dir() else ():
            if not mark.name.startswith(_WAITING):
                continue
            pid = int(mark.name.removeprefix(_WAITING))
            if not psutil.pid_exists(pid):
                mark.unlink(missing_ok=True)
            elif pid != os.getpid():
                marks.append(mark)
        return marks

    def _let_others_first(self) -> None:
        """A process that comes back at once would win every race against one that polls."""
        until = time.monotonic() + self.COURTESY_SECONDS
        while self.is_wanted() and time.monotonic() < until:
            time.sleep(0.02)

    def release(self) -> None:
        """Give the lock back; the owner file goes first, so that it never names a stranger."""
        self._owner_path.unlink(missing_ok=True)
        self._lock.release()
