"""What only PostgreSQL can do to a reader: types, names, concurrency, lost connections."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from sync_pipeline.core.document import DocumentBuilder, Rejection
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    PermanentError,
    SourceSchemaError,
    SourceUnavailableError,
)
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.sources.counting import count_rows

ACME = Scope("acme")


def run_sql(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def things(**changes: object) -> Entity:
    """An entity over the table ``things``."""
    fields: dict[str, object] = {
        "name": "thing",
        "table": "things",
        "views": (("text", ("name",)),),
        **changes,
    }
    return Entity(**fields)  # type: ignore[arg-type]  # keyword arguments of the test


def create_things(engine: sa.Engine, *, columns: str = "", tenant_type: str = "text") -> None:
    run_sql(
        engine,
        f"CREATE TABLE things (id text PRIMARY KEY, tenant_id {tenant_type}, "
        f"is_global boolean NOT NULL DEFAULT false, name text DEFAULT 'n' {columns})",
    )


def fill_things(engine: sa.Engine, *, rows: int, tenant: str = "acme") -> None:
    run_sql(
        engine,
        "INSERT INTO things (id, tenant_id) "
        f"SELECT lpad(n::text, 8, '0'), '{tenant}' FROM generate_series(1, {rows}) n",
    )


def read(engine: sa.Engine, entity: Entity, *, scope: Scope = ACME) -> list[Sequence[object]]:
    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        return [row for batch in snapshot.iter_rows(entity=entity, scope=scope) for row in batch]


# --- values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql_type", "literal", "value"),
    [
        pytest.param("smallint", "7", 7, id="smallint"),
        pytest.param("bigint", "9223372036854775807", 2**63 - 1, id="bigint"),
        pytest.param("numeric", "12.50", 12.5, id="numeric"),
        pytest.param("numeric", f"{2**70}", f"{2**70}", id="numeric beyond 64 bits"),
        pytest.param("numeric", "'Infinity'", float("inf"), id="infinite numeric"),
        pytest.param("numeric", "'1e400'", f"{10**400}", id="numeric beyond float"),
        pytest.param("real", "0.1", 0.1, id="real"),
        pytest.param("double precision", "'-Infinity'", float("-inf"), id="infinite double"),
        pytest.param("boolean", "true", True, id="boolean"),
        pytest.param(
            "uuid",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            id="uuid in canonical form",
        ),
        pytest.param("date", "'2026-02-03'", "2026-02-03", id="date"),
        pytest.param("date", "'infinity'", "infinity", id="infinite date"),
        pytest.param("timestamp", "'infinity'", "infinity", id="infinite timestamp"),
        pytest.param("timestamptz", "'-infinity'", "-infinity", id="infinite timestamptz"),
        pytest.param(
            "timestamptz",
            "'2026-02-03 04:05:06+03'",
            "2026-02-03T01:05:06+00:00",
            id="timestamptz in UTC",
        ),
        pytest.param("timestamp", "'20000-01-01'", "20000-01-01T00:00:00", id="year 20,000"),
        pytest.param("interval", "'1 day 2 hours'", "P1DT2H", id="interval"),
        pytest.param("mood", "'happy'", "happy", id="enum"),
        pytest.param("positive", "5", 5, id="domain over integer"),
        pytest.param("citext_like", "'Ab'", "Ab", id="domain over text"),
        pytest.param("pair", "ROW(1, 'a')", "(1,a)", id="composite"),
        pytest.param("text[]", "ARRAY['a', NULL]", ["a", None], id="array"),
        pytest.param("int[]", "ARRAY[[1, 2], [3, 4]]", [[1, 2], [3, 4]], id="nested array"),
        pytest.param("json", """'{"a": 1}'""", {"a": 1}, id="json"),
        pytest.param("json", """'"\\u0000\\ud800"'""", "\x00\ud800", id="json escapes"),
        pytest.param("json[]", """ARRAY['"\\u0000"'::json]""", ["\x00"], id="array of json"),
        pytest.param("jsonb", """'[1, 1e400]'""", [1, f"{10**400}"], id="jsonb beyond 64 bits"),
        pytest.param("jsonb", """'null'""", None, id="JSON null"),
    ],
)
def test_payload_values_arrive_as(
    engine: sa.Engine, sql_type: str, literal: str, value: object
) -> None:
    run_sql(
        engine,
        "CREATE TYPE mood AS ENUM ('happy', 'sad')",
        "CREATE TYPE pair AS (x int, y text)",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE DOMAIN citext_like AS varchar(10)",
    )
    create_things(engine, columns=f", field {sql_type}")
    run_sql(engine, f"INSERT INTO things VALUES ('a', 'acme', false, 'n', {literal})")

    ((*_, found),) = read(engine, things(payload=(("field", "field"),)))

    assert found == value
    assert type(found) is type(value)


def test_nan_arrives_and_costs_only_its_value(engine: sa.Engine) -> None:
    create_things(engine, columns=", price numeric")
    run_sql(
        engine,
        "INSERT INTO things VALUES ('a', 'acme', false, 'n', 'NaN'), ('b', 'acme', false, 'n', 1)",
    )
    entity = things(payload=(("price", "price"),))
    builder = DocumentBuilder(entity=entity, scope=ACME, model_id="m")

    built = [builder.build(row) for row in sorted(read(engine, entity), key=str)]

    assert [getattr(found, "dropped", None) for found in built] == [("price",), ()]


@pytest.mark.parametrize(
    "literal",
    [
        pytest.param("repeat('[', 5000) || repeat(']', 5000)", id="5,000 levels"),
        pytest.param("repeat('[', 200) || repeat(']', 200)", id="200 levels"),
        pytest.param("repeat('9', 5000)", id="number of 5,000 digits"),
        pytest.param("to_json(repeat('x', 30000))::text", id="30,000 characters"),
    ],
)
def test_json_that_python_cannot_hold_comes_as_its_text(engine: sa.Engine, literal: str) -> None:
    create_things(engine, columns=", extra json")
    run_sql(engine, f"INSERT INTO things VALUES ('a', 'acme', false, 'n', ({literal})::json)")
    entity = things(payload=(("extra", "extra"),))

    (row,) = read(engine, entity)
    built = DocumentBuilder(entity=entity, scope=ACME, model_id="m").build(row)

    assert isinstance(row[-1], str)
    assert not isinstance(built, Rejection)


def test_view_columns_of_any_type_arrive_as_text(engine: sa.Engine) -> None:
    create_things(engine, columns=", size int, ok boolean, day date, extra jsonb")
    run_sql(
        engine,
        "INSERT INTO things VALUES "
        """('a', 'acme', false, NULL, 42, true, 'infinity', '{"a": 1}')""",
    )
    entity = things(views=(("text", ("name", "size", "ok", "day", "extra")),))

    (row,) = read(engine, entity)

    assert row[3:] == (None, "42", "true", "infinity", "1")


def test_texts_of_10_mb_are_cut_by_the_server(engine: sa.Engine) -> None:
    create_things(engine, columns=", note text")
    run_sql(
        engine,
        "INSERT INTO things SELECT n::text, 'acme', false, repeat('x', 10000000), "
        "repeat('y', 10000000) FROM generate_series(1, 3) n",
    )

    rows = read(engine, things(payload=(("note", "note"),)))

    assert [(len(str(row[3])), len(str(row[4]))) for row in rows] == [(20_000, 20_000)] * 3


def test_values_do_not_depend_on_the_role_s_settings(engine: sa.Engine) -> None:
    create_things(engine, columns=", day date, at timestamptz")
    run_sql(
        engine,
        "INSERT INTO things VALUES ('a', 'acme', false, 'n', '2026-02-03', '2026-02-03 00:00+00')",
    )
    entity = things(views=(("text", ("day", "at")),))
    options = "-c datestyle=German -c timezone=Asia/Tokyo -c client_encoding=LATIN1"
    odd = sa.create_engine(engine.url, connect_args={"options": options}, poolclass=sa.NullPool)

    rows = read(odd, entity)

    assert [row[3:] for row in rows] == [("2026-02-03", "2026-02-03 00:00:00+00")]


# --- names ------------------------------------------------------------------------------


def test_hostile_names_are_only_names(engine: sa.Engine) -> None:
    table = """we"ird'; DROP TABLE things; --"""
    column = """sel"ect * %s :x ü"""
    quoted_table, quoted_column = (name.replace('"', '""') for name in (table, column))
    create_things(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f'CREATE TABLE "{quoted_table}" (id text PRIMARY KEY, "Tenant Id" text, '
            f'"GLOBAL" boolean, "{quoted_column}" text)'.replace("%", "%%")
        )
        connection.exec_driver_sql(
            f"INSERT INTO \"{quoted_table}\" VALUES ('a', 'acme', false, 'n')".replace("%", "%%")
        )
    entity = Entity(
        name="thing",
        table=table,
        tenant="Tenant Id",
        is_global="GLOBAL",
        views=(("text", (column,)),),
        payload=(("p", column),),
    )
    source = PostgresRowSource(engine)

    source.check_schema([entity, things()])

    assert read(engine, entity) == [("a", "acme", False, "n", "n")]
    assert source.count_by_scope([entity]) == {"global": 0, "acme": 1}


