"""A signal sent to the real program, with its embedded services and Dagster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import driver_url
from sync_pipeline.sample.schema import create_source_tables

pytestmark = [pytest.mark.dagster, pytest.mark.slow]

PROGRAM = [sys.executable, "-m", "sync_pipeline"]
ROWS = 3000


@pytest.fixture
def home() -> Iterator[Path]:
    """Folder of an installation; its path is short, for the database's socket lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="sp-"))
    yield folder
    stop_embedded_database(folder / "postgres")
    shutil.rmtree(folder)


@pytest.fixture
def url(home: Path) -> str:
    """Its database, which runs for as long as the test, with rows of two scopes."""
    sqlalchemy_url = embedded_database_url(home / "postgres")
    engine = make_engine(sqlalchemy_url)
    create_source_tables(engine)
    engine.dispose()
    libpq_url = driver_url(sqlalchemy_url, "libpq")
    with psycopg.connect(libpq_url) as connection:
        connection.execute(
            "INSERT INTO materials (tenant_id, is_global, name) "
            "SELECT CASE WHEN n %% 2 = 0 THEN 'acme' END, n %% 2 = 1, 'beam number ' || n "
            "FROM generate_series(1, %s) AS n",
            [ROWS],
        )
    return libpq_url


@pytest.fixture
def environment(home: Path) -> Mapping[str, str]:
    """Variables of this process, with none of ours but the home and a fast embedder."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SYNC_PIPELINE", "DATABASE_URL", "QDRANT_URL", "DAGSTER_HOME"))
    }
    ours = {
        "SYNC_PIPELINE_HOME": str(home),
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
    }
    return inherited | ours


def answer(environment: Mapping[str, str], *words: str, cwd: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*PROGRAM, *words, "--json"],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def what_is_held(environment: Mapping[str, str], url: str, *, cwd: Path) -> dict[str, int]:
    """What the index and the embedding cache hold, by the counts of a first sync."""
    status = answer(environment, "status", cwd=cwd)
    with psycopg.connect(url) as connection:
        cached = connection.execute("SELECT count(*) FROM sync_pipeline.embedding_cache").fetchone()
    return {
        "points_written": sum(scope["points"] for scope in status["scopes"]),
        "embedded_texts": 0 if cached is None else int(cached[0]),
    }


def wait_for_documents(url: str, *, at_least: int) -> None:
    """Wait until the sync in flight has recorded so many documents."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(1200):
            if _recorded(connection) >= at_least:
                return
            time.sleep(0.02)
    raise AssertionError("the sync did not get going")


def _recorded(connection: psycopg.Connection) -> int:
    there = connection.execute("SELECT to_regclass('sync_pipeline.index_state')").fetchone()
    if there is None or there[0] is None:
        return 0
    found = connection.execute("SELECT count(*) FROM sync_pipeline.index_state").fetchone()
    return 0 if found is None else int(found[0])


def test_a_stopped_sync_ends_with_1_and_the_next_one_finishes_it(
    environment: Mapping[str, str], home: Path, url: str
) -> None:
    # Batches of one document make a sync last long enough to be stopped.
    process = subprocess.Popen(
        [*PROGRAM, "sync", "all", "--json"],
        env={**environment, "SYNC_PIPELINE__SYNC__UPSERT_BATCH_SIZE": "1"},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    wait_for_documents(url, at_least=10)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    stopped = json.loads(stdout)
    held = what_is_held(environment, url, cwd=home)
    finished = answer(environment, "sync", "all", cwd=home)
    verified = answer(environment, "verify", "all", cwd=home)

    assert process.returncode == 1
    assert "stopping after the batch in flight" in stderr
    assert "Traceback" not in stderr
    assert [scope["status"] for scope in stopped["scopes"]] == ["failed", "skipped"]
    assert "stopped in scope 'global' after the batch in flight" in stopped["scopes"][0]["error"]
    told, left = stopped["scopes"]
    assert (told["stopped_reason"], left["stopped_reason"]) == ("asked to stop", None)
    assert (told["rows"], told["new"], told["embedded_texts"]) == (ROWS / 2,) * 3
    assert {name: told[name] for name in held} == held
    assert finished["totals"]["documents"] == ROWS
    assert finished["totals"]["unchanged"] == told["points_written"]
    assert 10 <= finished["totals"]["unchanged"] < ROWS
    assert verified["ok"] is True
