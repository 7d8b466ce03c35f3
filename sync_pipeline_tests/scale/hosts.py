"""Hosts on one machine: each with process ids, a name and an address of its own, or nearly so.

Where namespaces are not allowed a host is a group of processes with a machine name of its own.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import psutil

HOME_VARIABLE: Final = "SYNC_PIPELINE_HOME"
IP: Final = shutil.which("ip") or "/usr/sbin/ip"
LOOPBACK: Final = "127.0.0.1"
_STOP_SECONDS: Final = 60
_numbers = itertools.count(1)
_links = itertools.count(1)


@cache
def has_namespaces() -> bool:
    """Whether this user may make hosts with a network of their own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    name = f"sp-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
        subprocess.run([*_INSIDE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


_INSIDE: Final = ("unshare", "--pid", "--uts", "--mount", "--fork", "--kill-child")


@dataclass(slots=True)
class Network:
    """What joins the hosts: a bridge with an address on this machine, or loopback."""

    address: str = LOOPBACK
    bridge: str | None = None
    hosts: int = 0

    def attach(self, name: str) -> None:
        """Give a host a network namespace with an address on the bridge."""
        if self.bridge is None:
            return
        self.hosts += 1
        # A link of an earlier test may still be on its way out.
        number = f"{os.getpid() % 10000}x{next(_links)}"
        inside, outside = f"si{number}", f"so{number}"
        address = f"{self.address.rpartition('.')[0]}.{10 + self.hosts}/24"
        _ip("netns", "add", name)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        _ip("link", "set", inside, "netns", name)
        _ip("link", "set", outside, "master", self.bridge)
        _ip("link", "set", outside, "up")
        for words in (
            ("address", "add", address, "dev", inside),
            ("link", "set", inside, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *words)

    def detach(self, name: str) -> None:
        """Take it away again; its end on the bridge goes with it."""
        if self.bridge is not None:
            _ip("netns", "delete", name)


@contextmanager
def network() -> Iterator[Network]:
    """A network for the length of the ``with``."""
    if not has_namespaces():
        yield Network()
        return
    number = os.getpid() % 200 + 20
    bridge = f"sb{os.getpid() % 10000}x{next(_links)}"
    address = f"10.213.{number}.1"
    _ip("link", "add", bridge, "type", "bridge")
    try:
        _ip("address", "add", f"{address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        yield Network(address=address, bridge=bridge)
    finally:
        _ip("link", "delete", bridge)


@dataclass(slots=True)
class Host:
    """One machine: a home of its own, and the processes started on it."""

    name: str
    home: Path
    environment: Mapping[str, str]
    log: Path
    _network: Network
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``sync-pipeline`` here."""
        command = [sys.executable, "-m", "sync_pipeline", *words]
        if self._network.bridge is not None:
            command = [*self._as_host(), *command]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=dict(self.environment),
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._processes.append(process)
        return process

    def crash(self) -> None:
        """Take the machine away: every process ends at once, and nobody is told."""
        for process in self._processes:
            # It was started as the first process of its name space, which ends with it.
            process.kill()
        for left in self._left():
            left.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def stop(self) -> None:
        """End it in order, and at once where that takes too long."""
        for process in self._processes:
            for inside in [process.pid, *(child.pid for child in _children(process.pid))]:
                _signal(inside, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                break
        self.crash()

    def processes(self) -> list[psutil.Process]:
        """All that run here, found by their home."""
        return self._left()

    def _left(self) -> list[psutil.Process]:
        left = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(HOME_VARIABLE) == str(self.home):
                    left.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return left

    def _as_host(self) -> Sequence[str]:
        inside = f'hostname {self.name}; mount -t proc proc /proc; exec "$@"'
        return (IP, "netns", "exec", self.name, *_INSIDE, "sh", "-c", inside, "sh")


@contextmanager
def host(
    name: str, *, folder: Path, joined: Network, environment: Mapping[str, str]
) -> Iterator[Host]:
    """A host for the length of the ``with``; its processes end with it."""
    unique = f"{name}-{os.getpid()}-{next(_numbers)}"
    home = folder / unique
    home.mkdir(parents=True)
    own = {**environment, HOME_VARIABLE: str(home)}
    if joined.bridge is None:
        own["SYNC_PIPELINE__SCALE__MACHINE_NAME"] = unique
    joined.attach(unique)
    made = Host(unique, home, own, folder / f"{unique}.log", joined)
    try:
        yield made
    finally:
        made.stop()
        joined.detach(unique)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True)