@pytest.mark.parametrize(
    "relation",
    [
        pytest.param("VIEW shop.listed AS SELECT * FROM things", id="view"),
        pytest.param("MATERIALIZED VIEW shop.listed AS SELECT * FROM things", id="materialised"),
        pytest.param(
            "TABLE shop.listed (LIKE things) PARTITION BY LIST (tenant_id)", id="partitioned"
        ),
    ],
)
def test_other_relations_in_other_schemas_can_be_read(engine: sa.Engine, relation: str) -> None:
    create_things(engine)
    fill_things(engine, rows=3)
    run_sql(engine, "CREATE SCHEMA shop", f"CREATE {relation}")
    if "PARTITION" in relation:
        run_sql(
            engine,
            "CREATE TABLE shop.part PARTITION OF shop.listed FOR VALUES IN ('acme')",
            "INSERT INTO shop.listed SELECT * FROM things",
        )
    entity = things(table="shop.listed")

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        count = count_rows(snapshot, entity=entity, scope=ACME)

    assert count == 3
    assert len(read(engine, entity)) == 3


# --- tenants ----------------------------------------------------------------------------

FIRST = uuid.UUID(int=1)


@pytest.mark.parametrize(
    ("tenant_type", "tenants", "scope_key", "expected"),
    [
        pytest.param("uuid", [FIRST, uuid.UUID(int=2)], str(FIRST), 1, id="uuid"),
        pytest.param("uuid", [FIRST], "not-a-uuid", 0, id="no uuid"),
        pytest.param("uuid", [FIRST], FIRST.hex, 0, id="another spelling of a uuid"),
        pytest.param("integer", [7, 8], "7", 1, id="integer"),
        pytest.param("integer", [7], "007", 0, id="another spelling of an integer"),
        pytest.param("integer", [7], "seven", 0, id="no integer"),
        pytest.param("integer", [7], "9" * 30, 0, id="integer beyond range"),
        pytest.param("varchar(4)", ["acme"], "acmeX", 0, id="longer than the column"),
        pytest.param("char(8)", ["acme"], "acme", 1, id="blank padded"),
        pytest.param("tenants", ["acme"], "acme", 1, id="enum"),
        pytest.param("tenants", ["acme"], "nobody", 0, id="not in the enum"),
        pytest.param("short", ["acme"], "acme", 1, id="domain"),
        pytest.param("short", ["acme"], "much-too-long", 0, id="refused by the domain"),
        pytest.param("numeric", ["1", "1.0"], "1", 1, id="equal but spelt differently"),
    ],
)
def test_a_scope_key_finds_exactly_the_rows_that_list_it(
    engine: sa.Engine, tenant_type: str, tenants: list[object], scope_key: str, expected: int
) -> None:
    run_sql(
        engine,
        "CREATE TYPE tenants AS ENUM ('acme', 'globex')",
        "CREATE DOMAIN short AS text CHECK (length(VALUE) < 6)",
    )
    create_things(engine, tenant_type=tenant_type)
    for number, tenant in enumerate(tenants):
        run_sql(engine, f"INSERT INTO things VALUES ('{number}', '{tenant}')")
    source = PostgresRowSource(engine)
    scope = Scope(scope_key)

    with source.open_snapshot([]) as snapshot:
        count = count_rows(snapshot, entity=things(), scope=scope)

    assert count == expected
    assert len(read(engine, things(), scope=scope)) == expected
    assert source.count_by_scope([things()]).get(scope_key, 0) == expected


