"""Code servers that lost the process behind them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

import psutil
import pytest

from sync_pipeline.hosting.code_servers import GRACE_SECONDS, look

BACK: Final = [sys.executable, "-c", "import time; time.sleep(60)", "grpc"]
FRONT: Final = f"""
import subprocess, time
subprocess.Popen({BACK!r})
time.sleep(60)
"""


@pytest.fixture
def front() -> Iterator[subprocess.Popen[bytes]]:
    """What looks like a code server, with the process behind it."""
    with subprocess.Popen([sys.executable, "-c", FRONT, "code-server"]) as process:
        seen = psutil.Process(process.pid)
        while not [child for child in seen.children() if "grpc" in child.cmdline()]:
            time.sleep(0.02)
        behind = seen.children()
        yield process
        process.kill()
        for child in behind:
            if child.is_running():
                child.kill()


def kill_behind(front: subprocess.Popen[bytes]) -> None:
    for child in psutil.Process(front.pid).children():
        child.kill()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


def looks_until_it_ends(front: subprocess.Popen[bytes], lacking: dict[int, float]) -> int:
    """How many looks it takes; at most a hundred."""
    for number in range(1, 101):
        lacking = look(psutil.Process(), lacking=lacking)
        if front.pid not in lacking:
            return number
    return 0


def test_a_whole_code_server_is_left_alone(front: subprocess.Popen[bytes]) -> None:
    assert looks_until_it_ends(front, {}) == 0
    assert front.poll() is None


def test_one_without_the_process_behind_it_is_ended_after_a_time_of_grace(
    front: subprocess.Popen[bytes],
) -> None:
    seen = look(psutil.Process(), lacking={})
    kill_behind(front)

    looks = looks_until_it_ends(front, seen)

    assert looks > 1
    assert front.wait(timeout=30) != 0


def test_one_that_is_still_starting_is_given_all_the_time_it_needs(
    front: subprocess.Popen[bytes],
) -> None:
    """Code that cannot be loaded is shown in the interface, not started for ever."""
    kill_behind(front)
    lacking: dict[int, float] = {}

    for _ in range(int(GRACE_SECONDS) * 2):
        lacking = look(psutil.Process(), lacking=lacking)

    assert front.poll() is None
