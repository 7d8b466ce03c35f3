"""Running Dagster's own processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.hosting.dev import UNASKED, _run_child, run_dev
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.hosting.test_instance import settings_for

READY = "open('ready', 'w').close()"
OBEDIENT = f"""
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
{READY}
time.sleep(60)
"""
ABANDONING = """
import os, signal, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("left", "w").write(str(left.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
STUBBORN = f"""
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
{READY}
time.sleep(60)
"""


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Installation:
    return open_installation(settings_for(database_url, home=tmp_path))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("localhost", True, id="localhost"),
        pytest.param("127.0.0.1", True, id="IPv4"),
        pytest.param("127.8.8.8", True, id="any of its network"),
        pytest.param("::1", True, id="IPv6"),
        pytest.param("0.0.0.0", False, id="every address"),  # noqa: S104 - it is refused
        pytest.param("192.168.1.5", False, id="local network"),
        pytest.param("example.org", False, id="a name"),
        pytest.param("localhost.example.org", False, id="a name that begins like it"),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, *, expected: bool) -> None:
    assert is_this_machine(host) is expected


def start_nothing(*_: object, **__: object) -> None:
    """In place of the first thing that ``dev`` does, where it should have refused."""
    pytest.fail("it starts")


def test_an_interface_without_a_password_is_not_shown_to_other_machines(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the guard a real interface would start, which outlives the test.
    monkeypatch.setattr("sync_pipeline.hosting.dev.prepare_instance", start_nothing)

    with pytest.raises(ConfigurationError, match="has no password, so it does not listen on '0"):
        run_dev(installation, host="0.0.0.0", port=1, environment={})  # noqa: S104 - it is refused


def test_the_exit_code_is_that_of_the_child() -> None:
    assert _run_child([sys.executable, "-c", "raise SystemExit(7)"], environment={}) == 7


def test_an_end_that_nobody_asked_for_is_no_success() -> None:
    """`dagster dev` ends with 0 when its daemon was killed; a service manager would leave it so."""
    assert _run_child([sys.executable, "-c", "pass"], environment={}) == UNASKED


def test_what_a_killed_child_left_behind_is_asked_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code = _run_child([sys.executable, "-c", ABANDONING], environment={})

    left = int((tmp_path / "left").read_text())
    psutil.wait_procs([psutil.Process(left)] if psutil.pid_exists(left) else [], timeout=30)
    assert code == -signal.SIGKILL
    assert not psutil.pid_exists(left)


def stop_when_ready(folder: Path, *numbers: signal.Signals) -> None:
    """Send this process signals once the child is up."""

    def send() -> None:
        while not (folder / "ready").exists():
            time.sleep(0.01)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.2)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, id="SIGINT"), pytest.param(signal.SIGTERM, id="SIGTERM")],
)
def test_a_signal_is_passed_on_and_counts_as_a_clean_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(number)
    stop_when_ready(tmp_path, number)

    code = _run_child([sys.executable, "-c", OBEDIENT], environment={})

    assert code == 0
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_a_child_that_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stop_when_ready(tmp_path, signal.SIGINT, signal.SIGINT)
    began = time.monotonic()

    code = _run_child([sys.executable, "-c", STUBBORN], environment={})

    assert code == 0
    assert time.monotonic() - began < 30
