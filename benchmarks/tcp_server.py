"""A PostgreSQL that is reached by TCP with a password, as other loaders ask for.

The programs are those of the embedded one, which itself listens on no network.
"""

from __future__ import annotations

import secrets
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import psycopg
from psycopg import sql

from sync_pipeline.database.embedded_programs import SUPERUSER, Programs, find_programs

HOST: Final = "127.0.0.1"
_SETTINGS: Final = ("shared_buffers=256MB", "max_wal_size=2GB")
"""As the embedded one has them."""
_ACCESS: Final = f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n"
_START_SECONDS: Final = 60


class TcpServer:
    """A server in a folder of its own, for the length of the ``with``.

    Args:
        folder: Made by it; with a short path, for it holds the socket too.
        settings: Of the server, such as ``autovacuum=off``.
    """

    def __init__(self, folder: Path, *, settings: Sequence[str] = ()) -> None:
        self._folder = folder
        self._settings = (*_SETTINGS, *settings)
        self._programs: Programs = find_programs()
        self._port = _free_port()
        self._password = secrets.token_hex(16)
        self._made = 0

    def __enter__(self) -> Self:
        self._programs.make_data(self._folder)
        (self._folder / "pg_hba.conf").write_text(_ACCESS, encoding="ascii")
        settings = " ".join(f"-c {setting}" for setting in self._settings)
        options = f"-h {HOST} -p {self._port} -k {shlex.quote(str(self._folder))} {settings}"
        self._control("-o", options, "-l", str(self._folder / "log"), "start")
        local = psycopg.conninfo.make_conninfo(
            host=str(self._folder), port=self._port, user=SUPERUSER, dbname="postgres"
        )
        with psycopg.connect(local, autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(SUPERUSER), sql.Literal(self._password)
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._control("-m", "fast", "stop")

    def create(self) -> str:
        """Make an empty database; its libpq URL."""
        self._made += 1
        name = f"landing_{self._made}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Remove a database and whoever is connected to it."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self._password}@{HOST}:{self._port}/{database}"

    def _control(self, *words: str) -> None:
        self._programs.run(
            "pg_ctl", "-D", str(self._folder), "-w", "-t", f"{_START_SECONDS}", *words
        )


def _free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
    return port
