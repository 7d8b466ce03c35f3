"""Migrations make exactly the tables that statements are composed with."""

from __future__ import annotations

import re
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.dialects.postgresql import base

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.migrate import migrate, pending_revisions
from sync_pipeline.database.scope_states import PostgresScopeStates
from sync_pipeline.database.tables import Xid8, state_tables
from sync_pipeline.database.urls import parse_url
from sync_pipeline.database.versions import upgrade

ALL_REVISIONS = [
    "r0001_state",
    "r0002_feed_and_rates",
    "r0003_entities",
    "r0004_writing",
    "r0005_requests",
    "r0006_generations",
    "r0007_canaries",
    "r0008_views",
    "r0009_run_heartbeat",
    "r0010_spending",
    "r0011_rate_limits",
    "r0012_providers",
]
AT_ONCE = Retries(attempts=1)


@pytest.fixture
def _known_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reflection recognise a type that SQLAlchemy has no name for."""
    monkeypatch.setitem(base.ischema_names, "xid8", Xid8)


@pytest.mark.usefixtures("_known_type")
@pytest.mark.parametrize(
    "schema",
    [
        pytest.param("sync_pipeline", id="default schema"),
        pytest.param("Other schema", id="schema that needs quotes"),
    ],
)
def test_migrations_make_the_tables_that_the_code_declares(engine: Engine, schema: str) -> None:
    migrate(engine, schema)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == schema,
                "version_table_schema": schema,
                "compare_type": True,
            },
        )
        differences = compare_metadata(context, state_tables(schema))
    assert differences == []


def test_migrating_twice_applies_nothing_the_second_time(engine: Engine) -> None:
    first = migrate(engine, "fresh")

    second = migrate(engine, "fresh")

    assert (first, second) == (ALL_REVISIONS, [])
    assert pending_revisions(engine, "fresh") == []


def test_several_processes_may_migrate_at_once(engine: Engine) -> None:
    applied: list[list[str]] = []

    threads = [
        threading.Thread(target=lambda: applied.append(migrate(engine, "crowded")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(applied) == [[], [], [], ALL_REVISIONS]


def test_a_failed_migration_leaves_nothing_behind(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def fail(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "document_status" in statement:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        migrate(engine, "broken")

    event.remove(engine, "before_cursor_execute", fail)
    assert "broken" not in inspect(engine).get_schema_names()
    assert migrate(engine, "broken") == ALL_REVISIONS


def test_a_schema_of_a_newer_program_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE sync_pipeline.alembic_version SET version_num = 'r9999'"))

    with pytest.raises(ConfigurationError, match=r"newer sync-pipeline \(version r9999"):
        migrate(engine)


def test_a_role_that_may_not_create_the_schema_is_told_what_to_grant(
    engine: Engine, database_url: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS plain_reader"))
        connection.execute(text("CREATE ROLE plain_reader LOGIN"))
    url = parse_url(database_url).set(username="plain_reader")
    reader = make_engine(url.render_as_string(hide_password=False))

    expected = f'GRANT CREATE ON DATABASE "{url.database}" TO "plain_reader"'
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        migrate(reader, "elsewhere", retries=AT_ONCE)

    reader.dispose()
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE plain_reader"))


def test_a_role_without_create_may_use_a_schema_that_is_up_to_date(
    engine: Engine, database_url: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS plain_writer"))
        connection.execute(text("CREATE ROLE plain_writer LOGIN"))
        connection.execute(text("GRANT USAGE ON SCHEMA sync_pipeline TO plain_writer"))
        connection.execute(
            text("GRANT SELECT ON ALL TABLES IN SCHEMA sync_pipeline TO plain_writer")
        )
    url = parse_url(database_url).set(username="plain_writer")
    writer = make_engine(url.render_as_string(hide_password=False))

    applied = migrate(writer)

    assert applied == []
    writer.dispose()
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY plain_writer"))
        connection.execute(text("DROP ROLE plain_writer"))


OLD_STATE = """
INSERT INTO {schema}.index_state
    (collection, document_id, point_id, scope, scope_key, tenant_id, entity_type, db_id, status)
SELECT 'c1', 'tenant-' || entity || '-' || n, gen_random_uuid(), 'tenant', 'acme', 'acme', entity,
       n, CASE WHEN entity = 'work' AND n = 1 THEN 'failed' ELSE 'synced' END
FROM (VALUES ('material', 3), ('work', 2)) AS of (entity, count), generate_series(1, of.count) n;
INSERT INTO {schema}.quarantine (scope_key, entity_type, db_id, reason, detail)
VALUES ('acme', 'work', '9', 'empty_text', ''), ('acme', 'lamp', '1', 'empty_text', '');
INSERT INTO {schema}.scope_state (collection, scope_key, rows, documents, quarantined, failed,
    digest, source_snapshot_at, last_success_at, last_full_at)
VALUES ('c1', 'acme', 6, 5, 1, 1, 'old', '2026-01-02Z', '2026-01-03Z', '2026-01-01Z'),
       ('c1', 'global', 0, 0, 0, 0, 'old', '2026-01-02Z', '2026-01-03Z', '2026-01-01Z'),
       ('c2', 'acme', 0, 0, 0, 0, 'old', '2026-01-02Z', '2026-01-03Z', '2026-01-01Z')
"""


def test_what_was_recorded_of_scopes_is_taken_over_for_their_entities(engine: Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection, "older", to="r0002_feed_and_rates")
        for statement in OLD_STATE.format(schema="older").split(";"):
            connection.execute(text(statement))

    applied = migrate(engine, "older")

    found = PostgresScopeStates(engine, "older", collection="c1").list_entities()
    assert applied == ALL_REVISIONS[2:]
    assert [
        (one.scope_key, one.entity_type, one.rows, one.documents, one.quarantined, one.failed)
        for one in found
    ] == [
        ("acme", "material", 3, 3, 0, 0),
        ("acme", "work", 3, 2, 1, 1),
        ("global", "material", 0, 0, 0, 0),
        ("global", "work", 0, 0, 0, 0),
    ]
    assert {(one.digest, one.feed_epoch, one.vanished_at) for one in found} == {(None, None, None)}
    (times,) = {(one.source_snapshot_at, one.last_success_at, one.last_full_at) for one in found}
    assert [moment.day for moment in times if moment is not None] == [2, 3, 1]


def test_the_view_for_people_has_the_same_columns_as_before(engine: Engine) -> None:
    def columns(schema: str) -> list[str]:
        return [column["name"] for column in inspect(engine).get_columns("document_status", schema)]

    with engine.begin() as connection:
        upgrade(connection, "older", to="r0002_feed_and_rates")
    before = columns("older")

    migrate(engine, "older")

    assert columns("older") == before
