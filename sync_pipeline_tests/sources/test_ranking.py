"""What a priority is told from in PostgreSQL: values of every type, and columns of no use."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from sync_pipeline.core.document import Document, DocumentBuilder
from sync_pipeline.core.entity import Archive, Condition, Criterion, Entity, TimeKind
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.scope import Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.sources.feed_support import run_sql

pytestmark = pytest.mark.process

ACME = Scope("acme")
THING = Entity(name="thing", table="things", updated_at="changed", views=(("text", ("name",)),))
CHANGED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def create(engine: sa.Engine, sql_type: str, *values: str) -> None:
    """A table with one row per value, ids counted from 1."""
    run_sql(
        engine,
        f"CREATE TABLE things (id serial PRIMARY KEY, tenant_id text DEFAULT 'acme', "
        f"is_global boolean DEFAULT false, name text DEFAULT 'n', "
        f"changed timestamptz DEFAULT '{CHANGED.isoformat()}', value {sql_type})",
        *(f"INSERT INTO things (value) VALUES ({value})" for value in values),  # noqa: S608
    )


def ranked(*criteria: Criterion) -> Entity:
    return replace(THING, priority=criteria)


def in_order(engine: sa.Engine, entity: Entity) -> list[str]:
    """Row ids by their ranks."""
    builder = DocumentBuilder(entity=entity, scope=ACME, model_id="m")
    with PostgresRowSource(engine).open_snapshot([entity]) as snapshot:
        built = [
            builder.build(row)
            for batch in snapshot.iter_rows(entity=entity, scope=ACME)
            for row in batch
        ]
    documents = [document for document in built if isinstance(document, Document)]
    assert len(documents) == len(built)
    return [it.db_id for it in sorted(documents, key=lambda document: document.rank)]


@pytest.mark.parametrize(
    ("sql_type", "values"),
    [
        pytest.param("smallint", ["-2", "0", "7"], id="int2"),
        pytest.param("bigint", ["-9223372036854775808", "-1", "9223372036854775807"], id="int8"),
        pytest.param("numeric", ["-1e400", "0", "1e-300", "1e400"], id="numeric"),
        pytest.param("double precision", ["'-Infinity'", "-0.5", "1e300"], id="float8"),
        pytest.param("real", ["-1", "0.1", "1e30"], id="float4"),
        pytest.param("boolean", ["false", "true"], id="bool"),
        pytest.param("date", ["'-infinity'", "'1969-01-01'", "'2026-01-02'"], id="date"),
        pytest.param("timestamp", ["'1969-01-01'", "'2026-01-02'", "'infinity'"], id="timestamp"),
        pytest.param(
            "timestamptz",
            ["'2026-01-02 03:00+02'", "'2026-01-02 02:00:00.000001+00'", "'infinity'"],
            id="timestamptz",
        ),
    ],
)
def test_every_type_with_an_order_is_ranked_and_null_comes_last(
    engine: sa.Engine, sql_type: str, values: list[str]
) -> None:
    create(engine, sql_type, "NULL", *values)
    ids = [str(number) for number in range(2, 2 + len(values))]

    ascending = in_order(engine, ranked(Criterion(column="value")))
    descending = in_order(engine, ranked(Criterion(column="value", is_descending=True)))

    assert ascending == [*ids, "1"]
    assert descending == [*reversed(ids), "1"]


def test_nan_comes_last_as_null_does(engine: sa.Engine) -> None:
    create(engine, "numeric", "'NaN'", "5")

    assert in_order(engine, ranked(Criterion(column="value", is_descending=True))) == ["2", "1"]


def test_conditions_decide_and_null_meets_only_what_names_it(engine: sa.Engine) -> None:
    create(engine, "text", "'done'", "NULL", "'active'", "'draft'")
    live = Criterion(when=(Condition("value", ("active", "draft")),))
    unsaid = Criterion(when=(Condition("value", (None,)),))

    order = in_order(engine, ranked(live, unsaid))

    assert (set(order[:2]), order[2:]) == ({"3", "4"}, ["2", "1"])


def test_a_value_of_a_condition_is_never_sql(engine: sa.Engine) -> None:
    nasty = "'); DROP TABLE things; --"
    create(engine, "text", "'a'", "$$'); DROP TABLE things; --$$")

    order = in_order(engine, ranked(Criterion(when=(Condition("value", (nasty,)),))))

    assert order == ["2", "1"]


def test_a_priority_beside_an_archive_mixes_nothing_up(engine: sa.Engine) -> None:
    create(engine, "integer", "1", "2")
    entity = replace(
        ranked(Criterion(column="value", is_descending=True), Criterion(column="changed")),
        archive=Archive(when=(Condition("value", (1,)),), older_than_days=1),
    )
    builder = DocumentBuilder(entity=entity, scope=ACME, model_id="m")

    with PostgresRowSource(engine).open_snapshot([entity]) as snapshot:
        rows = [row for batch in snapshot.iter_rows(entity=entity, scope=ACME) for row in batch]

    built = {str(row[0]): builder.build(row) for row in rows}
    assert {
        row_id: document.is_archived
        for row_id, document in built.items()
        if isinstance(document, Document)
    } == {"1": True, "2": False}
    assert in_order(engine, entity) == ["2", "1"]


def test_digests_do_not_know_of_priorities(engine: sa.Engine) -> None:
    create(engine, "integer", "1", "2")
    source = PostgresRowSource(engine)
    before = source.digest_by_scope([THING])

    run_sql(engine, "UPDATE things SET value = value + 10")

    assert source.digest_by_scope([ranked(Criterion(column="value"))]) == before


@pytest.mark.parametrize(
    ("sql_type", "criterion", "message"),
    [
        pytest.param(
            "text",
            Criterion(column="value"),
            "priority column 'value' is of type text, whose order does not say what comes first: "
            "it must be a number, a time, a date or a boolean. Name its values instead: priority: "
            "[{when: {value: VALUE}}]",
            id="text",
        ),
        pytest.param("json", Criterion(column="value"), "is of type json", id="json"),
        pytest.param(
            "integer",
            Criterion(column="valeu"),
            "table 'things' has no column 'valeu'; similar: 'value'",
            id="no such column",
        ),
        pytest.param(
            "integer",
            Criterion(when=(Condition("valeu", (1,)),)),
            "table 'things' has no column 'valeu'; similar: 'value'",
            id="no such column of a condition",
        ),
        pytest.param(
            "integer",
            Criterion(when=(Condition("value", ("many",)),)),
            "entity 'thing': `priority` cannot be asked of the table: invalid input syntax",
            id="no such value",
        ),
    ],
)
def test_what_says_nothing_is_refused_before_a_row_is_read(
    engine: sa.Engine, sql_type: str, criterion: Criterion, message: str
) -> None:
    create(engine, sql_type)

    with pytest.raises(SourceSchemaError) as raised:
        PostgresRowSource(engine).check_schema([ranked(criterion)])

    assert message in str(raised.value)


def test_a_column_that_may_not_be_read_is_named(engine: sa.Engine) -> None:
    create(engine, "integer", "1")
    role = f"reader_{uuid.uuid4().hex[:8]}"
    run_sql(
        engine,
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
        f"GRANT SELECT (id, tenant_id, is_global, name, changed) ON things TO {role}",
    )
    url = engine.url.set(username=role, password="secret")
    reader = PostgresRowSource(sa.create_engine(url, poolclass=sa.NullPool))

    reader.check_schema([THING])
    with pytest.raises(SourceSchemaError, match="may not read value of table 'things': GRANT"):
        reader.check_schema([ranked(Criterion(column="value"))])


def test_an_archive_whose_values_cannot_be_compared_is_named_as_such(engine: sa.Engine) -> None:
    create(engine, "integer")
    rule = Archive(when=(Condition("value", ("many",)),), older_than_days=1)

    with pytest.raises(SourceSchemaError, match="`archive` cannot be asked of the table"):
        PostgresRowSource(engine).check_schema([replace(THING, archive=rule)])


@pytest.mark.parametrize(
    ("sql_type", "written", "kind", "zone"),
    [
        pytest.param("timestamptz", "'2026-01-02 03:04:05+00'", TimeKind.BY_TYPE, None, id="zoned"),
        pytest.param("timestamp", "'2026-01-02 03:04:05'", TimeKind.BY_TYPE, None, id="in UTC"),
        pytest.param(
            "timestamp", "'2026-01-02 04:04:05'", TimeKind.LOCAL, "Europe/Prague", id="local"
        ),
        pytest.param("bigint", "1767323045", TimeKind.BY_TYPE, None, id="seconds"),
        pytest.param("bigint", "1767323045000", TimeKind.BY_TYPE, None, id="milliseconds"),
        pytest.param("bigint", "1767323045", TimeKind.EPOCH_SECONDS, None, id="seconds, said"),
        pytest.param(
            "numeric", "1767323045000", TimeKind.EPOCH_MILLISECONDS, None, id="milliseconds, said"
        ),
    ],
)
def test_the_newest_change_of_each_scope_is_found_whatever_the_type(
    engine: sa.Engine, sql_type: str, written: str, kind: TimeKind, zone: str | None
) -> None:
    create(engine, sql_type, "NULL", written)
    run_sql(engine, "INSERT INTO things (tenant_id) VALUES ('globex')")
    entity = replace(THING, updated_at="value", updated_at_kind=kind, updated_at_zone=zone)

    newest = PostgresRowSource(engine).newest_by_scope([entity])

    assert newest == {"acme": CHANGED.timestamp()}


def test_what_has_no_end_is_no_newest_change(engine: sa.Engine) -> None:
    create(engine, "timestamptz", "'infinity'", "'2026-01-02 03:04:05+00'", "'-infinity'")
    entity = replace(THING, updated_at="value")

    newest = PostgresRowSource(engine).newest_by_scope([entity])

    assert newest == {"acme": CHANGED.timestamp()}
