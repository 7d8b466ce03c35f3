"""Connections of the pool: asked now and then whether they live, and never given out dead."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.database import engine as engines
from sync_pipeline.database.engine import make_engine

pytestmark = pytest.mark.process


@pytest.fixture
def pings() -> list[int]:
    """One entry for every time that ``own`` asks the server."""
    return []


@pytest.fixture
def own(database_url: str, pings: list[int]) -> Iterator[Engine]:
    """An engine with a single connection."""
    engine = make_engine(database_url, max_connections=2)
    asked = engine.dialect.do_ping.args[0]  # type: ignore[attr-defined]  # a partial

    def count(connection: object) -> bool:
        pings.append(1)
        return bool(asked(connection))

    engine.dialect.do_ping = partial(engines._is_alive, count)  # type: ignore[method-assign]
    yield engine
    engine.dispose()


def backend(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_connection_in_use_is_asked_every_few_seconds_only(
    own: Engine, pings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backend(own)
    for _ in range(20):
        assert backend(own) == first
    assert len(pings) == 1

    monkeypatch.setattr(engines, "TRUSTED_SECONDS", 0.0)
    assert backend(own) == first
    assert len(pings) == 2


def test_a_connection_that_the_server_has_ended_is_replaced_though_it_was_just_used(
    own: Engine, engine: Engine, pings: list[int]
) -> None:
    first = backend(own)
    backend(own)
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})

    assert backend(own) != first
    assert len(pings) == 2


def test_no_more_than_so_many_connections_are_open_and_half_of_them_are_kept(
    database_url: str, engine: Engine
) -> None:
    bounded = make_engine(database_url, max_connections=4)
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )

    def work(_: int) -> int:
        with bounded.connect() as connection:
            connection.execute(text("SELECT pg_sleep(0.1)"))
            return int(connection.execute(others).scalar_one())

    with ThreadPoolExecutor(12) as threads:
        seen = list(threads.map(work, range(24)))
    kept = -1
    deadline = time.monotonic() + 10
    # The server's end of a connection that was closed goes a moment later.
    while kept != 2 and time.monotonic() < deadline:
        with engine.connect() as connection:
            kept = connection.execute(others).scalar_one()
    bounded.dispose()

    assert max(seen) == 3  # the other ones
    assert kept == 2


FORKING: Final = """
import gc, os, sys
from sqlalchemy import text
from sync_pipeline.database.engine import make_engine

engine = make_engine(sys.argv[1])

def session():
    with engine.connect() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

mine = session()
reader, writer = os.pipe()
if os.fork() == 0:
    theirs = session()
    engine.dispose()
    gc.collect()
    os.write(writer, str(theirs).encode())
    os._exit(0)
theirs = int(os.read(reader, 20))
os.wait()
assert mine != theirs, "the child used its parent's connection"
assert session() == mine, "the child ended its parent's connection"
print("apart")
"""


def test_a_forked_process_opens_connections_of_its_own(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, database_url], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("apart\n", 0), done.stderr
