"""Which process on which machine: names that others can judge, wherever they run."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path
from typing import Final

import psutil

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_IDS: Final = Path("/proc/self/ns/pid")


@cache
def machine_name() -> str:
    """Name what shares process ids with this process: a machine, or a container on it.

    Not the host's name alone, which containers and copied machines may share: two that cannot
    see each other's processes must never be taken for one.
    """
    return "/".join([socket.gethostname(), *_kernel_marks()])


def _kernel_marks() -> list[str]:
    """The boot of the kernel, and the namespace of process ids; elsewhere the time of the boot."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
        return [boot[:8], str(_PROCESS_IDS.readlink()).strip("pid:[]")]
    except OSError:
        return [f"{psutil.boot_time():.0f}"]


def process_name(machine: str | None = None) -> str:
    """Name this process: ``machine:pid:started``. A pid is used again; with its start it is not."""
    return _name(psutil.Process(), machine=machine or machine_name())


def is_gone(name: str, *, machine: str | None = None) -> bool:
    """Whether a name is that of a process of this machine which does not exist any more.

    Of another machine's processes nothing can be said, so they are not gone.
    """
    own = machine or machine_name()
    where, _, pid = name.rpartition(":")[0].rpartition(":")
    if where != own or not pid.isdigit():
        return False
    try:
        return _name(psutil.Process(int(pid)), machine=own) != name
    except psutil.NoSuchProcess:
        return True


def _name(process: psutil.Process, *, machine: str) -> str:
    return f"{machine}:{process.pid}:{process.create_time():.0f}"