@pytest.mark.parametrize(
    "tenant_type", [pytest.param("text", id="text"), pytest.param("uuid", id="uuid")]
)
def test_a_tenant_is_looked_up_by_the_index(engine: sa.Engine, tenant_type: str) -> None:
    create_things(engine, tenant_type=tenant_type)
    run_sql(
        engine,
        "INSERT INTO things SELECT n::text, "
        f"('00000000-0000-0000-0000-' || lpad(mod(n, 1000)::text, 12, '0'))::{tenant_type} "
        "FROM generate_series(1, 20000) n",
        "CREATE INDEX by_tenant ON things (tenant_id)",
        "ANALYZE things",
    )

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        condition = snapshot._condition(things(), scope=Scope(str(FIRST)))
        assert condition is not None
        query = snapshot._of(things()).rows(condition, now=snapshot.taken_at)
        literal = query.compile(engine, compile_kwargs={"literal_binds": True})
        plan = snapshot._connection.exec_driver_sql(f"EXPLAIN {literal}").all()

    assert any("by_tenant" in line for (line,) in plan)


# --- the schema -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        pytest.param(
            "id text, tenant_id text, is_global boolean, names text",
            {},
            "no column 'name'; similar: 'names'",
            id="similar column",
        ),
        pytest.param(
            "id text, tenant_id text, is_global boolean, xyz text",
            {},
            "no column 'name'; there are id, tenant_id, is_global, xyz",
            id="nothing similar",
        ),
        pytest.param(
            "id text, tenant_id text, is_global boolean, name text",
            {"table": "thing"},
            "no table 'thing'; similar: 'things'",
            id="similar table",
        ),
        pytest.param(
            "id text, tenant_id text, is_global boolean, name text",
            {"table": "absent.things"},
            "no table 'absent.things'; similar: 'things'",
            id="wrong schema",
        ),
        pytest.param(
            "id text, tenant_id text, is_global integer, name text",
            {},
            "'is_global' tells whether a row is global and must be boolean, but is of type integer",
            id="is_global is no boolean",
        ),
        pytest.param(
            "id text, tenant_id jsonb, is_global boolean, name text",
            {},
            "tenant column 'tenant_id' is of type jsonb",
            id="tenant is json",
        ),
        pytest.param(
            "id text, tenant_id text, is_global boolean, name bytea",
            {},
            r"'name' holds bytes \(bytea\)",
            id="view of bytes",
        ),
        pytest.param(
            "id text, tenant_id text, is_global boolean, name text",
            {"updated_at": "changed_at"},
            "no column 'changed_at'",
            id="no change time",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_a_hint(
    engine: sa.Engine, columns: str, changes: dict[str, object], message: str
) -> None:
    run_sql(engine, f"CREATE TABLE things ({columns})")

    with pytest.raises(SourceSchemaError, match=message):
        PostgresRowSource(engine).check_schema([things(**changes)])


def test_an_empty_database_is_said_to_have_no_tables(database_url: str) -> None:
    engine = sa.create_engine(sa.make_url(database_url).set(database="template1"))

    with pytest.raises(SourceSchemaError, match="no table 'things'; there are none at all"):
        PostgresRowSource(engine).check_schema([things()])

    engine.dispose()


def test_many_small_arrays_are_not_deep(engine: sa.Engine) -> None:
    create_things(engine, columns=", extra int[]")
    run_sql(
        engine,
        "INSERT INTO things VALUES ('a', 'acme', false, 'n', array_fill(7, ARRAY[100, 2]))",
    )

    (row,) = read(engine, things(payload=(("extra", "extra"),)))

    assert row[-1] == [[7, 7]] * 100


def test_a_column_dropped_after_the_check_is_a_schema_error(engine: sa.Engine) -> None:
    create_things(engine)
    source = PostgresRowSource(engine)
    source.check_schema([things()])
    run_sql(engine, "ALTER TABLE things DROP COLUMN name")

    with (
        source.open_snapshot([]) as snapshot,
        pytest.raises(SourceSchemaError, match="no column 'name'"),
    ):
        count_rows(snapshot, entity=things(), scope=ACME)


def test_a_table_dropped_during_the_snapshot_is_a_schema_error(engine: sa.Engine) -> None:
    create_things(engine)
    source = PostgresRowSource(engine)

    with source.open_snapshot([]) as snapshot:
        run_sql(engine, "DROP TABLE things")

        with pytest.raises(SourceSchemaError, match=r"no table 'things'|does not exist"):
            count_rows(snapshot, entity=things(), scope=ACME)


def test_a_view_that_fails_for_a_row_is_named_without_its_content(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "INSERT INTO things VALUES ('a', 'acme', false, 'secret')",
        "CREATE VIEW counted AS SELECT id, tenant_id, is_global, name::int AS name FROM things",
    )

    with pytest.raises(PermanentError, match="SQLSTATE 22P02") as caught:
        read(engine, things(table="counted"))

    assert "secret" not in str(caught.value)


# --- privileges -------------------------------------------------------------------------


@pytest.fixture
def reader(engine: sa.Engine) -> sa.Engine:
    """An engine of a role that owns nothing."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    run_sql(engine, f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    return sa.create_engine(engine.url.set(username=role, password="secret"), poolclass=sa.NullPool)


def test_a_missing_privilege_names_the_grant(engine: sa.Engine, reader: sa.Engine) -> None:
    create_things(engine)

    with pytest.raises(SourceSchemaError, match=r'GRANT SELECT ON "public"\."things" TO "reader_'):
        PostgresRowSource(reader).check_schema([things()])


def test_a_missing_schema_privilege_names_the_grant(engine: sa.Engine, reader: sa.Engine) -> None:
    run_sql(engine, "CREATE SCHEMA shop", "CREATE TABLE shop.things (id text)")

    with pytest.raises(SourceSchemaError, match='GRANT USAGE ON SCHEMA "shop" TO "reader_'):
        PostgresRowSource(reader).check_schema([things(table="shop.things")])


def test_privileges_on_the_mapped_columns_are_enough(engine: sa.Engine, reader: sa.Engine) -> None:
    create_things(engine, columns=", salary int")
    fill_things(engine, rows=1)
    role = reader.url.username
    run_sql(engine, f"GRANT SELECT (id, tenant_id, is_global, name) ON things TO {role}")

    assert len(read(reader, things())) == 1


def test_a_policy_that_hides_rows_is_an_error(engine: sa.Engine, reader: sa.Engine) -> None:
    create_things(engine)
    fill_things(engine, rows=3)
    role = reader.url.username
    run_sql(
        engine,
        f"GRANT SELECT ON things TO {role}",
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON things USING (tenant_id = current_setting('app.tenant', true))",
    )
    source = PostgresRowSource(reader)

    with pytest.raises(SourceSchemaError, match=f'ALTER ROLE "{role}" BYPASSRLS'):
        source.check_schema([things()])
    with pytest.raises(SourceSchemaError, match="hide rows"):
        source.list_scopes([things()])
    with pytest.raises(SourceSchemaError, match="hide rows"):
        read(reader, things())

    run_sql(engine, f"ALTER ROLE {role} BYPASSRLS")

    assert len(read(reader, things())) == 3


def test_a_policy_behind_a_view_is_an_error(engine: sa.Engine, reader: sa.Engine) -> None:
    create_things(engine)
    role = reader.url.username
    run_sql(
        engine,
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY",
        "CREATE VIEW listed WITH (security_invoker = true) AS SELECT * FROM things",
        f"GRANT SELECT ON things, listed TO {role}",
    )

    with pytest.raises(SourceSchemaError, match=r"row-level security policy.*BYPASSRLS"):
        read(reader, things(table="listed"))


# --- concurrency and loss ---------------------------------------------------------------


def test_a_scan_sees_one_instant_whatever_is_written_meanwhile(engine: sa.Engine) -> None:
    create_things(engine)
    fill_things(engine, rows=900)

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        seen: list[str] = []
        expected = count_rows(snapshot, entity=things(), scope=ACME)
        for number, batch in enumerate(
            snapshot.iter_rows(entity=things(), scope=ACME, batch_size=100)
        ):
            seen += [str(row[0]) for row in batch]
            run_sql(
                engine,
                f"DELETE FROM things WHERE id = '{500 + number:08}'",
                f"INSERT INTO things VALUES ('new{number}', 'acme')",
                f"UPDATE things SET tenant_id = 'globex' WHERE id = '{800 + number:08}'",
            )
        ids = [
            row_id for batch in snapshot.iter_ids(entity=things(), scope=ACME) for row_id in batch
        ]

    assert expected == 900
    assert sorted(seen) == sorted(ids) == [f"{number:08}" for number in range(1, 901)]


def test_a_row_that_commits_late_is_in_the_next_snapshot(engine: sa.Engine) -> None:
    create_things(engine, columns=", updated_at timestamptz DEFAULT now()")
    with engine.connect() as late:
        late.exec_driver_sql("INSERT INTO things (id, tenant_id) VALUES ('late', 'acme')")
        run_sql(engine, "INSERT INTO things (id, tenant_id) VALUES ('early', 'acme')")

        before = read(engine, things())
        late.commit()
        after = read(engine, things())

    assert [row[0] for row in before] == ["early"]
    assert sorted(str(row[0]) for row in after) == ["early", "late"]


def test_a_snapshot_writes_nothing(engine: sa.Engine) -> None:
    create_things(engine)

    with (
        PostgresRowSource(engine).open_snapshot([]) as snapshot,
        pytest.raises(sa.exc.InternalError, match="read-only transaction"),
    ):
        snapshot._connection.exec_driver_sql("DELETE FROM things")


def test_a_connection_lost_during_a_scan_ends_it_with_an_error(engine: sa.Engine) -> None:
    create_things(engine)
    fill_things(engine, rows=5000)
    read_rows = 0

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        pid = snapshot._connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with pytest.raises(SourceUnavailableError, match="terminating connection"):  # noqa: PT012 - the loss happens between two batches
            for batch in snapshot.iter_rows(entity=things(), scope=ACME, batch_size=1000):
                read_rows += len(batch)
                run_sql(engine, f"SELECT pg_terminate_backend({pid})")

    assert read_rows < 5000


def test_reading_goes_on_after_a_lost_connection(engine: sa.Engine) -> None:
    create_things(engine)
    fill_things(engine, rows=10)
    source = PostgresRowSource(engine)
    with source.open_snapshot([]) as snapshot:
        pid = snapshot._connection.scalar(sa.text("SELECT pg_backend_pid()"))
        run_sql(engine, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(SourceUnavailableError, match="cannot be read"):
            count_rows(snapshot, entity=things(), scope=ACME)

    with source.open_snapshot([]) as snapshot:
        count = count_rows(snapshot, entity=things(), scope=ACME)

    assert count == 10


def test_a_connection_lost_after_the_last_row_does_no_harm(engine: sa.Engine) -> None:
    create_things(engine)
    fill_things(engine, rows=10)
    source = PostgresRowSource(engine)

    with source.open_snapshot([]) as snapshot:
        pid = snapshot._connection.scalar(sa.text("SELECT pg_backend_pid()"))
        rows = [row for batch in snapshot.iter_rows(entity=things(), scope=ACME) for row in batch]
        run_sql(engine, f"SELECT pg_terminate_backend({pid})")
    with source.open_snapshot([]) as snapshot:
        count = count_rows(snapshot, entity=things(), scope=ACME)

    assert len(rows) == count == 10


def test_an_unreachable_database_is_named_without_its_password() -> None:
    engine = sa.create_engine("postgresql+psycopg://bob:hunter2@127.0.0.1:1/shop")

    with pytest.raises(
        SourceUnavailableError, match=r"127\.0\.0\.1:1/shop.*DATABASE_URL"
    ) as caught:
        PostgresRowSource(engine).check_schema([things()])

    assert "hunter2" not in str(caught.value)


def test_a_statement_that_takes_too_long_is_cancelled(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE VIEW slow AS SELECT id, tenant_id, is_global, pg_sleep(5)::text AS name "
        "FROM things",
    )
    fill_things(engine, rows=1)
    source = PostgresRowSource(engine, statement_timeout_seconds=0.05)

    with (
        source.open_snapshot([]) as snapshot,
        pytest.raises(SourceUnavailableError, match="statement timeout"),
    ):
        list(snapshot.iter_rows(entity=things(table="slow"), scope=ACME))


def test_errors_of_the_caller_stay_what_they_are(engine: sa.Engine) -> None:
    create_things(engine)

    with (
        pytest.raises(sa.exc.ProgrammingError, match="nowhere"),
        PostgresRowSource(engine).open_snapshot([]),
    ):
        run_sql(engine, "SELECT * FROM nowhere")


def test_a_connection_goes_back_to_the_pool_as_it_was(engine: sa.Engine) -> None:
    create_things(engine)

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        count_rows(snapshot, entity=things(), scope=GLOBAL)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO things VALUES ('a', 'acme')")
        settings = connection.exec_driver_sql(
            "SELECT current_setting('row_security'), current_setting('transaction_isolation')"
        ).one()

    assert tuple(settings) == ("on", "read committed")


# --- duplicates -------------------------------------------------------------------------


def test_only_ids_without_a_unique_index_are_counted(engine: sa.Engine) -> None:
    create_things(engine)
    run_sql(
        engine,
        "CREATE VIEW listed AS SELECT * FROM things",
        "CREATE TABLE parent (LIKE things INCLUDING ALL)",
        "CREATE TABLE child () INHERITS (parent)",
    )

    with PostgresRowSource(engine).open_snapshot([]) as snapshot:
        unique = {
            table: snapshot._of(things(table=table)).has_unique_ids
            for table in ("things", "listed", "parent")
        }

    assert unique == {"things": True, "listed": False, "parent": False}
