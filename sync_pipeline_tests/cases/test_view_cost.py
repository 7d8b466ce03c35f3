"""Many tenants with few rows in one large table whose id no unique index covers."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.sources.counting import count_rows
from sync_pipeline_tests.sources.feed_support import run_sql

LINE = Entity(name="line", table="lines", views=(("text", ("name",)),))


@pytest.fixture
def lines(engine: sa.Engine) -> sa.Engine:
    run_sql(
        engine,
        "CREATE TABLE lines (id bigint NOT NULL, tenant_id integer NOT NULL, is_global boolean "
        "NOT NULL DEFAULT false, name text NOT NULL, month date NOT NULL, PRIMARY KEY (id, month)) "
        "PARTITION BY RANGE (month)",
        "CREATE TABLE january PARTITION OF lines FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE february PARTITION OF lines FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "CREATE INDEX ON lines (tenant_id)",
        "INSERT INTO lines SELECT g, CASE WHEN g <= 40 THEN 1 + g % 20 ELSE 1000 END, false, "
        "'article ' || g, DATE '2026-01-05' + (g % 40)::int FROM generate_series(1, 40000) g",
        "ANALYZE",
    )
    return engine


def test_s68_two_rows_cost_two_rows(lines: sa.Engine) -> None:
    """No statement of a small tenant's export scans the table, whether ids are unique or not."""
    statements: list[tuple[str, object]] = []
    plans: list[str] = []

    @sa.event.listens_for(lines, "before_cursor_execute")
    def note(
        _connection: sa.Connection, _cursor: object, text: str, values: object, *_: object
    ) -> None:
        statements.append((text, values))

    with PostgresRowSource(lines).open_snapshot([LINE]) as snapshot:
        scope = Scope("1")
        counted = count_rows(snapshot, entity=LINE, scope=scope)
        doubled = snapshot.find_doubled(entity=LINE, scope=scope)
        read = [row for rows in snapshot.iter_rows(entity=LINE, scope=scope) for row in rows]
    sa.event.remove(lines, "before_cursor_execute", note)
    asked = [found for found in statements if "FROM public.lines" in found[0].replace('"', "")]
    with lines.connect() as connection:
        for text, values in asked:
            explained = connection.exec_driver_sql(f"EXPLAIN {text}", values)  # type: ignore[arg-type]
            plans.append("\n".join(explained.scalars()))

    assert (counted, len(read), doubled) == (2, 2, {})
    assert len(asked) == 3
    assert not [plan for plan in plans if "Seq Scan" in plan]
    assert len(statements) <= 16


def test_s68_ids_doubled_across_partitions_are_found(lines: sa.Engine) -> None:
    """Two rows of other months, of this tenant and of another."""
    run_sql(lines, "INSERT INTO lines VALUES (1, 1000, false, 'again', '2026-02-20')")

    with PostgresRowSource(lines).open_snapshot([LINE]) as snapshot:
        found = snapshot.find_doubled(entity=LINE, scope=Scope("2"))

    assert {row_id: dict(one.rows_by_scope) for row_id, one in found.items()} == {
        "1": {"1000": 1, "2": 1}
    }
