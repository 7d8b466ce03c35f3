"""Debian's PgBouncer in front of a PostgreSQL, for tests of what goes through a pooler."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

import psycopg
import pytest

from sync_pipeline.database.urls import driver_url, parse_url
from sync_pipeline_tests.ports import free_port

PROGRAM: Final = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer: Final = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is missing: apt-get install pgbouncer"
)
PoolMode = Literal["transaction", "session"]
START_SECONDS: Final = 10

_SETTINGS: Final = """\
[databases]
* = host={host} port={port} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {pool_mode}
default_pool_size = {pool_size}
max_client_conn = 200
server_round_robin = 1
{more}
"""


@contextmanager
def pooled(
    url: str,
    *,
    folder: Path,
    pool_mode: PoolMode = "transaction",
    pool_size: int = 3,
    more: str = "",
) -> Iterator[str]:
    """Run a PgBouncer in front of a database; the libpq URL that leads through it.

    It takes a server connection after the other, so that two transactions of one client seldom
    get the same; as many as it may have are there from the beginning.

    Args:
        url: The database behind it, in any spelling.
        folder: For its settings and log.
        pool_mode: When it gives a server connection to the next client.
        pool_size: Server connections that it may have; with more clients they are passed around.
        more: Lines for its settings.
    """
    behind = parse_url(url)
    host = str(behind.host or behind.query.get("host"))
    port = free_port()
    settings = folder / "pgbouncer.ini"
    log = folder / "pgbouncer.log"
    password = f" password={behind.password}" if behind.password else ""
    settings.write_text(
        _SETTINGS.format(
            host=host, port=behind.port or 5432, user=behind.username, password=password,
            listen_port=port, pool_mode=pool_mode, pool_size=pool_size, more=more,
        )
    )  # fmt: skip
    # It refuses to run as root, and has to reach the socket of a server whose folder is private.
    owner = pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else None
    is_root = os.geteuid() == 0
    if is_root and (owner is None or owner.pw_uid == 0):
        owner = pwd.getpwnam("nobody")
    with settings.open("rb") as asked, log.open("wb") as output:
        process = subprocess.Popen(
            [str(PROGRAM), "/dev/stdin"],
            stdin=asked,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=owner.pw_uid if is_root and owner else None,
            group=owner.pw_gid if is_root and owner else None,
            extra_groups=[] if is_root else None,
            cwd="/",
        )
    try:
        through = behind.set(host="127.0.0.1", port=port, password=None, query={})
        address = driver_url(through.render_as_string(hide_password=False), "libpq")
        _wait_until_it_answers(address, process, log=log)
        _open_all(address, connections=pool_size)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes], *, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(address):
                return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PgBouncer: {log.read_text()}") from error
            time.sleep(0.05)


def _open_all(address: str, *, connections: int) -> None:
    """Have it open its server connections: transactions at the same time need one each."""
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(psycopg.connect(address)).execute("SELECT 1")
