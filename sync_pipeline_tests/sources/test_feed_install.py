"""Installing, inspecting and removing the change feed in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from sync_pipeline.core.changes import FeedState, FeedStatus
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError, SourceSchemaError, TransientError
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import parse_url
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline_tests.sources.feed_support import create_things, installed, run_sql, things

ACME = Scope("acme")
COLUMNS = sa.text(
    "SELECT column_name, data_type, is_nullable, column_default, is_identity "
    "FROM information_schema.columns WHERE table_schema = :schema "
    "AND table_name = 'change_event' ORDER BY ordinal_position"
)


def only_status(feed: PostgresChangeFeed, entity: Entity | None = None) -> FeedStatus:
    (status,) = feed.status([entity or things()])
    return status


def objects(engine: sa.Engine) -> list[str]:
    """Names of all functions and triggers that could be ours."""
    with engine.connect() as connection:
        return list(
            connection.scalars(
                sa.text(
                    "SELECT proname::text FROM pg_proc WHERE proname LIKE 'feed\\_%' UNION ALL "
                    "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
                )
            )
        )


@contextmanager
def connected_as(engine: sa.Engine, role: str, *grants: str) -> Iterator[sa.Engine]:
    """Another engine on the same database, as a role without any rights but ``grants``."""
    run_sql(engine, f"CREATE ROLE {role} LOGIN", *grants)
    url = parse_url(engine.url.render_as_string(hide_password=False)).set(username=role)
    other = make_engine(url.render_as_string(hide_password=False))
    try:
        yield other
    finally:
        other.dispose()
        run_sql(engine, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


# --- installing -------------------------------------------------------------------------


def test_a_source_without_our_schema_gets_the_table_that_the_migration_makes(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine, schema="elsewhere")

    made = feed.install([things()])
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")

    assert made == [
        "schema elsewhere",
        "table elsewhere.change_event",
        "feed of entity 'thing' on public.things",
    ]
    assert feed.pending()["acme"].events == 1
    with engine.connect() as connection:
        ours = connection.execute(COLUMNS, {"schema": "elsewhere"}).all()
        migrated = connection.execute(COLUMNS, {"schema": "sync_pipeline"}).all()
    assert ours == migrated


def test_two_feeds_in_two_schemas_do_not_disturb_each_other(engine: sa.Engine) -> None:
    create_things(engine)
    first = installed(engine)
    second = PostgresChangeFeed(engine, schema="other")
    second.install([things()])
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")

    removed = second.remove([things()])
    run_sql(engine, "INSERT INTO things (id) VALUES ('b')")

    assert removed == ["feed of entity 'thing'", "schema other"]
    assert first.pending()["acme"].events == 2


def test_changed_columns_are_noticed_after_installing_again_without_losing_events(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
    with_note = things(views=(("text", ("name", "note")),))

    before = only_status(feed, with_note)
    feed.install([with_note])
    run_sql(engine, "UPDATE things SET note = 'x'")

    assert before.state is FeedState.OUTDATED
    assert "feed install" in before.detail
    assert only_status(feed, with_note).state is FeedState.INSTALLED
    assert feed.pending()["acme"].events == 2


def test_an_entity_that_got_another_table_leaves_the_old_one(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, "CREATE TABLE newer (LIKE things INCLUDING ALL)")
    feed = installed(engine)

    feed.install([things(table="newer")])
    run_sql(engine, "INSERT INTO things (id) VALUES ('old')", "INSERT INTO newer VALUES ('new')")

    assert {row.db_id for row in feed.read(ACME).rows} == {"new"}


def test_a_mistake_in_one_entity_installs_nothing_of_any(engine: sa.Engine) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine, schema="elsewhere")

    with pytest.raises(SourceSchemaError, match="there is no table 'absent'") as caught:
        feed.install([things(), things(name="other", table="absent")])

    assert "nothing was read or changed" in str(caught.value)
    assert objects(engine) == []
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_schema("elsewhere")


def test_every_missing_column_is_named(engine: sa.Engine) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine)

    with pytest.raises(SourceSchemaError, match="no column 'nmae'; similar: 'name'") as caught:
        feed.install([things(views=(("text", ("nmae", "weight")),))])

    assert "no column 'weight'" in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        pytest.param("CREATE VIEW shown AS SELECT * FROM things", "a view", id="view"),
        pytest.param(
            "CREATE MATERIALIZED VIEW shown AS SELECT * FROM things",
            "a materialised view",
            id="materialised view",
        ),
    ],
)
def test_what_cannot_have_triggers_is_refused(engine: sa.Engine, statement: str, kind: str) -> None:
    create_things(engine)
    run_sql(engine, statement)
    feed = PostgresChangeFeed(engine)

    with pytest.raises(SourceSchemaError, match=f"public.shown is {kind}, whose changes"):
        feed.install([things(table="shown")])

    assert only_status(feed, things(table="shown")).state is FeedState.UNABLE


def test_a_trigger_of_our_name_that_is_not_ours_is_left_alone(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER sync_pipeline_thing_update AFTER UPDATE ON things "
        "EXECUTE FUNCTION nothing()",
    )
    feed = PostgresChangeFeed(engine)

    status = only_status(feed)
    with pytest.raises(ConfigurationError, match="sync_pipeline_thing_update on things calls"):
        feed.install([things()])
    removed = feed.remove([things()])

    assert status.state is FeedState.FOREIGN
    assert removed == []
    assert objects(engine) == ["sync_pipeline_thing_update"]


def test_a_function_of_our_name_that_is_not_ours_is_left_alone(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE FUNCTION sync_pipeline.feed_thing() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
    )
    feed = PostgresChangeFeed(engine)

    status = only_status(feed)
    with pytest.raises(ConfigurationError, match="feed_thing is not of sync-pipeline; rename it"):
        feed.install([things()])

    assert status.state is FeedState.FOREIGN
    assert feed.remove() == []
    assert objects(engine) == ["feed_thing"]


def test_a_table_in_use_is_not_waited_for_for_ever(engine: sa.Engine) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine, lock_timeout_seconds=0.05)

    with engine.begin() as busy:
        busy.execute(sa.text("INSERT INTO things (id) VALUES ('a')"))
        with pytest.raises(TransientError, match="by another transaction while the change feed"):
            feed.install([things()])

    assert objects(engine) == []


# --- looking ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        pytest.param(
            "ALTER TABLE things DISABLE TRIGGER sync_pipeline_thing_update",
            "trigger sync_pipeline_thing_update on public.things is disabled",
            id="disabled",
        ),
        pytest.param(
            "DROP TRIGGER sync_pipeline_thing_delete ON things",
            "trigger sync_pipeline_thing_delete on public.things is missing",
            id="dropped",
        ),
        pytest.param(
            "ALTER FUNCTION sync_pipeline.feed_thing() SECURITY INVOKER",
            "changed since it was installed",
            id="function altered",
        ),
        pytest.param(
            "CREATE TABLE heirs () INHERITS (things)",
            "trigger sync_pipeline_thing_insert on public.heirs is missing",
            id="a table inherits",
        ),
        pytest.param("DROP TABLE things", "there is no table 'things'", id="no table"),
    ],
)
def test_a_feed_that_misses_something_is_outdated(
    engine: sa.Engine, statement: str, detail: str
) -> None:
    create_things(engine)
    feed = installed(engine)

    run_sql(engine, statement)
    status = only_status(feed)

    assert status.state is FeedState.OUTDATED
    assert detail in status.detail


@pytest.mark.parametrize("make", [make_engine, sa.create_engine], ids=["directly", "as pooled"])
def test_a_database_that_quotes_all_names_has_the_same_feed(
    engine: sa.Engine, make: Callable[[str], sa.Engine]
) -> None:
    run_sql(
        engine,
        "CREATE TABLE things (id text, tenant_id text, is_global boolean, base varchar(9), "
        "name text GENERATED ALWAYS AS (base || ' '::varchar(9)))",
    )
    feed = installed(engine)
    run_sql(
        engine,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET quote_all_identifiers TO on', "
        "current_database()); END $$",
    )
    quoting = make(engine.url.render_as_string(hide_password=False))
    try:
        other = PostgresChangeFeed(quoting)
        before = only_status(other)
        other.install([things()])
        after = [only_status(other), only_status(feed)]
    finally:
        quoting.dispose()

    assert (before.state, before.detail) == (FeedState.INSTALLED, "")
    assert [(status.state, status.detail) for status in after] == [(FeedState.INSTALLED, "")] * 2


def test_a_new_partition_is_mended_by_installing_again(engine: sa.Engine) -> None:
    run_sql(
        engine,
        "CREATE TABLE things (id text, tenant_id text, is_global boolean, name text) "
        "PARTITION BY LIST (tenant_id)",
        "CREATE TABLE acme_things PARTITION OF things FOR VALUES IN ('acme')",
    )
    feed = installed(engine)
    run_sql(engine, "CREATE TABLE others PARTITION OF things DEFAULT")

    before = only_status(feed)
    made = feed.install([things()])
    run_sql(engine, "INSERT INTO others (id, tenant_id) VALUES ('a', 'globex')")

    assert before.state is FeedState.OUTDATED
    assert made == ["feed of entity 'thing' on public.things and 2 partitions or heirs"]
    assert list(feed.pending()) == ["globex"]


def test_where_nothing_is_installed_there_are_no_events(engine: sa.Engine) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine, schema="elsewhere")

    batch = feed.read(ACME)

    assert batch.event_ids == ()
    assert feed.consume(batch) == 0
    assert feed.pending() == {}
    assert feed.spread_truncates([ACME]) == 0
    assert only_status(feed).state is FeedState.ABSENT
    assert feed.remove([things()]) == []


# --- removing ---------------------------------------------------------------------------


def test_removing_leaves_nothing_behind_but_what_is_not_ours(engine: sa.Engine) -> None:
    create_things(engine)
    feed = PostgresChangeFeed(engine, schema="elsewhere")
    feed.install([things()])
    run_sql(engine, "CREATE TABLE elsewhere.mine (id int)")

    removed = feed.remove()

    assert removed == ["feed of entity 'thing'"]
    assert objects(engine) == []
    with engine.connect() as connection:
        assert sa.inspect(connection).has_table("mine", schema="elsewhere")


def test_the_state_tables_stay_when_the_feed_is_removed(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    removed = feed.remove()

    assert removed == ["feed of entity 'thing'"]
    with engine.connect() as connection:
        assert sa.inspect(connection).has_table("change_event", schema="sync_pipeline")


def test_a_dropped_table_takes_its_triggers_and_the_rest_can_be_removed(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "DROP TABLE things")

    removed = feed.remove([things()])

    assert removed == ["feed of entity 'thing'"]
    assert objects(engine) == []


# --- rights -----------------------------------------------------------------------------


def test_a_role_that_does_not_own_the_table_can_install_use_and_remove_with_few_rights(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    grants = ("GRANT SELECT, TRIGGER ON things TO feeder", "CREATE SCHEMA fed AUTHORIZATION feeder")
    with connected_as(engine, "feeder", *grants) as other:
        feed = PostgresChangeFeed(other, schema="fed")

        feed.install([things()])
        run_sql(engine, "INSERT INTO things (id) VALUES ('a')")
        batch = feed.read(ACME)
        feed.consume(batch)
        removed = feed.remove()

        assert len(batch.rows) == 1
        assert removed == ["feed of entity 'thing'", "schema fed"]


@pytest.mark.parametrize(
    ("grants", "missing"),
    [
        pytest.param(
            (),
            [
                'GRANT CREATE ON DATABASE "{database}" TO "feeder"',
                'GRANT TRIGGER ON "public"."things" TO "feeder"',
            ],
            id="nothing granted",
        ),
        pytest.param(
            ("CREATE SCHEMA fed", "GRANT USAGE ON SCHEMA fed TO feeder"),
            ['GRANT USAGE, CREATE ON SCHEMA "fed" TO "feeder"'],
            id="schema of somebody else",
        ),
        pytest.param(
            (
                "CREATE SCHEMA fed AUTHORIZATION feeder",
                "CREATE TABLE fed.change_event (LIKE sync_pipeline.change_event)",
            ),
            ['GRANT SELECT, INSERT, UPDATE, DELETE ON "fed".change_event TO "feeder"'],
            id="table of somebody else",
        ),
    ],
)
def test_missing_rights_are_named_as_grants_all_at_once(
    engine: sa.Engine, grants: tuple[str, ...], missing: list[str]
) -> None:
    create_things(engine)
    run_sql(engine, "GRANT SELECT ON things TO PUBLIC")
    with connected_as(engine, "feeder", *grants) as other:
        feed = PostgresChangeFeed(other, schema="fed")

        with pytest.raises(ConfigurationError, match="nothing was changed") as caught:
            feed.install([things()])

        for grant in missing:
            assert grant.format(database=engine.url.database) in str(caught.value)


def test_only_its_owner_can_remove_a_feed(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    grant = "GRANT USAGE ON SCHEMA sync_pipeline TO feeder"

    with (
        connected_as(engine, "feeder", grant) as other,
        pytest.raises(ConfigurationError, match="must be owner of function"),
    ):
        PostgresChangeFeed(other).remove()

    assert len(objects(engine)) == 5


def test_a_read_only_database_is_told_to_be_the_wrong_one(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
    engine.dispose()

    with pytest.raises(ConfigurationError, match="needs the primary server"):
        PostgresChangeFeed(engine, schema="elsewhere").install([things()])
