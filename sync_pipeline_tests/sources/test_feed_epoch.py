"""Equal epochs say that every change in between left an event; quiet work leaves them equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from sync_pipeline.core.changes import FeedState, FeedStatus
from sync_pipeline.core.entity import Entity
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import parse_url
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline_tests.sources.feed_support import (
    create_things,
    has_virtual_columns,
    installed,
    run_sql,
    take_events,
    things,
)

OFFER = Entity(
    name="offer",
    table="offers",
    views=(("text", ("name", "size", "unit", "title")),),
    payload=(("pair", "pair"), ("tags", "tags")),
)
TABLES = (
    "CREATE TYPE unit AS ENUM ('pc', 'kg')",
    "CREATE DOMAIN measure AS unit",
    "CREATE TYPE pair AS (a text, b measure)",
    (
        "CREATE TABLE offers (id int, tenant_id text, is_global boolean DEFAULT false, name text, "
        "size text, brand text, unit measure, tags unit[], pair pair, note text, "
        "title text GENERATED ALWAYS AS (brand || name) STORED) PARTITION BY LIST (tenant_id)"
    ),
    "CREATE TABLE acme_offers PARTITION OF offers FOR VALUES IN ('acme')",
    "CREATE TABLE other_offers PARTITION OF offers DEFAULT",
    (
        "INSERT INTO offers (id, tenant_id, name, size, brand, unit) "
        "SELECT g, 'acme', 'offer', g || ' cm', 'b', 'pc' FROM generate_series(1, 50) g"
    ),
)


def only_status(feed: PostgresChangeFeed, entity: Entity = OFFER) -> FeedStatus:
    return feed.status([entity])[0]


@pytest.fixture
def feed(engine: sa.Engine) -> PostgresChangeFeed:
    """A feed of a partitioned table with a column of every kind that depends on something."""
    run_sql(engine, *TABLES)
    return installed(engine, OFFER)


LOSSES = {
    "trigger disabled and enabled": [
        "ALTER TABLE acme_offers DISABLE TRIGGER sync_pipeline_offer_update",
        "UPDATE acme_offers SET name = 'x'",
        "ALTER TABLE acme_offers ENABLE ALWAYS TRIGGER sync_pipeline_offer_update",
    ],
    "partition detached and attached": [
        "ALTER TABLE offers DETACH PARTITION acme_offers",
        "ALTER TABLE offers ATTACH PARTITION acme_offers FOR VALUES IN ('acme')",
    ],
    "partition detached": ["ALTER TABLE offers DETACH PARTITION acme_offers"],
    "partition made": ["CREATE TABLE more PARTITION OF offers FOR VALUES IN ('globex')"],
    "partition swapped": [
        "ALTER TABLE offers DETACH PARTITION acme_offers",
        "CREATE TABLE new_offers (LIKE acme_offers INCLUDING ALL)",
        "ALTER TABLE offers ATTACH PARTITION new_offers FOR VALUES IN ('acme')",
    ],
    "table swapped": [
        "CREATE TABLE offers_new (LIKE offers INCLUDING ALL)",
        "ALTER TABLE offers RENAME TO offers_old",
        "ALTER TABLE offers_new RENAME TO offers",
    ],
    "table swapped and swapped back": [
        "ALTER TABLE offers RENAME TO offers_old",
        "ALTER TABLE offers_old RENAME TO offers",
    ],
    "label renamed": ["ALTER TYPE unit RENAME VALUE 'pc' TO 'piece'"],
    "label renamed and renamed back": [
        "ALTER TYPE unit RENAME VALUE 'pc' TO 'piece'",
        "ALTER TYPE unit RENAME VALUE 'piece' TO 'pc'",
    ],
    "field of a composite type renamed": ["ALTER TYPE pair RENAME ATTRIBUTE a TO first"],
    "column rewritten in place": [
        "ALTER TABLE offers ALTER size TYPE text USING replace(size, ' cm', '0 mm')"
    ],
    "source of a generated column rewritten": [
        "ALTER TABLE offers DROP COLUMN title, ALTER brand TYPE text USING upper(brand)",
        "ALTER TABLE offers ADD title text GENERATED ALWAYS AS (brand || name) STORED",
    ],
    "column renamed and renamed back": [
        "ALTER TABLE offers RENAME name TO label",
        "ALTER TABLE offers RENAME label TO name",
    ],
    "feed installed anew": [
        "DROP FUNCTION sync_pipeline.feed_offer() CASCADE",
    ],
    "function altered and altered back": [
        "ALTER FUNCTION sync_pipeline.feed_offer() SECURITY INVOKER",
        "ALTER FUNCTION sync_pipeline.feed_offer() SECURITY DEFINER",
    ],
    "events emptied by hand": ["TRUNCATE sync_pipeline.change_event"],
    "table logged no longer": ["ALTER TABLE acme_offers SET UNLOGGED"],
}


@pytest.mark.parametrize("statements", LOSSES.values(), ids=LOSSES)
def test_what_can_let_a_change_past_the_feed_changes_the_epoch_for_good(
    engine: sa.Engine, feed: PostgresChangeFeed, statements: list[str]
) -> None:
    before = only_status(feed).epoch

    for statement in statements:
        run_sql(engine, statement)
    after = only_status(feed).epoch
    feed.install([OFFER])
    mended = only_status(feed)

    assert before is not None
    assert after != before
    assert mended.state is FeedState.INSTALLED
    assert None is not mended.epoch != before


QUIET = {
    "rows change": "UPDATE offers SET name = 'x'",
    "rows of another session's": "SET LOCAL session_replication_role = replica; DELETE FROM offers",
    "VACUUM": "VACUUM offers",
    "VACUUM of everything": "VACUUM (FREEZE, ANALYZE)",
    "ANALYZE": "ANALYZE offers",
    "CREATE INDEX": "CREATE INDEX ON offers (name)",
    "CREATE INDEX CONCURRENTLY": "CREATE INDEX CONCURRENTLY ON acme_offers (name)",
    "REINDEX": "CREATE INDEX one ON acme_offers (name); REINDEX TABLE acme_offers",
    "another table": "CREATE TABLE elsewhere (unit unit); DROP TABLE elsewhere",
    "another enum": "CREATE TYPE other AS ENUM ('a'); ALTER TYPE other RENAME VALUE 'a' TO 'b'",
    "a trigger of the application's": "CREATE TRIGGER app BEFORE UPDATE ON acme_offers "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "statistics of a query": "SELECT pg_stat_reset()",
    "events consumed": "DELETE FROM sync_pipeline.change_event; VACUUM sync_pipeline.change_event",
    "a checkpoint": "CHECKPOINT",
}


@pytest.mark.parametrize("statements", QUIET.values(), ids=QUIET)
def test_quiet_work_leaves_the_epoch_as_it_is(
    engine: sa.Engine, feed: PostgresChangeFeed, statements: str
) -> None:
    before = only_status(feed).epoch

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements.split("; "):
            connection.exec_driver_sql(statement)
    after = only_status(feed).epoch

    assert before is not None
    assert after == before


def test_the_epoch_does_not_depend_on_who_asks_or_how_often(
    engine: sa.Engine, feed: PostgresChangeFeed
) -> None:
    create_things(engine)
    other = make_engine(engine.url.render_as_string(hide_password=False))
    feed.install([OFFER, things()])
    before = only_status(feed).epoch

    run_sql(other, "SET search_path = sync_pipeline, public", "SET DateStyle = German")
    both = PostgresChangeFeed(other).status([things(), OFFER])
    other.dispose()

    assert [status.epoch for status in both][1] == before
    assert both[0].epoch != both[1].epoch


def test_a_change_of_one_entity_leaves_the_epoch_of_another(
    engine: sa.Engine, feed: PostgresChangeFeed
) -> None:
    create_things(engine)
    feed.install([OFFER, things()])
    before = {status.entity_type: status.epoch for status in feed.status([OFFER, things()])}

    run_sql(engine, "ALTER TABLE things ALTER name TYPE varchar(50)")
    after = {status.entity_type: status.epoch for status in feed.status([OFFER, things()])}

    assert after["offer"] == before["offer"]
    assert after["thing"] != before["thing"]


def test_the_expression_of_a_virtual_column_is_part_of_the_feed(engine: sa.Engine) -> None:
    if not has_virtual_columns(engine):
        pytest.skip("this server has no virtual columns")
    entity = things(views=(("text", ("title",)),))
    create_things(engine, columns=", title text GENERATED ALWAYS AS (name || note)")
    feed = installed(engine, entity)
    before = only_status(feed, entity)

    run_sql(engine, "ALTER TABLE things ALTER title SET EXPRESSION AS (note || name)")
    changed = only_status(feed, entity)
    feed.install([entity])
    mended = only_status(feed, entity)

    assert (changed.state, changed.epoch) == (FeedState.OUTDATED, None)
    assert mended.state is FeedState.INSTALLED
    assert None is not mended.epoch != before.epoch


def test_the_source_of_a_generated_column_is_watched(engine: sa.Engine) -> None:
    entity = things(views=(("text", ("title",)),))
    title = "title text GENERATED ALWAYS AS (note || 'x') STORED"
    create_things(engine, columns=f", kind text, {title}")
    feed = installed(engine, entity)
    epochs = [only_status(feed, entity).epoch]

    for column in ("kind", "note"):
        run_sql(engine, f"ALTER TABLE things RENAME {column} TO other")
        run_sql(engine, f"ALTER TABLE things RENAME other TO {column}")
        epochs.append(only_status(feed, entity).epoch)

    assert epochs[0] == epochs[1] != epochs[2]


def test_a_column_of_another_type_than_the_names_of_objects_has_no_blind_spot(
    engine: sa.Engine,
) -> None:
    entity = things(payload=(("kind", "kind"),))
    create_things(engine, columns=", kind regtype")
    feed = installed(engine, entity)

    status = only_status(feed, entity)

    assert status.epoch is not None
    assert [spot.partition(":")[0] for spot in status.blind_spots] == [
        "the text of column 'kind' (regtype) is a name of something else"
    ]
    assert only_status(installed(engine), things()).blind_spots == ()


# --- ways past the triggers -------------------------------------------------------------


def test_a_table_that_was_replaced_is_said_to_have_lost_its_feed(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    run_sql(
        engine,
        "CREATE TABLE newer (LIKE things INCLUDING ALL)",
        "ALTER TABLE things RENAME TO things_old",
        "ALTER TABLE newer RENAME TO things",
    )
    status = only_status(feed, things())

    assert (status.state, status.epoch) == (FeedState.OUTDATED, None)
    assert "the feed is gone from public.things" in status.detail
    assert "which is things_old now; run `sync-pipeline feed install`" in status.detail


def test_a_table_that_a_subscription_writes_has_a_blind_spot_and_no_epoch(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    feed = installed(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            "CREATE SUBSCRIPTION supplier CONNECTION 'host=nowhere.invalid' PUBLICATION p "
            "WITH (connect = false)"
        )
        connection.exec_driver_sql("SET allow_system_table_mods = on")
        connection.exec_driver_sql(
            "INSERT INTO pg_subscription_rel SELECT oid, 'things'::regclass, 'r', NULL "
            "FROM pg_subscription WHERE subname = 'supplier'"
        )
    try:
        status = only_status(feed, things())
    finally:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ALTER SUBSCRIPTION supplier SET (slot_name = NONE)")
            connection.exec_driver_sql("DROP SUBSCRIPTION supplier")

    assert (status.state, status.epoch) == (FeedState.INSTALLED, None)
    assert status.blind_spots == (
        (
            "public.things is written by the subscription 'supplier': logical replication leaves "
            "no event"
        ),
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


def test_who_does_not_own_the_table_is_told_how_sessions_that_replicate_can_be_seen(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    grants = (
        "GRANT SELECT, TRIGGER ON things TO feeder_of_epochs",
        "CREATE SCHEMA fed AUTHORIZATION feeder_of_epochs",
    )
    with connected_as(engine, "feeder_of_epochs", *grants) as other:
        feed = PostgresChangeFeed(other, schema="fed")
        feed.install([things()])

        before = only_status(feed, things())
        (spot,) = before.blind_spots
        run_sql(engine, spot.partition("let its owner run: ")[2])
        after = only_status(feed, things())

    assert (before.state, before.epoch) == (FeedState.INSTALLED, None)
    assert (after.state, after.blind_spots) == (FeedState.INSTALLED, ())
    assert after.epoch is not None


def test_triggers_that_do_not_fire_in_every_session_are_mended(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(engine, "ALTER TABLE things DISABLE TRIGGER ALL", "INSERT INTO things VALUES ('a')")
    run_sql(engine, "ALTER TABLE things ENABLE TRIGGER ALL")

    before = only_status(feed, things())
    feed.install([things()])

    assert (before.state, before.epoch) == (FeedState.OUTDATED, None)
    assert "does not fire where session_replication_role is replica" in before.detail
    assert only_status(feed, things()).epoch is not None


FIRST_VERSION = """
CREATE FUNCTION sync_pipeline.feed_thing() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ BEGIN
    INSERT INTO sync_pipeline.change_event (entity_type, db_id, operation, new_scope_key)
    SELECT 'thing', t.id, 'insert', 'acme' FROM new_rows t;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION sync_pipeline.feed_thing() IS
    'sync-pipeline feed v1 of entity thing: writes change events; `sync-pipeline feed remove` '
    'removes it';
