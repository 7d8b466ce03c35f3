"""A process that stops in the middle of anything, for a minute or for good, holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, event, text

from sync_pipeline.core.errors import ScopeBusyError
from sync_pipeline.core.rate_limits import RateLimits
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database import engine as engines
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, make_engine
from sync_pipeline.database.rate_limits import PostgresRateLimiter
from sync_pipeline.database.run_heartbeats import PostgresRunHeartbeats
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline_tests.database.documents import ACME

pytestmark = pytest.mark.process

SHORT_SECONDS = 0.5
ONCE = Retries(attempts=1)


def _lease(owner: str, engine: Engine) -> None:
    PostgresScopeLeases(engine, retries=ONCE).acquire(scope=ACME, owner=owner, ttl_seconds=0)


def _renewal(owner: str, engine: Engine) -> None:
    leases = PostgresScopeLeases(engine, retries=ONCE)
    with suppress(ScopeBusyError):
        fence = leases.acquire(scope=ACME, owner=owner, ttl_seconds=60)
        leases.check(fence, ttl_seconds=60)
        leases.release(fence)


def _turn(owner: str, engine: Engine) -> None:
    del owner
    limiter = PostgresRateLimiter(engine, account="shared", limits=RateLimits(), retries=ONCE)
    limiter.take(tokens=1)
    limiter.settle(expected=1, taken=2)


def _beat(owner: str, engine: Engine) -> None:
    beats = PostgresRunHeartbeats(engine, machine=owner, retries=ONCE)
    beats.beat(run_id="run-1", step_key="embed")
    beats.end(run_id="run-1", step_key="embed")


@pytest.mark.parametrize("do", [_lease, _renewal, _turn, _beat])
def test_s34_what_others_have_to_get_past_is_locked_by_nobody_between_two_statements(
    database_url: str, do: Callable[[str, Engine], None]
) -> None:
    stopping = make_engine(database_url)
    other = make_engine(f"{database_url}&options=-c%20lock_timeout%3D2000")
    stopped_after: list[str] = []

    def meanwhile(_: object, cursor: object, statement: str, *more: object) -> None:
        del cursor, more
        stopped_after.append(statement)
        do("the other", other)

    event.listen(stopping, "after_cursor_execute", meanwhile)

    do("the one that stops", stopping)

    assert stopped_after
    stopping.dispose()
    other.dispose()


@pytest.fixture
def impatient(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Sessions that may be idle in a transaction for half a second."""
    monkeypatch.setattr(engines, "IDLE_SECONDS", SHORT_SECONDS)
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def test_s34_what_a_stopped_transaction_has_locked_is_free_after_a_while_and_it_begins_again(
    impatient: Engine, engine: Engine
) -> None:
    database = Database(
        impatient, schema=DEFAULT_SCHEMA, retries=Retries(sleep=lambda _seconds: None)
    )
    insert = text("INSERT INTO sync_pipeline.rate_limit (account) VALUES ('shared')")
    began: list[float] = []
    is_locked = threading.Event()

    def work(connection: Connection) -> None:
        connection.execute(insert)
        is_locked.set()
        began.append(time.monotonic())
        if len(began) == 1:
            time.sleep(4 * SHORT_SECONDS)

    stopped = threading.Thread(target=partial(database.run, "stopping", work))
    stopped.start()
    assert is_locked.wait(10)
    with engine.begin() as other:
        other.execute(insert)
        waited = time.monotonic() - began[0]
        other.rollback()
    stopped.join(10)

    assert waited < 3 * SHORT_SECONDS
    assert len(began) == 2
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM sync_pipeline.rate_limit")) == 1


def test_s34_rows_that_are_read_as_they_are_needed_wait_for_their_reader(impatient: Engine) -> None:
    database = Database(impatient, schema=DEFAULT_SCHEMA, retries=Retries())
    rows = database.stream(
        "reading",
        sql.SQL("SELECT * FROM generate_series(1, 4)").format(),
        {},
        batch_size=2,
        before=sql.SQL("SET LOCAL statement_timeout = 0"),
    )

    first = next(rows)
    time.sleep(3 * SHORT_SECONDS)

    assert [*first, *next(rows)] == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(("theirs", "shown"), [("10s", "10s"), ("0", "1min")])
def test_s34_what_a_database_says_about_idle_transactions_holds(
    database_url: str, engine: Engine, theirs: str, shown: str
) -> None:
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT quote_ident(current_database())"))
        connection.execute(
            text(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '{theirs}'")
        )
    ours = make_engine(database_url)

    with ours.connect() as connection:
        found = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    ours.dispose()

    assert found == shown
