from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_pipeline.cli.signals import STOPPING, run_stoppable

SLOW_WORK = """
import sys, time
from sync_pipeline.cli.signals import run_stoppable

def work(should_stop):
    print("ready", flush=True)
    while not should_stop() or "--deaf" in sys.argv:
        time.sleep(0.01)
    return "finished the batch"

try:
    print(run_stoppable(work, tell=lambda line: print(line, flush=True)))
except KeyboardInterrupt:
    print("at once")
"""


def test_the_result_of_the_work_is_returned() -> None:
    assert run_stoppable(lambda _should_stop: 7, tell=print) == 7


def test_an_error_of_the_work_is_raised() -> None:
    def work(_should_stop: Callable[[], bool]) -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        run_stoppable(work, tell=print)


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    run_stoppable(lambda _should_stop: None, tell=print)

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_first_signal_lets_the_batch_in_flight_end(number: signal.Signals) -> None:
    told: list[str] = []

    def work(should_stop: Callable[[], bool]) -> str:
        os.kill(os.getpid(), number)
        while not should_stop():
            time.sleep(0.01)
        return "ended"

    result = run_stoppable(work, tell=told.append)

    assert result == "ended"
    assert told == [STOPPING]


@pytest.mark.process
def test_the_second_signal_stops_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_WORK, "--deaf"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == f"{STOPPING}\n"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert rest == "at once\n"
    assert process.returncode == 0


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_program_that_only_waits_stops_at_once(number: signal.Signals, tmp_path: Path) -> None:
    nobody_listens = {"DATABASE_URL": "postgresql://somebody@127.0.0.1:1/shop"}
    with subprocess.Popen(
        [sys.executable, "-m", "sync_pipeline", "status"],
        env={**os.environ, **nobody_listens, "SYNC_PIPELINE_HOME": str(tmp_path)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "trying again in" in process.stderr.readline()
        process.send_signal(number)
        rest = process.stderr.read()

    assert rest == "error: stopped at once; run the same command again\n"
    assert process.returncode == 1
