"""Random kills of the command line, as users run it: Dagster, PostgreSQL, embedded index.

``SYNC_PIPELINE_CHAOS_SECONDS`` is how long it is killed again and again; ten seconds without.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.reliability.catalogue import Catalogue
from sync_pipeline_tests.reliability.program import LEASE_SECONDS, program_environment

SECONDS: Final = float(os.environ.get("SYNC_PIPELINE_CHAOS_SECONDS", "10"))


class CommandLine:
    """``sync-pipeline`` with settings of its own."""

    def __init__(self, home: Path, *, database: str) -> None:
        self.killed = 0
        self._folder = home.parent
        self._env = program_environment(home, database=database)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline", "--json", *arguments],
            env=self._env,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, Any]:
        """Exit code, and the JSON that was printed."""
        process = self.start(*arguments)
        printed, told = process.communicate(timeout=120)
        if not printed.strip():
            return process.returncode, told
        return process.returncode, json.loads(printed)

    def sync_and_be_killed(self, *, after_seconds: float) -> None:
        process = self.start("sync", "all", "--force")
        try:
            process.communicate(timeout=after_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.killed += 1


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=150, seed=3)
    yield catalogue
    catalogue.close()


@pytest.mark.slow
@pytest.mark.dagster
@pytest.mark.timeout(SECONDS + 300)
def test_a_command_line_that_is_killed_again_and_again_loses_nothing(
    catalogue: Catalogue, database_url: str, tmp_path: Path
) -> None:
    """S9, S13, S35: kills at random moments of whole syncs, and then one that is left alone."""
    choose = random.Random()  # noqa: S311 - test data
    line = CommandLine(tmp_path / "home", database=database_url)
    deadline = time.monotonic() + SECONDS

    while time.monotonic() < deadline or not line.killed:
        catalogue.change(share=0.1)
        line.sync_and_be_killed(after_seconds=choose.uniform(1, 6))
    time.sleep(LEASE_SECONDS)
    synced, report = line.run("sync", "all", "--force")
    verified, found = line.run("verify", "all")

    assert line.killed > 0
    assert (synced, verified) == (0, 0), (report, found)
    assert sum(scope["points"] for scope in found["scopes"]) == len(catalogue.expected())
