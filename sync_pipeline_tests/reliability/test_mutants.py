"""A promise is tested only if its test fails without the guard: each guard is taken out once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.reliability.mutant import GONE, MUTANTS, VARIABLE


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_without_its_guard_a_promise_is_seen_to_be_broken(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    plugin = ["-p", "sync_pipeline_tests.reliability.mutant", "-p", "no:xdist", "-p", "no:randomly"]

    done = subprocess.run(
        [*command, *plugin, MUTANTS[name].test],
        env=os.environ | {VARIABLE: name},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    tests_failed = 1
    assert done.returncode == tests_failed, done.stdout[-2000:] + done.stderr[-2000:]
    assert "1 failed" in done.stdout
    assert GONE not in done.stdout
