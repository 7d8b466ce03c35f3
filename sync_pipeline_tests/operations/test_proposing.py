"""First settings for databases of strangers: what is proposed can be loaded and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.database.engine import make_engine
from sync_pipeline.operations.proposing import (
    FirstSettings,
    address_for_file,
    first_settings,
    write_settings,
)
from sync_pipeline.settings import Settings
from sync_pipeline.sources.describing import describe_database
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.wiring import UnknownSource


def look(engine: Engine, *tables: str) -> FirstSettings:
    """Propose; what is proposed loads, and fits the database."""
    source = UnknownSource(
        describe=lambda wanted: describe_database(engine, tables=wanted),
        rows=PostgresRowSource(engine, statement_timeout_seconds=10),
    )
    found = first_settings(source, address=None, tables=tables or None)
    entities = yaml.safe_load(found.text) or {}
    if found.proposal.entities:
        loaded = Settings.model_validate(entities).core_entities
        assert loaded == tuple(one.entity for one in found.proposal.entities)
        source.rows.check_schema(loaded)
    return found


def sql(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement.replace(":", r"\:")))


def by_table(found: FirstSettings) -> dict[str, str]:
    return {one.entity.table: one.entity.name for one in found.proposal.entities}


def test_names_in_upper_case_are_found_and_written_as_they_are(engine: Engine) -> None:
    sql(
        engine,
        'CREATE TABLE "Products" ("Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), '
        '"TenantId" uuid, "ProductName" text, "IsDeleted" boolean NOT NULL DEFAULT false, '
        '"LastModified" timestamptz, "UnitPrice" numeric)',
        'INSERT INTO "Products" ("TenantId", "ProductName", "UnitPrice") '
        "SELECT gen_random_uuid(), 'oak table ' || g, g FROM generate_series(1, 5) g",
    )

    [one] = look(engine).proposal.entities

    assert (one.entity.name, one.entity.table, one.entity.id) == ("product", "Products", ("Id",))
    assert (one.entity.tenant, one.entity.updated_at) == ("TenantId", "LastModified")
    assert [str(condition) for condition in one.entity.only] == ["IsDeleted is false"]
    assert one.entity.views == (("text", ("ProductName",)),)
    assert one.entity.payload == (("unitPrice", "UnitPrice"),)


def test_reserved_words_and_words_that_yaml_takes_for_something_else_stay_names(
    engine: Engine,
) -> None:
    sql(
        engine,
        'CREATE TABLE "order" (id int PRIMARY KEY, tenant_id text, title text, "desc" text, '
        '"no" text, "on" boolean, "user" int, "null" int)',
        """INSERT INTO "order" SELECT g, 'acme', 'order of nails ' || g, 'two boxes of nails ' || g,
           'A-' || g, true, g, g FROM generate_series(1, 5) g""",
    )

    [one] = look(engine).proposal.entities

    assert one.entity.table == "order"
    assert dict(one.entity.payload) == {"no": "no", "on": "on", "user": "user", "null": "null"}


def test_what_the_settings_cannot_name_is_said(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE товары (id int PRIMARY KEY, название text)",
        'CREATE TABLE parts (id int PRIMARY KEY, tenant_id text, name text, "цвет" text)',
        "INSERT INTO parts VALUES (1, 'acme', 'steel bolt', 'красный')",
        'CREATE TABLE "evil\nentities: []\n#" (id int PRIMARY KEY, name text)',
    )

    found = look(engine)

    assert by_table(found) == {"parts": "part"}
    assert "offer it through a view" in found.proposal.left_out["товары"]
    assert any("'цвет'" in question for question in found.questions)
    assert list(yaml.safe_load(found.text)) == ["entities"]


def test_tables_of_programs_tenants_and_sign_ins_are_left_out_each_with_its_reason(
    engine: Engine,
) -> None:
    sql(
        engine,
        "CREATE TABLE shops (id int PRIMARY KEY, name text)",
        "CREATE TABLE users (id int PRIMARY KEY, name text, encrypted_password text)",
        "CREATE TABLE alembic_version (version_num text PRIMARY KEY)",
        "CREATE TABLE sessions (id text PRIMARY KEY, data text)",
        "CREATE TABLE prices (id int PRIMARY KEY, shop_id int REFERENCES shops, price numeric)",
        "CREATE TABLE articles (id int PRIMARY KEY, shop_id int REFERENCES shops, name text)",
        "INSERT INTO shops VALUES (1, 'The shop')",
        "INSERT INTO articles VALUES (1, 1, 'garden hose')",
        "INSERT INTO prices VALUES (1, 1, 5)",
    )

    found = look(engine)

    assert by_table(found) == {"articles": "article"}
    assert found.proposal.left_out == {
        "alembic_version": "by its name it serves a program",
        "sessions": "by its name it serves a program",
        "users": "it holds what people sign in with",
        "shops": "other tables name their tenants by it",
        "prices": "no column of it has words that people would search for",
    }


def test_a_table_that_is_named_is_proposed_whatever_it_is_called(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE audit_log (id int PRIMARY KEY, tenant_id text, message text)",
        "INSERT INTO audit_log VALUES (1, 'acme', 'the gate was opened')",
    )

    assert by_table(look(engine)) == {}
    assert by_table(look(engine, "audit_log")) == {"audit_log": "audit_log"}
    assert by_table(look(engine, "public.audit_log")) == {"audit_log": "audit_log"}


def test_a_table_that_is_not_there_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="there is no table 'nothing'"):
        look(engine, "nothing")


def test_the_tenant_of_a_table_without_one_is_a_question_with_where_to_look(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE orders (id int PRIMARY KEY, tenant_id text, title text)",
        "CREATE TABLE order_lines (id int PRIMARY KEY, order_id int REFERENCES orders, name text)",
        "INSERT INTO orders VALUES (1, 'acme', 'garden order')",
        "INSERT INTO order_lines VALUES (1, 1, 'garden hose')",
    )

    found = look(engine)

    lines = next(one for one in found.proposal.entities if one.entity.table == "order_lines")
    assert lines.entity.name == "order_line"
    assert "(perhaps orders does: offer a view that joins them)" in lines.questions[0]
    assert "'main'" in lines.questions[0]


def test_long_texts_are_cut_into_passages(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE pages (id int PRIMARY KEY, tenant_id text, title text, body text)",
        "INSERT INTO pages SELECT g, 'acme', 'page about bees ' || g, "
        "repeat('Bees fly from flower to flower. ', 60) FROM generate_series(1, 3) g",
    )

    [one] = look(engine).proposal.entities

    assert one.entity.views == (("text", ("title",)), ("body", ("body",)))
    assert dict(one.entity.long_views) == {"body": 100}


def test_odd_names_of_long_texts_become_names_of_views(engine: Engine) -> None:
    sql(
        engine,
        'CREATE TABLE pages (id int PRIMARY KEY, tenant_id text, title text, text text, "_1" text)',
        "INSERT INTO pages SELECT g, 'acme', 'page about bees ' || g, "
        "repeat('Bees fly from flower to flower. ', 60), repeat('Wasps do so too. ', 100) "
        "FROM generate_series(1, 3) g",
    )

    [one] = look(engine).proposal.entities

    assert dict(one.entity.views) == {
        "text": ("title",),
        "passages_text": ("text",),
        "passages_1": ("_1",),
    }


def test_a_proposal_that_settings_cannot_hold_is_left_out_with_the_reason(engine: Engine) -> None:
    columns = ", ".join(f"k{number} int" for number in range(17))
    names = ", ".join(f"k{number}" for number in range(17))
    sql(
        engine,
        f"CREATE TABLE wide ({columns}, tenant_id text, name text, PRIMARY KEY ({names}))",
        "INSERT INTO wide SELECT " + "1, " * 17 + "'acme', 'garden hose'",
    )

    found = look(engine)

    assert found.proposal.entities == ()
    assert found.proposal.left_out["wide"].startswith("settings cannot say it: ")


def test_addresses_digests_and_secrets_are_neither_text_nor_payload(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE photos (id int PRIMARY KEY, tenant_id text, caption text, image text, "
        "source text, digest text, contact_email text, remark text, status text)",
        "INSERT INTO photos SELECT g, 'acme', 'a bridge at night ' || g, '/a/b.jpg', "
        "'https://example.org/' || g, md5(g::text), 'me@example.org', 'seen by many people ' || g, "
        "CASE WHEN g < 20 THEN 'draft' ELSE 'live' END FROM generate_series(1, 40) g",
    )

    [one] = look(engine).proposal.entities

    assert one.entity.views == (("text", ("caption", "remark")),)
    assert one.entity.payload == (("status", "status"),)


def test_an_empty_table_is_guessed_by_names_and_says_so(engine: Engine) -> None:
    sql(engine, "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, title text, note text)")

    found = look(engine)

    [one] = found.proposal.entities
    assert one.entity.views == (("text", ("title", "note")),)
    assert any("is guessed by names and types" in question for question in one.questions)
    assert found.documents == []


def test_an_empty_database_says_that_it_is(engine: Engine) -> None:
    found = look(engine)

    assert found.proposal.entities == ()
    assert "has no tables that could be read" in found.questions[0]
    assert yaml.safe_load(found.text) is None


def test_two_tables_of_one_name_get_names_of_their_own(engine: Engine) -> None:
    sql(engine, "CREATE SCHEMA sales")
    for schema in ("public", "sales"):
        sql(
            engine,
            f"CREATE TABLE {schema}.items (id int PRIMARY KEY, tenant_id text, name text)",
            f"INSERT INTO {schema}.items VALUES (1, 'acme', 'garden hose')",  # noqa: S608 - ours
        )

    assert by_table(look(engine)) == {"items": "item", "sales.items": "sales_item"}


@pytest.fixture
def guest(engine: Engine, database_url: str) -> Iterator[Engine]:
    """A role that may read one table, some columns of another, and what a policy leaves."""
    sql(
        engine,
        "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text, cost numeric)",
        "INSERT INTO items VALUES (1, 'acme', 'garden hose', 5)",
        "CREATE TABLE hidden (id int PRIMARY KEY, tenant_id text, name text)",
        "CREATE TABLE guarded (id int PRIMARY KEY, tenant_id text, name text)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "DROP ROLE IF EXISTS init_guest",
        "CREATE ROLE init_guest LOGIN",
        "GRANT SELECT (id, tenant_id, name) ON items TO init_guest",
        "GRANT SELECT ON guarded TO init_guest",
    )
    made = make_engine(database_url.replace("postgres@", "init_guest@"))
    yield made
    made.dispose()
    sql(engine, "DROP OWNED BY init_guest", "DROP ROLE init_guest")


def test_what_a_role_may_not_see_is_left_out_and_said(guest: Engine) -> None:
    found = look(guest)

    [one] = found.proposal.entities
    assert (one.entity.table, one.entity.payload) == ("items", ())
    assert found.proposal.left_out["hidden"] == "role 'init_guest' may not read it"
    assert "row security policies hide rows" in found.proposal.left_out["guarded"]


def test_a_view_that_fails_does_not_keep_the_others_from_being_looked_at(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)",
        "INSERT INTO items VALUES (1, 'acme', 'garden hose')",
        "CREATE VIEW broken AS SELECT id / 0 AS id, tenant_id, name FROM items",
    )

    found = look(engine)

    assert by_table(found) == {"items": "item"}
    assert found.proposal.left_out["broken"] == (
        "no row of it could be looked at (division by zero)"
    )


def test_three_hundred_tables_are_looked_at(engine: Engine) -> None:
    sql(
        engine,
        "DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s_things (id int PRIMARY "
        "KEY, tenant_id text, name text)', n); END LOOP; END $$",
    )

    found = look(engine)

    assert len(found.proposal.entities) == 300


def test_rows_of_a_large_table_are_taken_from_all_over_it(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)",
        "INSERT INTO items SELECT g, CASE WHEN g < 30000 THEN 'first' ELSE 'last' END, "
        "'garden hose ' || g FROM generate_series(1, 60000) g",
    )

    found = look(engine)

    assert {document.scope_key for document in found.documents} == {"first", "last"}


def test_rows_of_a_partitioned_table_are_taken_from_all_its_parts(engine: Engine) -> None:
    sql(
        engine,
        "CREATE TABLE items (id int, tenant_id text, name text, PRIMARY KEY (id)) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (30000)",
        "CREATE TABLE items_2 PARTITION OF items FOR VALUES FROM (30000) TO (90000)",
        "INSERT INTO items SELECT g, CASE WHEN g < 30000 THEN 'first' ELSE 'last' END, "
        "'garden hose ' || g FROM generate_series(1, 60000) g",
        "ANALYZE items",
    )

    found = look(engine)

    assert {document.scope_key for document in found.documents} == {"first", "last"}


def test_nothing_is_written_into_the_database(engine: Engine) -> None:
    sql(engine, "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)")
    counted = text("SELECT count(*) FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace")

    def tables() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(counted) or 0)

    before = tables()
    look(engine)

    assert tables() == before


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (None, None),
        ("postgresql://app@db/shop", "postgresql://app@db/shop"),
        ("postgresql://app:secret@db/shop", None),
        ("postgresql://app@db/shop?password=secret", None),
        ("host=db dbname=shop password=secret", None),
    ],
)
def test_no_password_goes_into_the_file(url: str | None, kept: str | None) -> None:
    address, remark = address_for_file(url)

    assert address == kept
    assert (remark is None) == (url == kept)


def test_a_file_that_is_there_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("mine")

    with pytest.raises(ConfigurationError, match="is there already; nothing was written"):
        write_settings(path, "new", replaces=False)
    kept = path.read_text()
    write_settings(path, "new", replaces=True)

    assert (kept, path.read_text()) == ("mine", "new")
