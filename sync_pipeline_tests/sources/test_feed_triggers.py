"""Which events statements leave, whatever kind of statement it is."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from sync_pipeline.core.changes import ChangedRow
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.database.engine import psycopg_of
from sync_pipeline_tests.sources.feed_support import (
    create_things,
    installed,
    run_sql,
    take_events,
    things,
)

ACME = Scope("acme")


def fill(engine: sa.Engine, *rows: str) -> None:
    """Insert rows ``(id, tenant_id, is_global, name)`` and forget their events."""
    run_sql(engine, f"INSERT INTO things (id, tenant_id, is_global, name) VALUES {', '.join(rows)}")
    take_events(engine)


# --- statements -------------------------------------------------------------------------


def test_insert_update_and_delete_leave_one_event_per_row(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    run_sql(engine, "INSERT INTO things (id) VALUES ('a'), ('b')")
    run_sql(engine, "UPDATE things SET name = 'x' WHERE id = 'a'")
    run_sql(engine, "DELETE FROM things")

    assert sorted(take_events(engine)) == [
        ("delete", "a", "acme", None),
        ("delete", "b", "acme", None),
        ("insert", "a", None, "acme"),
        ("insert", "b", None, "acme"),
        ("update", "a", "acme", "acme"),
    ]


@pytest.mark.parametrize(
    ("change", "events"),
    [
        pytest.param("note = 'x'", [], id="unmapped column"),
        pytest.param("name = name", [], id="same value"),
        pytest.param("name = NULL", [("update", "a", "acme", "acme")], id="to NULL"),
        pytest.param("tenant_id = 'b'", [("update", "a", "acme", "b")], id="to another tenant"),
        pytest.param("is_global = true", [("update", "a", "acme", "global")], id="to global"),
        pytest.param("tenant_id = NULL", [("update", "a", "acme", "global")], id="to nobody"),
        pytest.param(
            "id = 'z'",
            [("update", "a", "acme", None), ("update", "z", None, "acme")],
            id="another id",
        ),
    ],
)
def test_an_update_leaves_events_only_for_changed_mapped_columns(
    engine: sa.Engine, change: str, events: list[tuple[object, ...]]
) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')", "('b', 'acme', false, 'n')")

    run_sql(engine, f"UPDATE things SET {change} WHERE id = 'a'")

    assert sorted(take_events(engine), key=str) == events


def test_the_tenant_of_a_global_row_does_not_matter_to_its_scope(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    run_sql(engine, "INSERT INTO things (id, tenant_id, is_global) VALUES ('a', 'acme', true)")

    assert take_events(engine) == [("insert", "a", None, "global")]


def test_rows_that_swap_their_ids_leave_events_for_both(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, "ALTER TABLE things DROP CONSTRAINT things_pkey")
    installed(engine)
    fill(engine, "('a', 'acme', false, 'first')", "('b', 'globex', false, 'second')")

    run_sql(engine, "UPDATE things SET id = CASE id WHEN 'a' THEN 'b' ELSE 'a' END")

    assert sorted(take_events(engine)) == [
        ("update", "a", "acme", "globex"),
        ("update", "b", "globex", "acme"),
    ]


def test_ids_that_are_not_unique_do_not_multiply(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, "ALTER TABLE things DROP CONSTRAINT things_pkey")
    installed(engine)
    run_sql(engine, "INSERT INTO things (id) SELECT 'same' FROM generate_series(1, 3000)")
    take_events(engine)

    run_sql(engine, "UPDATE things SET name = 'x'")

    assert len(take_events(engine)) == 3000


def test_upserts_leave_an_insert_or_an_update(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')", "('b', 'acme', false, 'n')")

    run_sql(
        engine,
        "INSERT INTO things (id, name) VALUES ('a', 'new'), ('b', 'n'), ('c', 'new') "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO things (id, name) VALUES ('a', 'never') ON CONFLICT DO NOTHING",
    )

    assert sorted(take_events(engine)) == [
        ("insert", "c", None, "acme"),
        ("update", "a", "acme", "acme"),
    ]


def test_merge_leaves_what_each_of_its_branches_did(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')", "('b', 'acme', false, 'n')")

    run_sql(
        engine,
        "MERGE INTO things t USING (VALUES ('a', 'x'), ('b', NULL), ('c', 'y')) v (id, name) "
        "ON t.id = v.id WHEN MATCHED AND v.name IS NULL THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET name = v.name "
        "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name)",
    )

    assert sorted(take_events(engine)) == [
        ("delete", "b", "acme", None),
        ("insert", "c", None, "acme"),
        ("update", "a", "acme", "acme"),
    ]


def test_copy_leaves_inserts(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)

    with (
        engine.begin() as connection,
        psycopg_of(connection).cursor() as cursor,
        cursor.copy("COPY things (id, tenant_id) FROM STDIN") as copy,
    ):
        copy.write_row(("a", "acme"))
        copy.write_row(("b", "globex"))

    assert take_events(engine) == [
        ("insert", "a", None, "acme"),
        ("insert", "b", None, "globex"),
    ]


@pytest.mark.parametrize(
    ("action", "events"),
    [
        pytest.param("CASCADE", [("delete", "a", "acme", None)], id="deletes follow"),
        pytest.param("SET NULL", [("update", "a", "acme", "global")], id="owner is unset"),
    ],
)
def test_what_foreign_keys_do_leaves_events(
    engine: sa.Engine, action: str, events: list[tuple[object, ...]]
) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE TABLE tenants (id text PRIMARY KEY)",
        "INSERT INTO tenants VALUES ('acme'), ('globex')",
        "ALTER TABLE things ADD FOREIGN KEY (tenant_id) REFERENCES tenants "
        f"ON DELETE {action} ON UPDATE CASCADE",
    )
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')", "('b', 'globex', false, 'n')")

    run_sql(engine, "DELETE FROM tenants WHERE id = 'acme'")
    deleted = take_events(engine)
    run_sql(engine, "UPDATE tenants SET id = 'initech'")

    assert deleted == events
    assert take_events(engine) == [("update", "b", "globex", "initech")]


def test_what_row_triggers_of_the_application_change_is_seen(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.tenant_id := 'globex'; RETURN NEW; END $$",
        "CREATE TRIGGER shout BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION shout()",
    )
    installed(engine)

    run_sql(engine, "INSERT INTO things (id, tenant_id) VALUES ('a', 'acme')")

    assert take_events(engine) == [("insert", "a", None, "globex")]


def test_truncate_leaves_one_event_without_scope(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')")

    run_sql(engine, "TRUNCATE things", "TRUNCATE things")

    assert take_events(engine) == [("truncate", None, None, None)]


def test_statements_that_touch_no_row_leave_no_event_and_notify_nobody(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    fill(engine, "('a', 'acme', false, 'n')")

    with feed.listen() as listener:
        run_sql(
            engine,
            "DELETE FROM things WHERE id = 'z'",
            "UPDATE things SET note = 'x'",
            "INSERT INTO things SELECT * FROM things WHERE false",
        )
        heard = listener.wait(0.2)

    assert take_events(engine) == []
    assert not heard


def test_ten_thousand_rows_in_one_statement(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(
        engine,
        "INSERT INTO things (id, tenant_id) "
        "SELECT n::text, 't' || n % 100 FROM generate_series(1, 10000) n",
    )
    run_sql(engine, "UPDATE things SET name = 'x', tenant_id = 't' || id::int % 50")

    pending = feed.pending()

    assert len(pending) == 100
    assert pending["t1"].events == 300
    assert pending["t99"].events == 200
    assert len(feed.read(Scope("t1")).rows) == 200


# --- types and names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql_type", "before", "after"),
    [
        pytest.param("json", """'{"a": 1}'""", """'{"a": 2}'""", id="json"),
        pytest.param("jsonb", """'{"a": 1}'""", "NULL", id="jsonb"),
        pytest.param("json", "NULL", "'null'", id="json null"),
        pytest.param("point", "'(1,2)'", "'(1,3)'", id="type without equality"),
        pytest.param("box", "'(1,1),(0,0)'", "'(2,2),(1,1)'", id="type whose equality is of areas"),
        pytest.param("numeric", "1.0", "1.00", id="numbers that are written differently"),
        pytest.param("float8", "1e0", "1.0000000000000002", id="last digit of a float"),
        pytest.param("text[]", "'{a}'", "'{a,b}'", id="array"),
        pytest.param("timestamptz", "'2026-01-01'", "'infinity'", id="infinite time"),
        pytest.param("text", "repeat('x', 100000)", "repeat('x', 99999) || 'y'", id="long text"),
    ],
)
def test_every_type_is_compared(engine: sa.Engine, sql_type: str, before: str, after: str) -> None:
    create_things(engine, columns=f", field {sql_type}")
    installed(engine, things(payload=(("field", "field"),)))
    run_sql(engine, f"INSERT INTO things (id, field) VALUES ('a', {before})")
    take_events(engine)

    run_sql(engine, "UPDATE things SET field = field, note = 'x'")
    unchanged = take_events(engine)
    run_sql(engine, f"UPDATE things SET field = {after}")

    assert unchanged == []
    assert take_events(engine) == [("update", "a", "acme", "acme")]


@pytest.mark.parametrize(
    ("id_type", "tenant_type", "row_id", "tenant"),
    [
        pytest.param(
            "uuid", "uuid", "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", id="uuid",
        ),
        pytest.param("bigint", "integer", "7", "42", id="numbers"),
        pytest.param("char(5)", "char(5)", "ab", "acme", id="padded text"),
        pytest.param("numeric", "numeric", "7", "1.50", id="numeric"),
        pytest.param("text", "mood", "a", "happy", id="enum"),
        pytest.param("varchar(9)", "handle", "a", "acme", id="domain"),
    ],
)  # fmt: skip
def test_ids_and_tenants_are_spelt_as_the_reader_spells_them(
    engine: sa.Engine, id_type: str, tenant_type: str, row_id: str, tenant: str
) -> None:
    run_sql(
        engine,
        "CREATE TYPE mood AS ENUM ('happy')",
        "CREATE DOMAIN handle AS varchar(9)",
        f"CREATE TABLE things (id {id_type}, tenant_id {tenant_type}, "
        "is_global boolean DEFAULT false, name text)",
    )
    feed = installed(engine)
    run_sql(engine, f"INSERT INTO things (id, tenant_id) VALUES ('{row_id}', '{tenant}')")

    with engine.connect() as connection:
        spelt = connection.execute(sa.text("SELECT id::text, tenant_id::text FROM things")).one()

    assert feed.read(Scope(spelt.tenant_id)).rows == {ChangedRow("thing", spelt.id)}


def test_names_that_need_quoting(engine: sa.Engine) -> None:
    entity = things(
        name="order",
        table="Shop.Order",
        id=("select",),
        tenant="Group",
        is_global="from",
        views=(("text", ("t", "old_rows", "found", "tg_op")),),
    )
    run_sql(
        engine,
        'CREATE SCHEMA "Shop"',
        'CREATE TABLE "Shop"."Order" ("select" int, "Group" text, "from" boolean, '
        "t text, old_rows text, found text, tg_op text)",
    )
    feed = installed(engine, entity)

    run_sql(engine, """INSERT INTO "Shop"."Order" VALUES (1, 'acme', false, 'a')""")
    run_sql(engine, """UPDATE "Shop"."Order" SET tg_op = 'x'""")

    assert feed.read(ACME).rows == {ChangedRow("order", "1")}
    assert len(take_events(engine)) == 2


def test_two_entities_over_one_table_have_events_of_their_own(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine, things(), things(name="noted", views=(("text", ("note",)),)))
    fill(engine, "('a', 'acme', false, 'n')")

    run_sql(engine, "UPDATE things SET note = 'x'")

    with engine.connect() as connection:
        found = connection.scalars(sa.text("SELECT entity_type FROM sync_pipeline.change_event"))
        assert found.all() == ["noted"]


def test_long_entity_names_do_not_collide(engine: sa.Engine) -> None:
    create_things(engine)
    first, second = (things(name="a" * 62 + end) for end in "xy")
    feed = installed(engine, first, second)

    run_sql(engine, "INSERT INTO things (id) VALUES ('a')")

    assert feed.read(ACME).rows == {ChangedRow(first.name, "a"), ChangedRow(second.name, "a")}


# --- partitions and heirs ---------------------------------------------------------------


@pytest.mark.parametrize("target", ["things", "acme_things"])
def test_partitions_report_whichever_table_a_statement_names(
    engine: sa.Engine, target: str
) -> None:
    run_sql(
        engine,
        "CREATE TABLE things (id text, tenant_id text, is_global boolean, name text, note text) "
        "PARTITION BY LIST (tenant_id)",
        "CREATE TABLE acme_things PARTITION OF things FOR VALUES IN ('acme')",
        "CREATE TABLE other_things PARTITION OF things DEFAULT",
    )
    installed(engine)

    run_sql(engine, f"INSERT INTO {target} (id, tenant_id) VALUES ('a', 'acme')")
    run_sql(engine, f"UPDATE {target} SET name = 'x'")
    run_sql(engine, f"UPDATE {target} SET note = 'x'")
    run_sql(engine, f"TRUNCATE {target}")

    assert take_events(engine) == [
        ("insert", "a", None, "acme"),
        ("update", "a", "acme", "acme"),
        ("truncate", None, None, None),
    ]


def test_a_row_that_moves_between_partitions_is_one_move(engine: sa.Engine) -> None:
    run_sql(
        engine,
        "CREATE TABLE things (id text, tenant_id text, is_global boolean, name text) "
        "PARTITION BY LIST (tenant_id)",
        "CREATE TABLE acme_things PARTITION OF things FOR VALUES IN ('acme')",
        "CREATE TABLE other_things PARTITION OF things DEFAULT",
    )
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')", "('b', 'acme', false, 'n')")

    run_sql(engine, "UPDATE things SET tenant_id = 'globex' WHERE id = 'a'")

    assert take_events(engine) == [("update", "a", "acme", "globex")]


def test_tables_that_inherit_report_too(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(engine, "CREATE TABLE special_things (extra text) INHERITS (things)")
    installed(engine)

    run_sql(engine, "INSERT INTO special_things (id) VALUES ('a')")
    run_sql(engine, "UPDATE things SET name = 'x'")

    assert take_events(engine) == [
        ("insert", "a", None, "acme"),
        ("update", "a", "acme", "acme"),
    ]


# --- the application is never in the way ------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("RENAME COLUMN name TO title", id="renamed"),
        pytest.param("DROP COLUMN name", id="dropped"),
        pytest.param("RENAME COLUMN is_global TO shared", id="flag renamed"),
    ],
)
def test_a_mapped_column_that_disappears_makes_no_statement_fail(
    engine: sa.Engine, change: str
) -> None:
    create_things(engine)
    feed = installed(engine)
    fill(engine, "('a', 'acme', false, 'n')")

    run_sql(engine, f"ALTER TABLE things {change}")
    for statement in (
        "INSERT INTO things (id) VALUES ('b')",
        "UPDATE things SET note = 'x'",
        "DELETE FROM things",
    ):
        run_sql(engine, statement)

    assert feed.read(ACME).has_truncate
    assert set(take_events(engine)) == {("truncate", None, None, None)}


def test_a_mapped_column_may_change_its_type(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', true, '1')")

    run_sql(
        engine,
        "ALTER TABLE things ALTER name TYPE int USING name::int, ALTER name DROP DEFAULT",
        "ALTER TABLE things ALTER is_global DROP DEFAULT, ALTER is_global TYPE text",
        "UPDATE things SET name = 2",
    )

    assert take_events(engine) == [("update", "a", "global", "global")]


def test_a_role_that_may_only_write_the_table_leaves_events_and_cannot_touch_them(
    engine: sa.Engine,
) -> None:
    create_things(engine)
    installed(engine)
    run_sql(engine, "CREATE ROLE writer_of_things", "GRANT INSERT, UPDATE ON things TO PUBLIC")

    try:
        run_sql(
            engine,
            "SET LOCAL ROLE writer_of_things",
            "SET LOCAL search_path = pg_temp",
            "CREATE TEMP TABLE change_event (id int)",
            "INSERT INTO public.things (id) VALUES ('a')",
        )
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied for schema"):
            run_sql(
                engine, "SET LOCAL ROLE writer_of_things", "DELETE FROM sync_pipeline.change_event"
            )
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            run_sql(
                engine,
                "SET LOCAL ROLE writer_of_things",
                "CREATE TEMP TABLE mine (id text)",
                "CREATE TRIGGER forge AFTER TRUNCATE ON mine "
                "EXECUTE FUNCTION sync_pipeline.feed_thing()",
            )
    finally:
        run_sql(engine, "DROP OWNED BY writer_of_things", "DROP ROLE writer_of_things")

    assert take_events(engine) == [("insert", "a", None, "acme")]


def test_the_global_scope_reads_what_it_can_consume_of_unusable_owners(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)
    run_sql(
        engine,
        "INSERT INTO things (id, tenant_id) VALUES ('a', ' spaced'), ('b', repeat('x', 500)), "
        "('c', 'acme'), ('d', '')",
        "UPDATE things SET tenant_id = 'a...b' WHERE id = 'c'",
    )

    batch = feed.read(GLOBAL)
    consumed = feed.consume(batch)

    assert batch.rows == {ChangedRow("thing", row_id) for row_id in "abcd"}
    assert consumed == 4
    assert list(feed.pending()) == ["acme"]


def test_a_rolled_back_write_leaves_no_event(engine: sa.Engine) -> None:
    create_things(engine)
    feed = installed(engine)

    with feed.listen() as listener:
        with engine.connect() as connection:
            connection.execute(sa.text("INSERT INTO things (id) VALUES ('a')"))
            with connection.begin_nested() as savepoint:
                connection.execute(sa.text("INSERT INTO things (id) VALUES ('b')"))
                savepoint.rollback()
            connection.rollback()
        heard = listener.wait(0.2)

    assert take_events(engine) == []
    assert not heard


def test_a_statement_that_fails_leaves_no_event(engine: sa.Engine) -> None:
    create_things(engine)
    installed(engine)
    fill(engine, "('a', 'acme', false, 'n')")

    with pytest.raises(sa.exc.IntegrityError, match="duplicate key") as caught:
        run_sql(engine, "INSERT INTO things (id) VALUES ('b'), ('a')")

    assert isinstance(caught.value.orig, psycopg.errors.UniqueViolation)
    assert take_events(engine) == []
