"""Digests are equal exactly where the mapped content of a scope is."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.core.changes import EntityDigest
from sync_pipeline.core.document import MAX_TEXT_CHARACTERS
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceSchemaError, SourceUnavailableError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.sources.postgres import PostgresRowSource, PostgresSnapshot
from sync_pipeline_tests.sources.feed_support import create_things, run_sql, things

ACME = Scope("acme")
GLOBEX = Scope("globex")
Digests = dict[str, dict[str, EntityDigest]]


def digests(engine: sa.Engine, *entities: Entity) -> Digests:
    return PostgresRowSource(engine).digest_by_scope(list(entities) or [things()])


def snapshot(engine: sa.Engine) -> AbstractContextManager[PostgresSnapshot]:
    return PostgresRowSource(engine).open_snapshot([])


def changed_scopes(before: Digests, after: Digests) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Rows of two tenants, of global, and of nobody."""
    create_things(engine)
    run_sql(
        engine,
        "INSERT INTO things (id, tenant_id, is_global, name, note) VALUES "
        "('a1', 'acme', false, 'one', 'n'), ('a2', 'acme', false, 'two', 'n'), "
        "('b1', 'globex', false, 'one', 'n'), ('g1', 'acme', true, 'shared', 'n'), "
        "('g2', NULL, true, 'shared too', 'n'), ('x1', NULL, false, 'lost', 'n'), "
        "('x2', ' acme', false, 'odd', 'n'), ('x3', 'GLOBAL', false, 'odd', 'n')",
    )
    return engine


# --- which scopes differ ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "scopes"),
    [
        pytest.param("UPDATE things SET note = 'other'", set(), id="unmapped column"),
        pytest.param("UPDATE things SET name = name", set(), id="same values"),
        pytest.param("UPDATE things SET name = 'x' WHERE id = 'a1'", {"acme"}, id="update"),
        pytest.param("UPDATE things SET name = NULL WHERE id = 'g1'", {"global"}, id="to NULL"),
        pytest.param("UPDATE things SET id = 'a9' WHERE id = 'a1'", {"acme"}, id="another id"),
        pytest.param("INSERT INTO things (id) VALUES ('a3')", {"acme"}, id="insert"),
        pytest.param("DELETE FROM things WHERE id = 'b1'", {"globex"}, id="last row of a scope"),
        pytest.param(
            "UPDATE things SET tenant_id = 'globex' WHERE id = 'a1'",
            {"acme", "globex"},
            id="move",
        ),
        pytest.param(
            "UPDATE things SET is_global = true WHERE id = 'a1'", {"acme", "global"}, id="shared"
        ),
        pytest.param(
            "UPDATE things SET tenant_id = 'acme', name = 'x' WHERE id = 'x2'",
            {"acme", "global"},
            id="unusable owner mended",
        ),
        pytest.param(
            "UPDATE things SET name = CASE id WHEN 'a1' THEN 'two' ELSE 'one' END "
            "WHERE tenant_id = 'acme' AND NOT is_global",
            {"acme"},
            id="values swapped between rows",
        ),
        pytest.param("TRUNCATE things", {"acme", "globex", "global"}, id="truncate"),
    ],
)
def test_a_change_shows_in_exactly_the_scopes_concerned(
    filled: sa.Engine, statement: str, scopes: set[str]
) -> None:
    before = digests(filled)

    run_sql(filled, statement)

    assert changed_scopes(before, digests(filled)) == scopes


def test_scopes_and_rows_are_those_of_the_reader(filled: sa.Engine) -> None:
    counted = PostgresRowSource(filled).count_by_scope([things()])

    found = digests(filled)

    assert {key: entities["thing"].rows for key, entities in found.items()} == counted


def test_undoing_a_change_gives_the_old_digests_again(filled: sa.Engine) -> None:
    before = digests(filled)

    run_sql(filled, "UPDATE things SET name = name || 'x', tenant_id = NULL WHERE id = 'a1'")
    during = digests(filled)
    run_sql(filled, "UPDATE things SET name = 'one', tenant_id = 'acme' WHERE id = 'a1'")

    assert during != before
    assert digests(filled) == before


def test_the_physical_order_of_rows_does_not_matter(filled: sa.Engine) -> None:
    before = digests(filled)

    run_sql(
        filled,
        "CREATE TABLE turned AS SELECT * FROM things ORDER BY id DESC",
        "DELETE FROM things",
        "INSERT INTO things SELECT * FROM turned",
    )

    assert digests(filled) == before


ROWS = st.dictionaries(
    keys=st.sampled_from(["1", "2", "3", "4"]),
    values=st.tuples(
        st.sampled_from(["acme", "globex", " odd", None]),
        st.booleans(),
        st.sampled_from(["", "x", "X", "x,y", '"', "()", None]),
    ),
)


