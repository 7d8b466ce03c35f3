"""Columns that say when a row changed: which can, and that none of them loses a change."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from sync_pipeline.core.entity import Entity, TimeKind
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.scope import Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.sources.feed_support import run_sql

ACME = Scope("acme")
SECONDS = TimeKind.EPOCH_SECONDS
MILLISECONDS = TimeKind.EPOCH_MILLISECONDS
LOCAL = TimeKind.LOCAL


def entity(
    *, kind: TimeKind = TimeKind.BY_TYPE, zone: str | None = None, column: str = "changed"
) -> Entity:
    return Entity(
        name="thing",
        table="things",
        updated_at=column,
        updated_at_kind=kind,
        updated_at_zone=zone,
        views=(("text", ("name",)),),
    )


def create(engine: sa.Engine, sql_type: str, *values: str) -> None:
    """A table with one row per value of the time column, ids counted from 1."""
    run_sql(
        engine,
        f"CREATE TABLE things (id serial PRIMARY KEY, tenant_id text DEFAULT 'acme', "
        f"is_global boolean DEFAULT false, name text DEFAULT 'n', changed {sql_type})",
        *(f"INSERT INTO things (changed) VALUES ({value})" for value in values),
    )


def changed(engine: sa.Engine, wanted: Entity, *, since: datetime) -> list[str]:
    with PostgresRowSource(engine).open_snapshot([wanted]) as snapshot:
        batches = snapshot.iter_changed_ids(entity=wanted, scope=ACME, since=since)
        return sorted(row_id for batch in batches for row_id in batch)


@pytest.mark.parametrize(
    ("sql_type", "written", "kind", "zone"),
    [
        pytest.param("timestamptz", "now()", TimeKind.BY_TYPE, None, id="with zone"),
        pytest.param("timestamp", "now()", TimeKind.BY_TYPE, None, id="without zone, in UTC"),
        pytest.param(
            "timestamp",
            "timezone('America/Los_Angeles', now())",
            TimeKind.BY_TYPE,
            None,
            id="without zone, far west",
        ),
        pytest.param(
            "timestamp",
            "timezone('Pacific/Auckland', now())",
            TimeKind.BY_TYPE,
            None,
            id="without zone, far east",
        ),
        pytest.param(
            "timestamp",
            "timezone('Europe/Prague', now())",
            LOCAL,
            "Europe/Prague",
            id="without zone, said",
        ),
        pytest.param("date", "current_date", TimeKind.BY_TYPE, None, id="day"),
        pytest.param(
            "date",
            "timezone('America/Los_Angeles', now())::date",
            TimeKind.BY_TYPE,
            None,
            id="day, far west",
        ),
        pytest.param(
            "date", "timezone('Asia/Tokyo', now())::date", LOCAL, "Asia/Tokyo", id="day, said"
        ),
        pytest.param("bigint", "extract(epoch FROM now())", TimeKind.BY_TYPE, None, id="seconds"),
        pytest.param("int", "extract(epoch FROM now())", SECONDS, None, id="seconds, said"),
        pytest.param(
            "numeric(20, 3)",
            "extract(epoch FROM now())",
            TimeKind.BY_TYPE,
            None,
            id="seconds with a fraction",
        ),
        pytest.param(
            "bigint", "extract(epoch FROM now()) * 1000", TimeKind.BY_TYPE, None, id="milliseconds"
        ),
        pytest.param(
            "numeric",
            "extract(epoch FROM now()) * 1000",
            MILLISECONDS,
            None,
            id="milliseconds, said",
        ),
        pytest.param(
            "double precision", "extract(epoch FROM now())", TimeKind.BY_TYPE, None, id="float"
        ),
    ],
)
def test_a_change_is_never_missed_and_an_old_one_is_not_looked_at(
    engine: sa.Engine, sql_type: str, written: str, kind: TimeKind, zone: str | None
) -> None:
    long_ago = written.replace("now()", "(now() - interval '3 days')").replace(
        "current_date", "current_date - 3"
    )
    create(engine, sql_type, long_ago, written, "NULL")

    just_now = datetime.now(tz=UTC) - timedelta(seconds=30)

    assert changed(engine, entity(kind=kind, zone=zone), since=just_now) == ["2", "3"]


def test_a_time_that_comes_twice_when_clocks_are_set_back_is_not_missed(
    engine: sa.Engine,
) -> None:
    # In Prague the 25th of October 2026 has 02:10 twice; this is the second one.
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    create(engine, "timestamp", f"'{second.astimezone(ZoneInfo('Europe/Prague')):%F %T}'")

    wanted = entity(kind=LOCAL, zone="Europe/Prague")

    assert changed(engine, wanted, since=second - timedelta(minutes=40)) == ["1"]


def test_infinity_counts_as_later(engine: sa.Engine) -> None:
    create(engine, "timestamp", "'infinity'", "'-infinity'")

    assert changed(engine, entity(zone="UTC"), since=datetime.now(tz=UTC)) == ["1"]


@pytest.mark.parametrize(
    ("sql_type", "kind", "zone", "message"),
    [
        pytest.param("text", TimeKind.BY_TYPE, None, "is of type text, which does not say", id="t"),
        pytest.param("boolean", TimeKind.BY_TYPE, None, "does not say when", id="boolean"),
        pytest.param("time", TimeKind.BY_TYPE, None, "does not say when", id="time of day"),
        pytest.param("interval", TimeKind.BY_TYPE, None, "does not say when", id="interval"),
        pytest.param("uuid", TimeKind.BY_TYPE, None, "does not say when", id="uuid"),
        pytest.param("jsonb", TimeKind.BY_TYPE, None, "does not say when", id="jsonb"),
        pytest.param("timestamptz[]", TimeKind.BY_TYPE, None, "does not say when", id="array"),
        pytest.param("smallint", TimeKind.BY_TYPE, None, "does not say when", id="smallint"),
        pytest.param("timestamptz", LOCAL, "UTC", "which has its zone", id="zone twice"),
        pytest.param("timestamptz", SECONDS, None, "which has its zone", id="zone and epoch"),
        pytest.param("date", MILLISECONDS, None, "which is no number", id="day as a number"),
        pytest.param("bigint", LOCAL, "UTC", "epoch_seconds or kind", id="number as a local time"),
    ],
)
def test_what_cannot_say_when_a_row_changed_is_refused_before_the_first_read(
    engine: sa.Engine, sql_type: str, kind: TimeKind, zone: str | None, message: str
) -> None:
    create(engine, sql_type)

    with pytest.raises(SourceSchemaError, match=message):
        PostgresRowSource(engine).check_schema([entity(kind=kind, zone=zone)])


@pytest.mark.parametrize(
    ("sql_type", "value", "kind", "zone", "message"),
    [
        pytest.param("bigint", "42", TimeKind.BY_TYPE, None, "is 42, which as seconds", id="count"),
        pytest.param(
            "bigint", "extract(epoch FROM now())", MILLISECONDS, None, "as milliseconds", id="ms"
        ),
        pytest.param(
            "bigint", "extract(epoch FROM now()) * 1000", SECONDS, None, "as seconds", id="seconds"
        ),
        pytest.param(
            "bigint",
            "extract(epoch FROM now()) * 1000000",
            TimeKind.BY_TYPE,
            None,
            "as milliseconds",
            id="microseconds",
        ),
        pytest.param(
            "timestamp",
            "timezone('Asia/Tokyo', now())",
            LOCAL,
            "Europe/London",
            r"[89]\.\d h ahead of the server's clock",
            id="another zone",
        ),
    ],
)
def test_values_that_are_no_times_of_change_are_refused(
    engine: sa.Engine,
    *,
    sql_type: str,
    value: str,
    kind: TimeKind,
    zone: str | None,
    message: str,
) -> None:
    create(engine, sql_type, value)
    wanted = entity(kind=kind, zone=zone)

    with pytest.raises(SourceSchemaError, match=message):
        changed(engine, wanted, since=datetime.now(tz=UTC))
    with pytest.raises(SourceSchemaError, match=message):
        PostgresRowSource(engine).find_weaknesses([wanted])
