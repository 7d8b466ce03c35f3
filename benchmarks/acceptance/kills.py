"""Commands of the installed program that are killed, and what each kill hit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import psycopg

from benchmarks.child import BenchmarkError
from benchmarks.home import Home

LOOK_SECONDS: Final = 0.02
"""Between two looks at the database."""
DEADLINE_SECONDS: Final = 3600.0

_LAST_STEP: Final = """
SELECT event.id, dagster_event_type, step_key, value FROM dagster.event_logs event
JOIN dagster.run_tags tag ON tag.run_id = event.run_id AND tag.key = 'dagster/partition'
WHERE dagster_event_type IN ('STEP_START', 'STEP_RESTARTED', 'STEP_SUCCESS', 'STEP_FAILURE')
ORDER BY event.id DESC LIMIT 1
"""
_FILLED: Final = """
SELECT count(*) FROM (
    SELECT scope_key FROM sync_pipeline.scope_entity_state WHERE collection = %s
    GROUP BY scope_key HAVING bool_and(last_full_at IS NOT NULL) AND count(*) = 2
) filled
"""
_RECORDED: Final = "SELECT collection FROM sync_pipeline.generation WHERE is_active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a model change stands."""

    event: int
    """Number of the last event of a step in Dagster's history."""
    step: str
    """The step that a run began last, or ``between steps``."""
    scope: str
    """Whose run that was."""
    filled: int
    """Scopes that are filled in the new generation."""
    serves: str | None
    """What the alias points at."""
    recorded: str | None
    """What is recorded as serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One process that was ended by SIGKILL."""

    command: str
    phase: str
    """``fill``, ``before the switch``, ``at the switch`` or ``after the switch``."""
    after_seconds: float
    """Since it was started."""
    step: str
    """What it was about."""
    moment: Moment

    def shown(self, *, new: str) -> str:
        """One line for people."""
        serves = "new" if self.moment.serves == new else "old"
        recorded = "new" if self.moment.recorded == new else "old"
        return (
            f"{self.command}, {self.phase}: killed after {self.after_seconds:.1f} s in "
            f"{self.step}, {self.moment.filled} scopes filled, alias {serves}, record {recorded}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that came to its own end."""

    code: int
    answer: dict[str, Any]
    seconds: float


class Running:
    """A command of the installed program, in a session of its own."""

    _all: ClassVar[list[Running]] = []

    def __init__(self, home: Home, *words: str) -> None:
        self.words = words
        self.events_before = 0
        """Number of the last event before it was started, where that is wanted."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - read once the command has ended
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline", "--json", *words],
            env=home.environment,
            cwd=home.folder,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
        )
        self._all.append(self)

    @classmethod
    def kill_all(cls) -> None:
        """Leave nothing behind: what a run that was broken off had started."""
        for running in cls._all:
            running.kill()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began

    def kill(self) -> bool:
        """End it and everything that it started, at once; whether it still ran."""
        if not self.is_running:
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._close()
        return True

    def wait(self) -> Ended:
        """Let it come to its end.

        Raises:
            BenchmarkError: it printed no answer.
        """
        code = self.process.wait(timeout=DEADLINE_SECONDS)
        seconds = self.seconds
        printed, said = _content(self._output), _content(self._errors)
        self._close()
        try:
            return Ended(code=code, answer=json.loads(printed), seconds=seconds)
        except ValueError:
            raise BenchmarkError(
                f"`sync-pipeline {' '.join(self.words)}` ended with code {code}: {said[-2000:]}"
            ) from None

    def _close(self) -> None:
        self._output.close()
        self._errors.close()


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


class Watch:
    """Looks at an installation from outside, as often as wanted.

    Args:
        home: The installation.
        new: The collection that is being filled.
    """

    def __init__(self, home: Home, *, new: str) -> None:
        self.new = new
        self._aliases = home.index_folder / "aliases.json"
        self._connection = psycopg.connect(home.database_url, autocommit=True)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def start(self, home: Home, *words: str) -> Running:
        """Start a command, so that its own events are told from those before."""
        events_before = self.look().event
        running = Running(home, *words)
        running.events_before = events_before
        return running

    def look(self) -> Moment:
        """Where things stand now."""
        number, event, step, scope = self._one(_LAST_STEP) or (0, "", "", "")
        (filled,) = self._one(_FILLED, self.new) or (0,)
        (recorded,) = self._one(_RECORDED) or (None,)
        began = event in {"STEP_START", "STEP_RESTARTED"}
        return Moment(
            event=int(number),
            step=str(step) if began else "between steps",
            scope=str(scope),
            filled=int(filled),
            serves=self.serves(),
            recorded=recorded,
        )

    def serves(self) -> str | None:
        """What the alias points at."""
        try:
            found = json.loads(self._aliases.read_text(encoding="utf-8")).get("documents")
        except FileNotFoundError:
            return None
        return None if found is None else str(found)

    def alias_file(self) -> tuple[int, int]:
        """Changes whenever the alias file is written."""
        found = self._aliases.stat()
        return found.st_ino, found.st_mtime_ns

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        return self._connection.execute(statement, values or None).fetchone()


@contextmanager
def watching(home: Home, *, new: str) -> Iterator[Watch]:
    """A ``Watch`` for the length of the ``with``."""
    watch = Watch(home, new=new)
    try:
        yield watch
    finally:
        watch.close()


def wait_until(running: Running, is_so: Callable[[], bool], *, look: float = LOOK_SECONDS) -> bool:
    """Wait for something while a command runs; whether it came before the command ended."""
    while running.is_running:
        if is_so():
            return True
        time.sleep(look)
    return False


def kill_after(running: Running, watch: Watch, *, seconds: float, phase: str) -> Kill | None:
    """Kill a command after some seconds more; None where it ended before."""
    until = time.monotonic() + seconds
    wait_until(running, lambda: time.monotonic() >= until)
    return _killed(running, watch, phase=phase)


def kill_at_switch(running: Running, watch: Watch) -> Kill | None:
    """Kill a command the moment it has moved the alias; None where it never did."""
    before, served = watch.alias_file(), watch.serves()

    def has_moved() -> bool:
        return watch.alias_file() != before and watch.serves() != served

    # What comes after the alias takes some milliseconds.
    if not wait_until(running, has_moved, look=0.0005):
        return None
    return _killed(running, watch, phase="at the switch")


def _killed(running: Running, watch: Watch, *, phase: str) -> Kill | None:
    seconds = running.seconds
    if not running.kill():
        return None
    command, moment = " ".join(running.words), watch.look()
    step = moment.step if moment.event > running.events_before else "starting"
    is_after = phase == "before the switch" and moment.serves == watch.new
    return Kill(
        command=command,
        phase="after the switch" if is_after else phase,
        after_seconds=round(seconds, 2),
        step=step if running.words[0] == "sync" else command,
        moment=moment,
    )


def folder_bytes(folder: Path) -> int:
    """Room that the files of a folder take on the disk."""
    blocks = 0
    for path in folder.rglob("*"):
        try:
            blocks += path.lstat().st_blocks
        except FileNotFoundError:
            continue
    return blocks * 512
