"""No committed change is lost: whatever commits late, crashes, or is consumed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.core.changes import ChangedRow, ChangeListener
from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.engine import make_engine
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline_tests.sources.feed_support import (
    create_things,
    installed,
    run_sql,
    take_events,
)

ACME = Scope("acme")
GLOBEX = Scope("globex")


def insert(connection: sa.Connection, row_id: str) -> None:
    connection.execute(sa.text("INSERT INTO things (id) VALUES (:id)"), {"id": row_id})


# --- transactions -----------------------------------------------------------------------


def test_a_transaction_that_commits_late_is_not_overtaken(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    seen: list[set[str]] = []

    with engine.connect() as late:
        insert(late, "late")
        run_sql(engine, "INSERT INTO things (id) VALUES ('early')")
        batch = feed.read(ACME)
        seen.append({row.db_id for row in batch.rows})
        late.commit()
        feed.consume(batch)
    seen.append({row.db_id for row in feed.read(ACME).rows})

    assert seen == [{"early"}, {"late"}]


def test_many_writers_and_a_consumer_at_once_lose_no_row(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    def write(writer: int) -> None:
        for number in range(25):
            with engine.begin() as connection:
                insert(connection, f"{writer}-{number}")
                connection.execute(sa.text("SELECT pg_sleep(random() / 200)"))

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    seen: set[str] = set()
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers) or feed.pending():
        batch = feed.read(ACME, limit=7)
        seen |= {row.db_id for row in batch.rows}
        feed.consume(batch)

    assert seen == {f"{writer}-{number}" for writer in range(4) for number in range(25)}
    assert take_events(engine) == []


def test_two_scopes_that_consume_a_move_at_the_same_time_end_it_together(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) SELECT n::text FROM generate_series(1, 500) n")
    take_events(engine)
    run_sql(engine, "UPDATE things SET tenant_id = 'globex'")
    barrier = threading.Barrier(2)

    def consume(scope: Scope) -> None:
        batch = feed.read(scope)
        barrier.wait()
        feed.consume(batch)

    both = [threading.Thread(target=consume, args=(scope,)) for scope in (ACME, GLOBEX)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert take_events(engine) == []


def test_the_second_scope_waits_for_the_first_and_sees_what_it_left(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
    take_events(engine)
    run_sql(engine, "UPDATE things SET tenant_id = 'globex'")
    batch = feed.read(GLOBEX)

    with engine.connect() as first:
        first.execute(sa.text("UPDATE sync_pipeline.change_event SET old_scope_key = NULL"))
        second = threading.Thread(target=feed.consume, args=(batch,))
        second.start()
        second.join(timeout=0.3)
        waited = second.is_alive()
        first.commit()
        second.join()

    assert waited
    assert take_events(engine) == []


CHANGES = st.one_of(
    st.tuples(st.just("upsert"), st.integers(1, 6), st.sampled_from("abg"), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.integers(1, 6), st.just(""), st.just(0)),
    st.tuples(st.just("renumber"), st.integers(1, 6), st.just(""), st.integers(1, 6)),
    st.tuples(st.just("truncate"), st.just(0), st.just(""), st.just(0)),
    st.tuples(st.just("sync"), st.just(0), st.sampled_from("abg"), st.just(0)),
)
STATEMENTS = {
    "upsert": "INSERT INTO things (id, tenant_id, is_global, name) "
    "VALUES (:id, nullif(:tenant, 'g'), false, :value) ON CONFLICT (id) DO UPDATE "
    "SET tenant_id = excluded.tenant_id, name = excluded.name",
    "delete": "DELETE FROM things WHERE id = CAST(:id AS text)",
    "renumber": "UPDATE things SET id = :value WHERE id = CAST(:id AS text) "
    "AND NOT EXISTS (SELECT FROM things WHERE id = CAST(:value AS text))",
    "truncate": "TRUNCATE things",
}
SCOPES = {"a": Scope("a"), "b": Scope("b"), "g": GLOBAL}


class Mirror:
    """A copy of ``things`` that is brought in step scope by scope, only where the feed says so."""

    def __init__(self, engine: sa.Engine, feed: PostgresChangeFeed) -> None:
        self._engine = engine
        self._feed = feed
        self.rows: dict[Scope, set[tuple[str, str]]] = {scope: set() for scope in SCOPES.values()}

    def sync(self, scope: Scope) -> None:
        """Read only the rows that a batch names, unless a truncate says that this is no use."""
        self._feed.spread_truncates(list(SCOPES.values()))
        batch = self._feed.read(scope)
        now = self.source()[scope]
        ids = {row.db_id for row in batch.rows}
        if batch.has_truncate:
            self.rows[scope] = now
        else:
            kept = {row for row in self.rows[scope] if row[0] not in ids}
            self.rows[scope] = kept | {row for row in now if row[0] in ids}
        self._feed.consume(batch)

    def source(self) -> dict[Scope, set[tuple[str, str]]]:
        found: dict[Scope, set[tuple[str, str]]] = {scope: set() for scope in SCOPES.values()}
        with self._engine.connect() as connection:
            for row in connection.execute(sa.text("SELECT id, tenant_id, name FROM things")):
                found[SCOPES[row.tenant_id or "g"]].add((row.id, row.name))
        return found


@given(changes=st.lists(CHANGES, max_size=25))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_reading_only_what_the_feed_names_keeps_every_scope_in_step(
    engine: sa.Engine, changes: list[tuple[str, int, str, int]]
) -> None:
    run_sql(engine, "DROP TABLE IF EXISTS things")
    create_things(engine)
    feed = installed(engine)
    take_events(engine)
    mirror = Mirror(engine, feed)

    for kind, row_id, tenant, value in changes:
        if kind == "sync":
            mirror.sync(SCOPES[tenant])
            continue
        with engine.begin() as connection:
            values = {"id": str(row_id), "tenant": tenant, "value": str(value)}
            statement = sa.text(STATEMENTS[kind])
            connection.execute(statement, values)
    for scope in SCOPES.values():
        mirror.sync(scope)

    assert mirror.rows == mirror.source()
    assert feed.pending() == {}


# --- crashes ----------------------------------------------------------------------------

PROCESS_AND_HANG = """
import sys, time
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import make_engine
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed

