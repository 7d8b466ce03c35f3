"""Source and state behind Debian's PgBouncer, which gives each transaction another session."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import ScopeBusyError
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.capacity import read_capacity
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.migrate import migrate
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline.database.urls import driver_url, parse_url
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.pgbouncer import needs_pgbouncer, pooled
from sync_pipeline_tests.sources.feed_support import create_things, installed, run_sql

pytestmark = [pytest.mark.process, pytest.mark.slow, needs_pgbouncer]

DAGSTER = "SYNC_PIPELINE__DAGSTER__STORAGE_URL"
TABLES = """
CREATE TABLE items (id text PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                    name text, price numeric, updated_at timestamptz DEFAULT now());
INSERT INTO items SELECT 'i' || n, 't' || n % 4, n % 10 = 0, 'Beam number ' || n, n
FROM generate_series(1, 800) AS n
"""
SETTINGS = (
    "entities: [{name: item, table: items, updated_at: updated_at,\n"
    "            views: {text: [name]}, payload: {price: price}}]\n"
)


@pytest.fixture
def pooler(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The test's database through a pooler with three sessions."""
    with pooled(database_url, folder=tmp_path) as url:
        yield url


@pytest.fixture
def through(pooler: str) -> Iterator[Engine]:
    """Our own engine through it."""
    engine = make_engine(pooler)
    yield engine
    engine.dispose()


def test_transactions_of_one_connection_get_sessions_in_turn_and_nothing_is_prepared(
    through: Engine,
) -> None:
    with through.connect() as connection:
        seen = []
        for _ in range(12):
            seen.append(connection.scalar(text("SELECT pg_backend_pid()")))
            connection.commit()
        prepared = connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))

    assert len(set(seen)) == 3
    assert prepared == 0


