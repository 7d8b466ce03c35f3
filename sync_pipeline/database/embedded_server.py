"""The server process of an embedded PostgreSQL: is it there, start it, stop it.

Callers hold the lock of the folder (``embedded``), so no two of them act at once.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg

from sync_pipeline.core.errors import ConfigurationError, SourceUnavailableError
from sync_pipeline.database.embedded_programs import Programs, find_programs

START_SECONDS: Final = 120.0
"""Longest wait for a start, crash recovery included."""

MAX_SOCKET_PATH_BYTES: Final = 100
"""Unix sockets have paths of at most 107 bytes (Linux) or 103 (macOS)."""

PORT: Final = 5432
"""Names the socket; nothing listens on the network. Said to server and clients: the environment
of either may name another one (``PGPORT``)."""

_SETTINGS: Final = ("shared_buffers=256MB", "max_wal_size=2GB", f"port={PORT}")
"""Room for the vectors and records of 100,000 documents, and fewer checkpoints while they are
written: with PostgreSQL's own settings a first sync took a tenth longer."""

_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_END_SECONDS: Final = 10.0
"""How long a server whose data is gone may take to end by itself."""
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./-]+")
_UNSAFE_IN_SHELL: Final = frozenset('"$`\\\n')
_PID_FILE_LINES: Final = 8
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """What ``postmaster.pid`` says of a server whose process is alive."""

    socket_dir: str
    is_ready: bool
    pid: int = 0

    @classmethod
    def read(cls, folder: Path) -> Server | None:
        """Look for the living server of a folder."""
        try:
            lines = (folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].strip().isdigit():
            return None
        if not _is_postmaster(int(lines[0]), folder):
            return None
        if len(lines) < _PID_FILE_LINES:
            return cls(socket_dir="", is_ready=False, pid=int(lines[0]))
        is_ready = lines[7].strip() == "ready"
        return cls(socket_dir=lines[4].strip(), is_ready=is_ready, pid=int(lines[0]))

    @property
    def is_reachable(self) -> bool:
        """Whether somebody listens at its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_POLL_SECONDS)
            try:
                connection.connect(str(Path(self.socket_dir) / _SOCKET_NAME))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except OSError:
                # Its queue is full, or it takes its time: there is one.
                return True
        return True


def _is_postmaster(pid: int, folder: Path) -> bool:
    """Whether a process id is the server of this folder, not a later process with its number."""
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and (
            str(folder) in process.cmdline() or process.cwd() == str(folder)
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def _survivors(folder: Path) -> list[int]:
    """Processes of a killed server that still run: they work in its folder."""
    pids = []
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.info["name"] == "postgres" and process.cwd() == str(folder):
                pids.append(process.info["pid"])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return pids


def _end_servers_without_data(folder: Path) -> None:
    """End servers of a folder that was removed or moved away under them.

    Such a server notices within a minute that its data is gone. On its way out it removes the
    file of its socket by name, and that would be the one of the server that is about to start.
    Callers have made sure that ``postmaster.pid`` names no living one.
    """
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.info["name"] != "postgres" or not _was_started_for(process, folder):
                continue
            process.send_signal(signal.SIGQUIT)
            if not _ends(process):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def _ends(process: psutil.Process) -> bool:
    """Wait for the end of a process; one that nobody collects has ended too."""
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _was_started_for(process: psutil.Process, folder: Path) -> bool:
    """Whether it is a main process, whose command line names the folder of its data."""
    words = process.cmdline()
    return any(
        option == "-D" and value == str(folder) for option, value in itertools.pairwise(words)
    )


def ensure_running(folder: Path) -> Server:
    """Start the server where none runs, and wait until it answers.

    One that runs and cannot be reached, because its socket is gone, is stopped and started again.
    """
    # pg_ctl puts the path into a shell command between double quotes.
    if _UNSAFE_IN_SHELL & set(str(folder)):
        raise ConfigurationError(
            f"the embedded PostgreSQL cannot work in {folder}: its path must not contain quotation "
            "marks, $, ` or \\. Set `SYNC_PIPELINE_HOME` to a plain path."
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        server = Server.read(folder)
        if server is not None and server.is_ready:
            if server.is_reachable:
                return server
            stop_server(folder)
            continue
        # A server that is starting, or processes that outlived their killed server.
        if server is not None or ((folder / "postmaster.pid").exists() and _survivors(folder)):
            time.sleep(_POLL_SECONDS)
            continue
        _start(folder)
    raise SourceUnavailableError(
        f"the embedded PostgreSQL in {folder} was not ready after {START_SECONDS:.0f} s. It may "
        f"be recovering from a crash: look at {folder / 'log'} and try again."
    )


def _start(folder: Path) -> None:
    """Initialise if needed, clear what a killed server left, and run ``pg_ctl start``."""
    _end_servers_without_data(folder)
    programs = _initialised(folder)
    socket_dir = _socket_dir(folder, uid=programs.uid)
    for leftover in (
        folder / "postmaster.pid",
        socket_dir / _SOCKET_NAME,
        socket_dir / f"{_SOCKET_NAME}.lock",
    ):
        leftover.unlink(missing_ok=True)
    settings = " ".join(f"-c {setting}" for setting in _SETTINGS)
    options = f"-h '' -k {shlex.quote(str(socket_dir))} {settings}"
    log = str(folder / "log")
    wait = ("-w", "-t", f"{START_SECONDS:.0f}")
    programs.run("pg_ctl", "-D", str(folder), *wait, "-o", options, "-l", log, "start")


def stop_server(folder: Path) -> None:
    """Stop the server, ending its sessions."""
    if Server.read(folder) is None:
        return
    find_programs().run("pg_ctl", "-D", str(folder), "-w", "-m", "fast", "stop")


def _initialised(folder: Path) -> Programs:
    """Make the data folder where it is missing.

    It is made under another name and renamed when it is complete: ``initdb``
    writes PG_VERSION early, so a folder half made looks like a whole one.
    """
    programs = find_programs()
    if not (folder / "PG_VERSION").exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} holds files but no database. Set `SYNC_PIPELINE_HOME` to another "
                "folder, or remove them; nothing was changed."
            )
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        programs.make_data(partial)
        partial.rename(folder)
    version = (folder / "PG_VERSION").read_text().strip()
    if version != str(programs.version):
        raise ConfigurationError(
            f"{folder} was made by PostgreSQL {version}, and the embedded one is "
            f"{programs.version}. Set `SYNC_PIPELINE_HOME` to another folder, or copy the data "
            "over with pg_dump."
        )
    programs.give(folder)
    return programs


def _socket_dir(folder: Path, *, uid: int) -> Path:
    """Where the socket goes: the data folder, or a private folder with a short, plain path."""
    if _fits(folder):
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()).resolve() / f"sync-pipeline-{name}"
    if not _fits(short):
        raise ConfigurationError(
            f"the paths of {folder} and of the temporary folder {short.parent} are too long for "
            f"a unix socket ({MAX_SOCKET_PATH_BYTES} bytes), or contain special characters. Set "
            "`SYNC_PIPELINE_HOME` to a shorter, plain path."
        )
    try:
        short.mkdir(mode=0o700)
        short.chmod(0o700)  # whatever the umask takes away
        os.chown(short, uid, -1)
    except FileExistsError:
        # Anybody may create names in a temporary folder; a stranger's would get our sessions.
        if short.is_symlink() or short.stat().st_uid != uid or short.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"{short} was made by somebody else. Remove it, or set `SYNC_PIPELINE_HOME` to a "
                "shorter path."
            ) from None
    return short


def _fits(folder: Path) -> bool:
    path = str(folder / _SOCKET_NAME)
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES and bool(_PLAIN_PATH.fullmatch(path))


@contextmanager
def server_errors(folder: Path) -> Iterator[None]:
    """What the package, ``pg_ctl`` and the file system raise, as our errors."""
    try:
        yield
    except (subprocess.SubprocessError, OSError, RuntimeError, psycopg.Error) as error:
        log = folder / "log"
        written = log.read_text(errors="replace") if log.exists() else ""
        fatal = [line for line in written.splitlines()[-50:] if "FATAL:" in line]
        reason = fatal[-1].partition("FATAL:")[2].strip() if fatal else str(error)
        raise ConfigurationError(
            f"the embedded PostgreSQL in {folder} did not start or stop: {reason}. Its log is "
            f"{log}. A server of your own (`DATABASE_URL`) works as well."
        ) from error