batch = PostgresChangeFeed(make_engine(sys.argv[1])).read(Scope("acme"))
print(*batch.event_ids, flush=True)
time.sleep(600)
"""


def test_a_process_killed_before_it_consumes_leaves_the_events_to_the_next(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a'), ('b')")
    url = engine.url.render_as_string(hide_password=False)

    with subprocess.Popen(
        [sys.executable, "-c", PROCESS_AND_HANG, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = process.stdout.readline().split()
        process.kill()
    again = feed.read(ACME)
    feed.consume(again)

    assert [int(event) for event in seen] == list(again.event_ids)
    assert again.rows == {ChangedRow("thing", "a"), ChangedRow("thing", "b")}
    assert feed.pending() == {}


def wait_until_it_fails(listener: ChangeListener) -> None:
    """A server that is going down may still answer a few times."""
    while True:
        listener.wait(0.05)


@pytest.fixture
def own_server() -> Iterator[Path]:
    """Folder of a server that the test may crash; its path is short, for the socket lies there."""
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        yield Path(folder) / "pg"
        stop_embedded_database(Path(folder) / "pg")


@pytest.mark.slow
def test_events_survive_a_crash_of_the_server_and_listeners_come_back(own_server: Path) -> None:
    engine = make_engine(embedded_database_url(own_server))
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
    before = feed.read(ACME)

    with feed.listen() as listener:
        postmaster = int((own_server / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        with pytest.raises(SourceUnavailableError, match="cannot be read"):
            wait_until_it_fails(listener)
        embedded_database_url(own_server)
        is_mended = listener.wait(0)
        run_sql(engine, "INSERT INTO things (id) VALUES ('b')")
        heard = listener.wait(10)

    assert is_mended
    assert heard
    assert set(before.event_ids) < set(feed.read(ACME).event_ids)
    engine.dispose()


@pytest.mark.slow
def test_an_application_that_prepares_transactions_is_not_disturbed(own_server: Path) -> None:
    engine = make_engine(embedded_database_url(own_server))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET max_prepared_transactions = 2")
    engine.dispose()
    stop_embedded_database(own_server)
    embedded_database_url(own_server)
    create_things(engine)
    feed = installed(engine)

    run_sql(engine, "INSERT INTO things (id) VALUES ('a')", "PREPARE TRANSACTION 'first'")
    before = feed.pending()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("COMMIT PREPARED 'first'")

    assert before == {}
    assert feed.pending()["acme"].events == 1
    engine.dispose()


# --- listening --------------------------------------------------------------------------


def test_a_listener_whose_connection_was_cut_says_that_something_may_have_been_missed(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)

    with feed.listen() as listener:
        run_sql(
            engine,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        )
        mended = listener.wait(5)
        quiet = listener.wait(0.1)
        run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
        heard = listener.wait(10)

    assert (mended, quiet, heard) == (True, False, True)


def test_a_listener_looks_once_more_after_it_was_notified(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    with feed.listen() as listener:
        run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
        heard = [listener.wait(10), listener.wait(10), listener.wait(0.1)]

    assert heard == [True, True, False]


def test_a_savepoint_rolled_back_does_not_silence_its_transaction(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    with feed.listen() as listener:
        with engine.begin() as connection:
            with connection.begin_nested() as savepoint:
                insert(connection, "a")
                savepoint.rollback()
            insert(connection, "b")
        heard = listener.wait(10)

    assert heard


def test_a_transaction_holds_one_lock_however_many_statements_it_has(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    held = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    )

    with engine.begin() as connection:
        for number in range(3):
            insert(connection, str(number))
        connection.execute(sa.text("SELECT pg_sleep(1.1)"))
        insert(connection, "a second later")
        locks = connection.scalar(held)

    assert locks == 1


def test_a_listener_does_not_use_up_the_pool_and_closes_its_connection(engine: sa.Engine) -> None:
    small = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=1)
    create_things(engine)
    feed = installed(small)

    with feed.listen(), feed.listen():
        pending = feed.pending()
    with engine.connect() as connection:
        listening = connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%' AND datname = current_database() AND state = 'idle'"
            )
        )
    small.dispose()

    assert pending == {}
    assert listening == 0


def test_a_source_that_cannot_be_reached_is_named_without_its_password(engine: sa.Engine) -> None:
    url = sa.make_url("postgresql+psycopg://user:secret@127.0.0.1:1/nowhere")
    feed = PostgresChangeFeed(sa.create_engine(url))

    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1/nowhere") as caught:
        feed.pending()
    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1/nowhere"), feed.listen():
        pass

    assert "secret" not in str(caught.value)
