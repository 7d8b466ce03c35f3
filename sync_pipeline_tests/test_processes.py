"""Names of processes, and what can be said of them from where."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sync_pipeline.processes import is_gone, machine_name, process_name

NEW_CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]


def test_this_process_is_there() -> None:
    assert not is_gone(process_name())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("here:{pid}:1", True, id="its id, used again"),
        pytest.param("elsewhere:{pid}:1", False, id="another machine"),
        pytest.param("", False, id="nothing"),
        pytest.param("nonsense", False, id="not a name of ours"),
        pytest.param("here:x:1", False, id="no process id"),
    ],
)
def test_only_a_process_of_this_machine_can_be_known_to_be_gone(
    name: str, *, expected: bool
) -> None:
    assert is_gone(name.format(pid=os.getpid()), machine="here") is expected


@pytest.mark.process
def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        pid = child.pid
    assert is_gone(f"{machine_name()}:{pid}:1")


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are of Linux")
def test_containers_with_one_host_name_are_different_machines() -> None:
    """Else each would take the other's processes, which it cannot see, for dead."""
    show = "from sync_pipeline.processes import machine_name; print(machine_name())"
    inside = subprocess.run(
        [*NEW_CONTAINER, sys.executable, "-c", show],
        capture_output=True,
        text=True,
        check=False,
    )
    if inside.returncode:
        pytest.skip(f"this machine allows no namespaces: {inside.stderr.strip()}")
    host, boot, space = inside.stdout.strip().rsplit("/", 2)
    assert (host, boot) == tuple(machine_name().rsplit("/", 2)[:2])
    assert space != machine_name().rsplit("/", 1)[1]