@given(first=ROWS, second=ROWS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_scope_differs_if_and_only_if_its_rows_do(
    engine: sa.Engine,
    first: dict[str, tuple[str | None, bool, str | None]],
    second: dict[str, tuple[str | None, bool, str | None]],
) -> None:
    run_sql(engine, "DROP TABLE IF EXISTS things")
    create_things(engine)
    contents = []
    found = []

    for rows in (first, second):
        run_sql(engine, "TRUNCATE things")
        with engine.begin() as connection:
            for row_id, (tenant, is_global, name) in rows.items():
                connection.execute(
                    sa.text("INSERT INTO things VALUES (:id, :tenant, :is_global, :name)"),
                    {"id": row_id, "tenant": tenant, "is_global": is_global, "name": name},
                )
        contents.append(by_scope(rows))
        found.append(digests(engine))

    differ = {
        key
        for key in contents[0].keys() | contents[1].keys()
        if contents[0].get(key) != contents[1].get(key)
    }
    assert changed_scopes(*found) == differ


def by_scope(
    rows: dict[str, tuple[str | None, bool, str | None]],
) -> dict[str, set[tuple[object, ...]]]:
    found: dict[str, set[tuple[object, ...]]] = {}
    for row_id, (tenant, is_global, name) in rows.items():
        key = "global" if is_global or tenant in {None, " odd"} else str(tenant)
        found.setdefault(key, set()).add((row_id, tenant, is_global, name))
    return found


# --- one scope --------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [GLOBAL, ACME, GLOBEX, Scope("unknown")], ids=lambda s: s.key)
def test_one_scope_has_the_same_digest_as_among_all(filled: sa.Engine, scope: Scope) -> None:
    run_sql(filled, "CREATE TABLE works AS SELECT * FROM things WHERE tenant_id = 'acme'")
    entities = [things(), things(name="work", table="works")]

    with snapshot(filled) as taken:
        alone = taken.digest(entities=entities, scope=scope)
        among = taken.digest_by_scope(entities)

    assert alone == among.get(scope.key, {})


def test_a_scope_whose_key_cannot_stand_in_the_tenant_column_has_no_rows(
    engine: sa.Engine,
) -> None:
    run_sql(
        engine,
        "CREATE TABLE things (id int, tenant_id uuid, is_global boolean, name text)",
        "INSERT INTO things VALUES (1, gen_random_uuid(), false, 'x')",
    )

    with snapshot(engine) as taken:
        found = taken.digest(entities=[things()], scope=ACME)
        still_usable = taken.digest_by_scope([things()])

    assert found == {}
    assert len(still_usable) == 1


# --- what is hashed ---------------------------------------------------------------------


def test_settings_of_role_and_database_do_not_matter(engine: sa.Engine) -> None:
    create_things(engine, columns=", at timestamptz, t interval, f float8, b bytea")
    run_sql(
        engine,
        "INSERT INTO things (id, at, t, f) VALUES ('a', '2026-02-03 04:05:06', "
        "'1 day', 0.1::float4)",
    )
    entity = things(views=(("text", ("name", "at", "t", "f")),), payload=(("at", "at"),))
    before = digests(engine, entity)
    name = engine.url.database
    run_sql(
        engine,
        f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {name} SET datestyle = 'German, DMY'",
        f"ALTER DATABASE {name} SET intervalstyle = 'sql_standard'",
        f"ALTER DATABASE {name} SET extra_float_digits = -10",
    )
    fresh = sa.create_engine(engine.url)

    after = digests(fresh, entity)
    fresh.dispose()

    assert after == before


def test_text_beyond_what_the_reader_reads_does_not_count(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine, f"INSERT INTO things (id, name) VALUES ('a', repeat('x', {MAX_TEXT_CHARACTERS}))"
    )
    before = digests(engine)

    run_sql(engine, "UPDATE things SET name = name || 'beyond'")
    beyond = digests(engine)
    run_sql(engine, "UPDATE things SET name = 'y' || name")

    assert beyond == before
    assert digests(engine) != before


@pytest.mark.parametrize(
    ("sql_type", "before", "after"),
    [
        pytest.param("json", """'{"a": 1}'""", """'{"a": 2}'""", id="json"),
        pytest.param("jsonb", "'[1]'", "NULL", id="jsonb"),
        pytest.param("numeric", "1.5", "1.6", id="numeric"),
        pytest.param("text[]", "'{a,b}'", "'{\"a,b\"}'", id="array"),
        pytest.param("date", "'2026-01-01'", "'infinity'", id="date"),
        pytest.param("boolean", "true", "NULL", id="boolean"),
        pytest.param("point", "'(1,2)'", "'(1,3)'", id="type without hashing"),
    ],
)
def test_payload_columns_of_every_type_count(
    engine: sa.Engine, sql_type: str, before: str, after: str
) -> None:
    create_things(engine, columns=f", field {sql_type}")
    entity = things(payload=(("field", "field"),))
    run_sql(engine, f"INSERT INTO things (id, field) VALUES ('a', {before})")
    first = digests(engine, entity)

    run_sql(engine, f"UPDATE things SET field = {after}")

    assert digests(engine, entity) != first


def test_mapping_another_column_gives_other_digests(filled: sa.Engine) -> None:
    narrow = digests(filled, things())

    wide = digests(filled, things(views=(("text", ("name", "note")),)))

    assert changed_scopes(narrow, wide) == narrow.keys()


# --- errors -----------------------------------------------------------------------------


def test_missing_tables_and_columns_are_all_named(engine: sa.Engine) -> None:
    create_things(engine)
    entities = [things(views=(("text", ("nmae",)),)), things(name="work", table="works")]

    with (
        snapshot(engine) as taken,
        pytest.raises(SourceSchemaError, match="no column 'nmae'; similar: 'name'") as caught,
    ):
        taken.digest_by_scope(entities)

    assert "there is no table 'works'" in str(caught.value)


def test_a_missing_column_fails_for_one_scope_too(engine: sa.Engine) -> None:
    create_things(engine)

    with (
        snapshot(engine) as taken,
        pytest.raises(SourceSchemaError, match="no column 'weight'"),
    ):
        taken.digest(entities=[things(payload=(("weight", "weight"),))], scope=ACME)


def test_a_lost_connection_is_told_apart_from_an_empty_source(filled: sa.Engine) -> None:
    with snapshot(filled) as taken:
        process = taken._connection.scalar(sa.text("SELECT pg_backend_pid()"))
        run_sql(filled, f"SELECT pg_terminate_backend({process})")

        with pytest.raises(SourceUnavailableError, match="cannot be read"):
            taken.digest_by_scope([things()])
        taken._connection.invalidate()
