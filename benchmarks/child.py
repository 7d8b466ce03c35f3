"""Running one program and measuring it from outside: seconds, memory, output."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

SAMPLE_SECONDS: Final = 0.1
"""How often the memory of a watched program is read; each reading takes about 2 ms."""
DEADLINE_SECONDS: Final = 3 * 3600
SHOWN_CHARACTERS: Final = 2000


class BenchmarkError(RuntimeError):
    """A benchmark could not measure what it says."""


class ChildFailedError(BenchmarkError):
    """A program that was measured did not end as it should."""

    def __init__(self, *, command: Sequence[str], code: int, said: str) -> None:
        shown = " ".join(
            Path(command[0]).name if at == 0 else word for at, word in enumerate(command)
        )
        super().__init__(f"`{shown}` ended with code {code}: {said[-SHOWN_CHARACTERS:].strip()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended well."""

    seconds: float
    """From just before it was started until it was gone."""
    peak_bytes: int
    """Most memory of their own that it and its children had at once, see ``own_bytes``; 0 where it
    was not watched."""
    output: str


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    is_watched: bool = False,
) -> Finished:
    """Run a program to its end.

    Args:
        command: Program and arguments.
        environment: All of its environment.
        folder: Where it runs.
        is_watched: Whether its memory is measured.

    Raises:
        ChildFailedError: its exit code is not 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), cwd=folder, stdout=output, stderr=errors
        )
        watch = MemoryWatch(process.pid) if is_watched else None
        code = process.wait(timeout=DEADLINE_SECONDS)
        seconds = time.perf_counter() - began
        peak_bytes = watch.stop() if watch else 0
        if code:
            raise ChildFailedError(command=command, code=code, said=_text(output) + _text(errors))
        return Finished(seconds=seconds, peak_bytes=peak_bytes, output=_text(output))


def kill_after(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, seconds: float
) -> bool:
    """Start a program and kill it, as the out-of-memory killer would; whether it still ran."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


class MemoryWatch:
    """Reads the memory of a program and its children until stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop reading; the most memory seen, in bytes."""
        self._stopped.set()
        self._thread.join()
        return self._peak_bytes

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                main = psutil.Process(self._pid)
                tree = [main, *main.children(recursive=True)]
                self._peak_bytes = max(self._peak_bytes, sum(map(own_bytes, tree)))


def own_bytes(process: psutil.Process) -> int:
    """Memory that a process really needs.

    Without pages of mapped files, of which an index has gigabytes: these are the
    system's cache, given up whenever memory is wanted.
    """
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
