"""A table that is being replaced is never read as empty."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.core.scope import Scope
from sync_pipeline.sources import postgres
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.sources.counting import count_rows
from sync_pipeline_tests.sources.feed_support import run_sql

ACME = Scope("acme")
REPLACE = "TRUNCATE things; INSERT INTO things SELECT g, 'acme' FROM generate_series(1, 50) g"


def entity(table: str = "things") -> Entity:
    return Entity(name="thing", table=table, views=(("text", ("name",)),))


@pytest.fixture
def things(engine: sa.Engine) -> sa.Engine:
    run_sql(
        engine,
        "CREATE TABLE things (id int PRIMARY KEY, tenant_id text, "
        "is_global boolean NOT NULL DEFAULT false, name text DEFAULT 'n')",
        "INSERT INTO things SELECT g, 'acme' FROM generate_series(1, 50) g",
        "CREATE VIEW listed AS SELECT * FROM things",
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM things",
    )
    return engine


@contextmanager
def loader(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that has replaced the table and has not ended yet."""
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(REPLACE)
        yield connection


def count(source: PostgresRowSource, table: str = "things") -> int:
    with source.open_snapshot([entity(table)]) as snapshot:
        return count_rows(snapshot, entity=entity(table), scope=ACME)


@pytest.mark.parametrize("table", ["things", "listed", "kept"])
def test_s72_a_loader_that_commits_while_a_snapshot_is_opened_has_its_rows_read(
    things: sa.Engine, table: str
) -> None:
    """TRUNCATE and INSERT in one transaction that ends while the snapshot waits for it."""
    found: list[int] = []
    reader = threading.Thread(
        target=lambda: found.append(count(PostgresRowSource(things), table)), daemon=True
    )

    with loader(things):
        reader.start()
        reader.join(0.5)
    reader.join(20)

    assert found == [50]


def test_s72_a_loader_that_is_slower_than_our_patience_is_an_outage(things: sa.Engine) -> None:
    """What waits too long ends as an error that another attempt can help."""
    source = PostgresRowSource(things, lock_timeout_seconds=0.2)

    with (
        loader(things),
        pytest.raises(SourceUnavailableError, match=r"public.things .* waited 0.2 s"),
    ):
        count(source)


def test_s72_a_table_is_not_replaced_while_a_snapshot_reads_it(things: sa.Engine) -> None:
    """A loader that comes later waits until the snapshot has ended."""
    with PostgresRowSource(things).open_snapshot([entity()]) as snapshot:
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            run_sql(things, "SET lock_timeout = '200ms'; " + REPLACE)
        counted = count_rows(snapshot, entity=entity(), scope=ACME)

    assert counted == 50


def test_s34_s72_a_table_is_replaced_where_nobody_reads_the_snapshot_any_more(
    things: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped, or whose output is not read, holds the loader up for a while."""
    impatient = {**postgres.SESSION_SETTINGS, "idle_in_transaction_session_timeout": "500ms"}
    monkeypatch.setattr(postgres, "SESSION_SETTINGS", impatient)

    with PostgresRowSource(things).open_snapshot([entity()]) as snapshot:
        run_sql(things, "SET lock_timeout = '20s'; " + REPLACE)
        with pytest.raises(SourceUnavailableError, match="from which nothing was read for too"):
            count_rows(snapshot, entity=entity(), scope=ACME)


@pytest.fixture
def reader(things: sa.Engine) -> Iterator[sa.Engine]:
    """A role that may read the columns and not lock the table."""
    run_sql(
        things,
        "DROP ROLE IF EXISTS column_reader",
        "CREATE ROLE column_reader LOGIN",
        "GRANT SELECT (id, tenant_id, is_global, name) ON things TO column_reader",
    )
    engine = sa.create_engine(things.url.set(username="column_reader"))
    yield engine
    engine.dispose()
    run_sql(things, "DROP OWNED BY column_reader", "DROP ROLE column_reader")


def test_s72_a_role_that_may_not_lock_notices_that_the_table_was_replaced(
    things: sa.Engine, reader: sa.Engine
) -> None:
    """The file of the snapshot is compared with the one that is read."""

    def replace_once(_connection: sa.Connection, clause: object, *_: object) -> None:
        if clause is postgres._OPEN:
            run_sql(things, REPLACE)

    sa.event.listen(reader, "after_execute", replace_once)
    with pytest.raises(SourceUnavailableError, match=r"things .* cannot be read now"):
        count(PostgresRowSource(reader))
    sa.event.remove(reader, "after_execute", replace_once)

    assert count(PostgresRowSource(reader)) == 50


def test_s72_a_loader_in_a_loop_never_shows_an_empty_table(things: sa.Engine) -> None:
    """Fifty snapshots beside a loader that does nothing but replace the table."""
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            run_sql(things, REPLACE)

    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    source = PostgresRowSource(things)
    counts = {count(source) for _ in range(50)}
    stop.set()
    loading.join(20)

    assert counts == {50}
