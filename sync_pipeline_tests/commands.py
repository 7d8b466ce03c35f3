"""The program as its owner calls it: each command in a process of its own, soon there.

Importing the program takes 1.5 to 2 seconds, most of what a small command costs, and tests call
it hundreds of times. So a server that has imported all of it forks for each command
(``multiprocessing``'s fork server, one per worker). The process has its own arguments, folder,
variables, output and exit code; what it does from ``main`` on is what a new one does. What is
about the start itself (locale, imports, memory, signals) starts ``python -m sync_pipeline``.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

import sync_pipeline
from sync_pipeline.__main__ import main

READ_AT_START: Final = ("LANG", "LC_", "PYTHON", "LD_", "MALLOC_", "OMP_")
"""Variables that begin like this are read when a process starts."""


def run_command(
    *arguments: str, folder: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Call the program, and wait for its end; its output is read as UTF-8.

    Args:
        arguments: What follows its name.
        folder: Where it is called.
        environment: All of its variables.
        timeout: Seconds.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    if _at_start(environment) == _at_start(os.environ):
        return _forked(arguments, folder=folder, environment=environment, timeout=timeout)
    return subprocess.run(
        [sys.executable, "-m", "sync_pipeline", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: it for key, it in environment.items() if key.startswith(READ_AT_START)}


def _forked(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as shown:
        output, errors = Path(shown, "output"), Path(shown, "errors")
        process = _server().Process(
            target=_become, args=(list(arguments), folder, dict(environment), output, errors)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        return subprocess.CompletedProcess(
            args=["sync-pipeline", *arguments],
            returncode=process.exitcode,
            stdout=output.read_text("utf-8"),
            stderr=errors.read_text("utf-8"),
        )


@cache
def _server() -> ForkServerContext:
    """What forks from a process that has imported this module and with it the program."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_imported_late()])
    return context


def _imported_late() -> list[str]:
    """The modules that commands import when they need them."""
    found = pkgutil.walk_packages(sync_pipeline.__path__, f"{sync_pipeline.__name__}.")
    return [
        module.name for module in found if not re.search(r"__main__|\.migrations\.", module.name)
    ]


def _become(
    arguments: list[str], folder: Path, environment: dict[str, str], output: Path, errors: Path
) -> None:
    """Be the program from here on, and end as an interpreter does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for path, number in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.argv = ["sync-pipeline", *arguments]
    try:
        main()
    finally:
        # Not done for processes of this kind, which end at once.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
