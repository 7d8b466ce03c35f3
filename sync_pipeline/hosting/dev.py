"""Dagster's user interface and daemon, the service, and who follows the feed, as one program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

from sync_pipeline.defs.run_history import close_dead_runs
from sync_pipeline.hosting.code_servers import mend_code_servers
from sync_pipeline.hosting.instance import open_instance, prepare_instance
from sync_pipeline.hosting.programs import MODULE, require_password

if TYPE_CHECKING:
    from sync_pipeline.wiring import Installation

PROGRAM: Final = "sync_pipeline.hosting.dagster_program"

FOLLOW: Final = ("feed", "follow")
SERVE: Final = ("serve",)
"""Commands of ours that run beside Dagster."""

STOP_SECONDS: Final = 30
"""How long a command beside may take to end: the batch in flight of a followed change, say."""

STOP_CHECK_SECONDS: Final = 0.2
"""How soon a command beside is told that ``dev`` ends."""

PAUSE_SECONDS: Final = 2.0
"""How long to wait before a command that ended is started again."""

WRONG_SETTINGS: Final = 2
"""Exit code of a command that would end the same way again."""

UNASKED: Final = 1
"""Exit code where Dagster ended with 0 although nobody had asked: one of its processes was gone."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_dev(
    installation: Installation,
    *,
    host: str,
    port: int,
    environment: Mapping[str, str],
    is_behind_proxy: bool = False,
) -> int:
    """Run ``dagster dev``, ``feed follow`` and ``serve`` until the first ends or we are to stop.

    The embedded PostgreSQL stays for as long as this process does. Call it in the
    main thread, which is where signals arrive; they are passed on.

    Args:
        installation: Its database is running; its folder becomes Dagster's.
        host: Address to listen on.
        port: Port to listen on.
        environment: Of this process; the children get it too, settings included.
        is_behind_proxy: Whether something in front of ``host`` asks for a password.

    Returns:
        The exit code; 0 only where it was stopped by a signal.

    Raises:
        ConfigurationError: ``host`` can be reached from other machines.
    """
    require_password(host, is_behind_proxy=is_behind_proxy)
    # A copy: opening an instance sets variables of this process for a moment.
    environment = dict(environment)
    variables = prepare_instance(installation, environment=environment)
    with open_instance(installation, environment=environment) as instance:
        close_dead_runs(instance, installation.sync)
    command = [sys.executable, "-m", PROGRAM, "dev", "-m", MODULE, "-h", host, "-p", str(port)]
    follow = partial(_keep_running, words=FOLLOW, environment=environment)
    serve = partial(_keep_running, words=SERVE, environment=environment)
    with _beside(follow), _beside(serve), _beside(mend_code_servers):
        return _run_child(command, environment={**environment, **variables})


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do ``work`` in a thread; it is given what is set when it has to come to its end."""
    is_over = threading.Event()
    thread = threading.Thread(target=work, args=(is_over,))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _keep_running(
    is_over: threading.Event, *, words: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Run one of our commands, which keeps the model loaded, in a process of its own.

    One that ended, whatever killed it, is started again.
    """
    command = [sys.executable, "-m", "sync_pipeline", *words]
    while not is_over.is_set():
        with subprocess.Popen(command, env=dict(environment), process_group=0) as child:  # noqa: S603 - our own program, no shell
            while child.poll() is None and not is_over.wait(STOP_CHECK_SECONDS):
                pass
            if is_over.is_set():
                _stop(child)
        if child.returncode == WRONG_SETTINGS:
            return
        is_over.wait(PAUSE_SECONDS)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _run_child(command: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run a program until it ends; 0 only where it did because this process was asked to stop.

    The first signal asks it to end in order, the second ends it and all of its
    children at once.
    """
    asked: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for child in started:
            if len(asked) == 1:
                child.send_signal(signal.SIGINT)
            else:
                os.killpg(child.pid, signal.SIGKILL)

    # Caught before the child starts, which inherits a signal that is ignored: in the background
    # of a shell SIGINT is, and then nothing but SIGKILL would stop `dagster dev`.
    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        # A process group of its own: Ctrl-C reaches it once, from here.
        with subprocess.Popen(command, env=environment, process_group=0) as child:  # noqa: S603 - our own interpreter, no shell
            started.append(child)
            if asked:
                child.send_signal(signal.SIGINT)
            code = child.wait()
            if not asked:
                _end_group(child.pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if asked else code or UNASKED


def _end_group(leader: int) -> None:
    """Ask what a process that ended left behind in its group to end: a killed one ends nothing."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)