CREATE TRIGGER sync_pipeline_thing_insert AFTER INSERT ON things REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_thing()
"""


def test_a_feed_of_the_previous_version_is_outdated_and_mended(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, FIRST_VERSION, "INSERT INTO things (id) VALUES ('a')")
    feed = PostgresChangeFeed(engine)

    before = only_status(feed, things())
    made = feed.install([things()])
    run_sql(engine, "INSERT INTO things (id) VALUES ('b')")
    after = only_status(feed, things())

    assert (before.state, before.epoch, before.pending) == (FeedState.OUTDATED, None, 1)
    assert made == ["feed of entity 'thing' on public.things"]
    assert (after.state, after.pending) == (FeedState.INSTALLED, 2)
    assert after.epoch is not None


# --- tables that cannot have a feed -----------------------------------------------------

UNABLE = {
    "view": ("CREATE VIEW shown AS SELECT * FROM things", "public.shown is a view"),
    "materialised view": (
        "CREATE MATERIALIZED VIEW shown AS SELECT * FROM things",
        "public.shown is a materialised view",
    ),
    "part of another table": (
        "CREATE TABLE shown () INHERITS (things)",
        "public.shown is a part of things",
    ),
    "foreign table": (
        (
            "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing; "
            "CREATE FOREIGN TABLE shown (id text, tenant_id text, is_global boolean, name text) "
            "SERVER far"
        ),
        "public.shown is a foreign table",
    ),
    "foreign partition": (
        (
            "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing; "
            "CREATE TABLE shown (id text, tenant_id text, is_global boolean, name text) "
            "PARTITION BY LIST (tenant_id); "
            "CREATE FOREIGN TABLE far_shown PARTITION OF shown DEFAULT SERVER far"
        ),
        "public.far_shown is a foreign table",
    ),
}


@pytest.mark.parametrize(("made", "reason"), UNABLE.values(), ids=UNABLE)
def test_one_table_that_cannot_have_the_feed_does_not_refuse_it_for_the_others(
    engine: sa.Engine, made: str, reason: str
) -> None:
    create_things(engine)
    run_sql(engine, made)
    shown = things(name="shown", table="shown", updated_at="changed_at")
    plain = things(name="plain", table="shown")
    run_sql(engine, "CREATE TABLE works (LIKE things INCLUDING ALL)")
    works = things(name="work", table="works")
    entities = [plain, works]
    feed = PostgresChangeFeed(engine)

    made_first = feed.install(entities)
    made_again = feed.install(entities)
    found = {status.entity_type: status for status in feed.status([*entities, shown])}
    run_sql(engine, "INSERT INTO works (id) VALUES ('a')")

    assert made_first == ["feed of entity 'work' on public.works"]
    assert made_again == []
    assert found["work"].state is FeedState.INSTALLED
    assert (found["plain"].state, found["plain"].epoch) == (FeedState.UNABLE, None)
    assert reason in found["plain"].detail
    assert "each incremental sync compares all its rows" in found["plain"].detail
    assert "incremental syncs look at its column 'changed_at' instead" in found["shown"].detail
    assert take_events(engine) == [("insert", "a", None, "acme")]


def test_a_table_that_was_replaced_by_a_view_loses_its_feed(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, "CREATE TABLE works (LIKE things INCLUDING ALL)")
    entities = [things(), things(name="work", table="works")]
    feed = installed(engine, *entities)
    run_sql(
        engine,
        "ALTER TABLE things RENAME TO all_things",
        "CREATE VIEW things AS SELECT * FROM all_things",
    )

    before = only_status(feed, things())
    made = feed.install(entities)
    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")

    assert "it still has one: run `sync-pipeline feed install`, which takes it" in before.detail
    assert made == ["no more feed of entity 'thing'"]
    assert take_events(engine) == []
    assert [status.state for status in feed.status(entities)] == [
        FeedState.UNABLE,
        FeedState.INSTALLED,
    ]


def test_a_virtual_column_over_the_table_s_own_oid_is_refused(engine: sa.Engine) -> None:
    if not has_virtual_columns(engine):
        pytest.skip("this server has no virtual columns")
    entity = things(views=(("text", ("part",)),))
    create_things(engine, columns=", part oid GENERATED ALWAYS AS (tableoid)")

    status = only_status(PostgresChangeFeed(engine), entity)

    assert status.state is FeedState.UNABLE
    assert "virtual column 'part' of things is computed from tableoid" in status.detail