def test_times_are_read_in_utc_whatever_database_and_other_clients_ask_for(
    database_url: str, tmp_path: Path
) -> None:
    name = parse_url(database_url).database
    with psycopg.connect(driver_url(database_url, "libpq"), autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'".encode())
    with pooled(database_url, folder=tmp_path) as url, psycopg.connect(url) as other:
        other.execute("SET TIME ZONE 'Asia/Tokyo'; SET DateStyle TO 'German'")
        other.commit()
        engine = make_engine(url)

        with engine.connect() as connection:
            times = set()
            for _ in range(9):
                times.add(str(connection.scalar(text("SELECT '2026-01-02'::timestamptz"))))
                connection.commit()
        theirs = other.execute("SHOW DateStyle").fetchone()
        engine.dispose()

    assert times == {"2026-01-02 00:00:00+00:00"}
    assert theirs == ("German, DMY",)


def test_processes_that_migrate_at_once_through_it_do_it_once(through: Engine, pooler: str) -> None:
    with through.begin() as connection:
        connection.execute(text("DROP SCHEMA sync_pipeline CASCADE"))
    engines = [make_engine(pooler) for _ in range(3)]

    with ThreadPoolExecutor(3) as threads:
        applied = list(threads.map(migrate, engines))

    assert sorted(map(len, applied))[:2] == [0, 0]
    assert len(max(applied, key=len)) > 5
    for engine in engines:
        engine.dispose()


def test_a_lease_holds_across_sessions(through: Engine, pooler: str) -> None:
    other = make_engine(pooler)
    mine, theirs = PostgresScopeLeases(through), PostgresScopeLeases(other)
    fence = mine.acquire(scope=Scope("acme"), owner="run-1", ttl_seconds=60)

    for _ in range(7):
        with pytest.raises(ScopeBusyError, match="run-1"):
            theirs.acquire(scope=Scope("acme"), owner="run-2", ttl_seconds=60)
        mine.check(fence, ttl_seconds=60)
    mine.release(fence)

    assert theirs.acquire(scope=Scope("acme"), owner="run-2", ttl_seconds=60).token == 2
    other.dispose()


def test_a_listener_that_cannot_be_notified_looks_by_the_clock(
    through: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    create_things(through)
    feed = installed(through)

    with feed.listen() as listener:
        began = time.monotonic()
        woken = [listener.wait(0.1), listener.wait(5), listener.wait(5)]
        took = time.monotonic() - began

    assert woken == [False, True, True]
    assert 1.5 < took < 4
    assert "passes no notifications on" in caplog.text


def test_a_pooler_that_keeps_sessions_passes_notifications_on(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pooled(database_url, folder=tmp_path, pool_mode="session", pool_size=6) as url:
        engine = make_engine(url)
        create_things(engine)
        feed = installed(engine)

        with feed.listen() as listener:
            before = listener.wait(2)
            writer = threading.Timer(0.3, run_sql, [engine, "INSERT INTO things (id) VALUES ('a')"])
            writer.start()
            after = listener.wait(20)
            writer.join()
        capacity = read_capacity(engine)
        engine.dispose()

    assert (before, after) == (False, True)
    assert "passes no notifications" not in caplog.text
    assert (capacity.is_pooled, capacity.is_shared) == (True, False)


def test_it_is_told_from_a_server_without_a_pooler(through: Engine, engine: Engine) -> None:
    behind, directly = read_capacity(through), read_capacity(engine)

    assert (behind.is_pooled, behind.is_shared) == (True, True)
    assert (directly.is_pooled, directly.is_shared) == (False, False)
    assert behind.allowed == directly.allowed


def test_an_installation_behind_it_syncs_follows_and_is_in_step(
    pooler: str, database_url: str, tmp_path: Path
) -> None:
    """Full and incremental syncs of two processes at once, over three sessions of the server."""
    case = Case(pooler, tmp_path, {DAGSTER: driver_url(database_url, "libpq")})
    case.sql(TABLES)
    case.settings(SETTINGS)

    assert case.advice() == ""
    assert case.run("feed", "install").returncode == 0
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(case.run, "sync", scopes) for scopes in ("global", "tenants")]
        done = [one.result() for one in asked]
    assert [one.returncode for one in done] == [0, 0], done
    case.sql(
        "UPDATE items SET name = name || ' renewed' WHERE id IN ('i1', 'i2')",
        "DELETE FROM items WHERE id = 'i3'",
    )
    changed = case.run("sync", "all", "--mode", "incremental")
    with case.start("feed", "follow") as follower:
        case.sql("UPDATE items SET name = 'Followed' WHERE id = 'i5'")
        deadline = time.monotonic() + 60
        while "Followed" not in case.found("Followed", tenant="t1"):
            assert time.monotonic() < deadline, "the follower did not see the change"
        follower.send_signal(signal.SIGINT)
        _, warned = follower.communicate(timeout=60)
    verified = case.run("verify", "all")

    assert changed.returncode == 0, changed.stderr
    assert "passes no notifications on" in warned
    assert verified.returncode == 0, verified.stdout
    assert "prepared" not in "".join(one.stderr for one in [*done, changed])
    assert "Beam number 1 renewed" in case.found("Beam number 1 renewed", tenant="t1")
    with psycopg.connect(pooler) as connection:
        states = connection.execute("SELECT count(*) FROM sync_pipeline.index_state").fetchone()
    assert states == (799,)


@pytest.mark.parametrize(
    "more",
    ["", "ignore_startup_parameters = options"],
    ids=["that refuses how sessions start", "that ignores it"],
)
def test_dagsters_tables_behind_a_pooler_are_refused_and_it_is_said_why(
    more: str, database_url: str, tmp_path: Path
) -> None:
    with pooled(database_url, folder=tmp_path, more=more) as url:
        case = Case(url, tmp_path)
        case.sql(TABLES)
        case.settings(SETTINGS)

        advice = case.advice()
        refused = case.run("sync", "all")

        assert "does not pass that on" in advice
        assert "Set `dagster.storage_url` to the address of the server itself" in advice
        assert refused.returncode == 2
        assert "Set `dagster.storage_url` to the address of the server itself" in refused.stderr
        with psycopg.connect(driver_url(database_url, "libpq")) as connection:
            assert connection.execute("SELECT to_regclass('public.runs')").fetchone() == (None,)


def test_the_feed_is_installed_and_consumed_through_it(through: Engine) -> None:
    create_things(through)
    feed = installed(through)
    run_sql(through, "INSERT INTO things (id) SELECT 'r' || n FROM generate_series(1, 20) n")

    seen = set()
    while batch_rows := (batch := feed.read(Scope("acme"), limit=7)).rows:
        seen |= {row.db_id for row in batch_rows}
        feed.consume(batch)

    assert seen == {f"r{n}" for n in range(1, 21)}
