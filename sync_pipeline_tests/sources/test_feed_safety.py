"""No statement of the application fails or waits because of the feed, and no loss stays unseen."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

import time

import psycopg
import pytest
import sqlalchemy as sa

from sync_pipeline.core.changes import FeedState, FeedStatus
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import psycopg_of
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline.sources.feed.sql import FeedNames
from sync_pipeline_tests.sources.feed_support import (
    create_things,
    installed,
    run_sql,
    take_events,
    things,
)

EVENTS = "sync_pipeline.change_event"
STATEMENTS = (
    "INSERT INTO things (id) VALUES ('b'), ('c')",
    "UPDATE things SET name = name || 'x'",
    (
        "MERGE INTO things t USING (VALUES ('b')) v (id) ON t.id = v.id "
        "WHEN MATCHED THEN UPDATE SET name = 'merged'"
    ),
    "INSERT INTO things (id) VALUES ('b') ON CONFLICT (id) DO UPDATE SET name = 'upserted'",
    "DELETE FROM things WHERE id = 'c'",
    "TRUNCATE things",
)


def only_status(feed: PostgresChangeFeed) -> FeedStatus:
    (status,) = feed.status([things()])
    return status


BREAKAGES = {
    "events table dropped": f"DROP TABLE {EVENTS}",
    "sequence dropped": "DROP SEQUENCE sync_pipeline.feed_loss",
    "both dropped": f"DROP TABLE {EVENTS}; DROP SEQUENCE sync_pipeline.feed_loss",
    "column renamed": f"ALTER TABLE {EVENTS} RENAME COLUMN db_id TO row_id",
    "column that every event needs renamed": f"ALTER TABLE {EVENTS} RENAME entity_type TO kind",
    "column dropped": f"ALTER TABLE {EVENTS} DROP COLUMN new_scope_key",
    "type changed": f"ALTER TABLE {EVENTS} ALTER db_id TYPE bigint USING 1",
    "column added that needs a value": f"ALTER TABLE {EVENTS} ADD more text NOT NULL DEFAULT ''; "
    f"ALTER TABLE {EVENTS} ALTER more DROP DEFAULT",
    "constraint added": f"ALTER TABLE {EVENTS} ADD CHECK (operation <> 'insert') NOT VALID",
    "constraint that forbids every event": f"ALTER TABLE {EVENTS} ADD CHECK (id < 0) NOT VALID",
    "identity lost": f"ALTER TABLE {EVENTS} ALTER id DROP IDENTITY",
    "table renamed": f"ALTER TABLE {EVENTS} RENAME TO other",
    "schema renamed": "ALTER SCHEMA sync_pipeline RENAME TO elsewhere",
    "replaced by a view": f"DROP TABLE {EVENTS}; CREATE VIEW {EVENTS} AS SELECT 1 AS id",
    "disk full": "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$; "
    f"CREATE TRIGGER full_disk BEFORE INSERT ON {EVENTS} EXECUTE FUNCTION full_disk()",
    "writes the table that it watches": "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql "
    "AS $$ BEGIN UPDATE public.things SET name = name || '!'; RETURN NULL; END $$; "
    f"CREATE TRIGGER again AFTER INSERT ON {EVENTS} EXECUTE FUNCTION again()",
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_whatever_becomes_of_our_table_no_statement_fails_and_the_epoch_is_another(
    engine: sa.Engine, breakage: str
) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
    before = only_status(feed)

    run_sql(engine, breakage)
    for statement in STATEMENTS:
        run_sql(engine, statement)
    after = only_status(feed)

    assert before.epoch is not None
    assert after.epoch != before.epoch


@pytest.fixture
def owned_by_another(engine: sa.Engine) -> PostgresChangeFeed:
    """A feed whose function belongs to a role that owns nothing else."""
    create_things(engine)
    feed = installed(engine)
    run_sql(
        engine,
        "DO $$ BEGIN CREATE ROLE feed_writer; EXCEPTION WHEN duplicate_object THEN END $$",
        "GRANT USAGE, CREATE ON SCHEMA sync_pipeline TO feed_writer",
        f"GRANT SELECT, INSERT ON {EVENTS} TO feed_writer",
        "GRANT USAGE, SELECT ON SEQUENCE sync_pipeline.feed_loss TO feed_writer",
        "ALTER FUNCTION sync_pipeline.feed_thing() OWNER TO feed_writer",
    )
    return feed


@pytest.mark.parametrize(
    ("revoked", "granted"),
    [
        pytest.param(
            f"REVOKE INSERT ON {EVENTS} FROM feed_writer",
            f"GRANT INSERT ON {EVENTS} TO feed_writer",
            id="table",
        ),
        pytest.param(
            "REVOKE USAGE ON SCHEMA sync_pipeline FROM feed_writer",
            "GRANT USAGE ON SCHEMA sync_pipeline TO feed_writer",
            id="schema",
        ),
        pytest.param(
            f"ALTER TABLE {EVENTS} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {EVENTS} DISABLE ROW LEVEL SECURITY",
            id="row security",
        ),
    ],
)
def test_a_right_that_is_lost_and_given_back_is_seen_in_the_epoch(
    engine: sa.Engine, owned_by_another: PostgresChangeFeed, revoked: str, granted: str
) -> None:
    feed = owned_by_another
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
    told = take_events(engine)
    before = only_status(feed)

    run_sql(engine, revoked, *STATEMENTS)
    run_sql(engine, granted)
    after = only_status(feed)

    assert told == [("insert", "a", None, "acme")]
    assert after.state is FeedState.INSTALLED
    assert None is not before.epoch != after.epoch


def test_status_says_who_may_not_write_events(
    engine: sa.Engine, owned_by_another: PostgresChangeFeed
) -> None:
    run_sql(engine, f"REVOKE INSERT ON {EVENTS} FROM feed_writer")

    status = only_status(owned_by_another)

    assert (status.state, status.epoch) == (FeedState.OUTDATED, None)
    assert "role feed_writer, with whose rights events are written, may not" in status.detail
    assert 'GRANT SELECT, INSERT ON "sync_pipeline".change_event TO feed_writer' in status.detail


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
def test_a_lock_on_our_table_is_not_waited_for(engine: sa.Engine, mode: str) -> None:
    create_things(engine)
    feed = installed(engine)
    before = only_status(feed)

    with engine.begin() as holder:
        holder.exec_driver_sql(f"LOCK TABLE {EVENTS} IN {mode} MODE")
        started = time.monotonic()
        run_sql(engine, "SET LOCAL lock_timeout = 0", "INSERT INTO things (id) VALUES ('a')")
        waited = time.monotonic() - started
    after = only_status(feed)

    assert waited < 5
    assert take_events(engine) == []
    assert after.state is FeedState.INSTALLED
    assert None is not before.epoch != after.epoch is not None


def test_there_is_no_epoch_while_a_transaction_that_lost_an_event_may_still_commit(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    epochs = [only_status(feed).epoch]

    with engine.connect() as writer:
        with engine.begin() as holder:
            holder.exec_driver_sql(f"LOCK TABLE {EVENTS}")
            writer.exec_driver_sql("INSERT INTO things (id) VALUES ('a')")
        epochs.append(only_status(feed).epoch)
        writer.commit()
    epochs.append(only_status(feed).epoch)

    first, meanwhile, last = epochs
    assert meanwhile is None
    assert None is not first != last is not None


def test_a_lock_that_is_held_by_the_application_itself_is_no_obstacle(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    run_sql(engine, f"LOCK TABLE {EVENTS}", "INSERT INTO things (id) VALUES ('a')")

    assert take_events(engine) == [("insert", "a", None, "acme")]


def test_a_statement_is_cancelled_as_it_would_be_without_the_feed(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    run_sql(
        engine,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$",
        f"CREATE TRIGGER slow AFTER INSERT ON {EVENTS} EXECUTE FUNCTION slow()",
    )

    with pytest.raises(sa.exc.OperationalError) as caught:
        run_sql(
            engine,
            "SET LOCAL statement_timeout = '200ms'",
            "INSERT INTO things (id) VALUES ('a')",
        )

    assert isinstance(caught.value.orig, psycopg.errors.QueryCanceled)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM things")) == 0


def test_savepoints_of_the_application_keep_what_is_theirs(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO things (id) VALUES ('a')")
        with connection.begin_nested() as savepoint:
            connection.exec_driver_sql("INSERT INTO things (id) VALUES ('b')")
            savepoint.rollback()
        connection.exec_driver_sql("INSERT INTO things (id) VALUES ('c')")

    assert {row.db_id for row in feed.read(Scope("acme")).rows} == {"a", "c"}


def test_serializable_transactions_do_not_fail_because_of_each_others_events(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    run_sql(engine, "CREATE TABLE others (LIKE things INCLUDING ALL)")
    installed(engine, things(), things(name="other", table="others"))
    run_sql(engine, "ALTER TABLE things RENAME name TO title")
    run_sql(engine, "ALTER TABLE others RENAME name TO title")
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")

    with serializable.connect() as first, serializable.connect() as second:
        first.exec_driver_sql("INSERT INTO things (id) VALUES ('a')")
        second.exec_driver_sql("INSERT INTO others (id) VALUES ('a')")
        first.exec_driver_sql("INSERT INTO things (id) VALUES ('b')")
        second.exec_driver_sql("INSERT INTO others (id) VALUES ('b')")
        first.commit()
        second.commit()

    assert set(take_events(engine)) == {("truncate", None, None, None)}


def test_a_session_that_replicates_leaves_events(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    run_sql(
        engine,
        "SET LOCAL session_replication_role = replica",
        "INSERT INTO things (id) VALUES ('a')",
        "UPDATE things SET name = 'x'",
        "DELETE FROM things",
    )

    assert [event[0] for event in take_events(engine)] == ["insert", "update", "delete"]


def test_events_of_a_table_that_lost_a_column_are_none_instead_of_an_error(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, f"ALTER TABLE {EVENTS} RENAME COLUMN db_id TO row_id")

    batch = feed.read(Scope("acme"))
    status = only_status(feed)
    with pytest.raises(ConfigurationError, match="has no column db_id any more"):
        feed.install([things()])

    assert batch.event_ids == ()
    assert status.state is FeedState.OUTDATED
    assert "give the columns their names back" in status.detail


def test_a_dropped_table_of_events_is_made_again(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, f"DROP TABLE {EVENTS}", "DROP SEQUENCE sync_pipeline.feed_loss")

    broken = only_status(feed)
    feed.install([things()])
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")

    assert "table sync_pipeline.change_event is missing" in broken.detail
    assert only_status(feed).epoch is not None
    assert take_events(engine) == [("insert", "a", None, "acme")]


def test_vacuum_never_locks_writers_out_of_our_table(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    with engine.connect() as connection:
        options = connection.scalar(
            sa.text(
                "SELECT reloptions FROM pg_class WHERE oid = 'sync_pipeline.change_event'::regclass"
            )
        )

    assert options == ["vacuum_truncate=off"]


def test_nobody_is_notified_while_the_queue_of_notifications_fills_up(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    names = FeedNames("sync_pipeline", "thing")

    with engine.connect() as connection:
        body = connection.scalar(
            sa.text("SELECT prosrc FROM pg_proc WHERE proname = :name"), {"name": names.function}
        )

    assert "pg_notification_queue_usage() < 0.5" in str(body)


def test_many_statements_in_one_transaction(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    with engine.begin() as connection, psycopg_of(connection).cursor() as cursor:
        cursor.executemany(
            "INSERT INTO things (id) VALUES (%s)", [(str(number),) for number in range(300)]
        )

    assert len(take_events(engine)) == 300
