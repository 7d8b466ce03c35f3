"""Which tests are fast, and a guard that keeps them so: ``pytest -m fast``, or ``make fast``.

Nobody lists the fast tests. A test is fast unless its folder, one of its marks or one of its
fixtures says that it needs more than this process: a program, a socket, a server, an index, the
model, a run of Dagster. Where a test forgets to say so, the guard fails it, with what to write.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

# Tries a socket when it is imported: here, and not in whatever test comes to it first.
import urllib3.util.connection  # noqa: F401

FAST: Final = "fast"
SLOW_MARKS: Final = frozenset(
    {"model", "dagster", "slow", "server", "shared_data", "process", "index"}
)
SLOW_FIXTURES: Final = frozenset({"postgres_url", "stub", "instance", "run", "shared_data"})
"""A database server, a Qdrant server, Dagster's instance, the whole program, the catalogues."""
SLOW_FOLDERS: Final = frozenset(
    {"cases", "defs", "hosting", "reliability", "sample", "service", "sources", "stores"}
)
"""Of whole installations, of Dagster, of the HTTP service, and of adapters that are nothing without
their database or index: not even collected, for that costs as much again."""
MODEL_LIBRARIES: Final = frozenset({"torch", "sentence_transformers"})
MOST_SECONDS: Final = 5.0
"""Of CPU that one fast test may take; the longest takes about one."""
REFUSED_EVENTS: Final = {
    "subprocess.Popen": "starts a program",
    "os.system": "starts a program",
    "os.posix_spawn": "starts a program",
    "os.fork": "starts a process",
    "socket.bind": "opens a socket",
    "socket.connect": "opens a socket",
    "sqlite3.connect": "opens an instance of Dagster",
}
"""Audit events of Python that no fast test may raise."""


def is_fast(marks: set[str], fixtures: set[str]) -> bool:
    """Tell whether a test with these marks and fixtures needs nothing but this process."""
    return not marks & SLOW_MARKS and not fixtures & SLOW_FIXTURES


def offence(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Say what an audit event does that no fast test may; None if it may."""
    if event == "import" and arguments[0] in MODEL_LIBRARIES:
        return f"imports {arguments[0]}"
    return REFUSED_EVENTS.get(event)


class Guard:
    """Fails the test that runs, as soon as it does what no fast test may."""

    def __init__(self) -> None:
        self._is_testing = False
        # Cannot be removed again; it does nothing between tests.
        sys.addaudithook(self._hear)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Listen while fixtures are made, while the test runs, and while they are ended."""
        with self._testing():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Fail a test that takes too long; by CPU, for machines are shared."""
        began = time.process_time()
        result = yield
        if (taken := time.process_time() - began) > MOST_SECONDS:
            pytest.fail(f"a fast test takes {taken:.1f} s of CPU: mark it with pytest.mark.slow")
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what they cost altogether, in this process and in those that shared them."""
        spent = sum(os.times()[:4])
        terminalreporter.write_line(f"fast tests: {spent:.0f} s of CPU")

    @contextmanager
    def _testing(self) -> Iterator[None]:
        self._is_testing = True
        try:
            yield
        finally:
            self._is_testing = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_testing and (offence_seen := offence(event, arguments)):
            # No Exception: the code under test must not take it for one of its own.
            pytest.fail(
                f"a fast test {offence_seen}: mark it with pytest.mark.process (or model,"
                f" dagster, slow), or add its fixture to SLOW_FIXTURES in {__name__}"
            )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave whole folders out where the fast tests run alone."""
    is_left_out = _is_fast_run(config) and collection_path.name in SLOW_FOLDERS
    return True if is_left_out and collection_path.parent == Path(__file__).parent else None


def _is_fast_run(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == FAST)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is fast."""
    marks = {mark.name for mark in item.iter_markers()}
    if is_fast(marks, set(getattr(item, "fixturenames", ()))):
        item.add_marker(FAST)


def pytest_configure(config: pytest.Config) -> None:
    """Guard the fast tests where they run alone."""
    if _is_fast_run(config):
        config.pluginmanager.register(Guard())
