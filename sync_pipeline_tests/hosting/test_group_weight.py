"""What a group of small tenants leaves in Dagster's database, as PostgreSQL counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.hosting.instance import open_instance
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.defs.test_groups import all_materialized, fill, run_group, statuses
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.hosting.test_instance import settings_for

TENANTS: Final = 60
MAX_BYTES: Final = 10_000
"""Per tenant, tables and indexes together: the aim of grouping."""
MAX_EVENTS: Final = 3
"""Per tenant, of every sync but the first; see decision 0019."""

TABLES: Final = (
    "event_logs",
    "runs",
    "run_tags",
    "asset_keys",
    "asset_event_tags",
    "dynamic_partitions",
)
"""Those that grow with runs and partitions."""


def weight(engine: Engine) -> tuple[int, int]:
    """Events, and bytes of the tables; without the pages that PostgreSQL keeps in reserve."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        size = 0
        for name in TABLES:
            connection.execute(text(f"VACUUM FULL dagster.{name}"))
            size += connection.scalar(text(f"SELECT pg_total_relation_size('dagster.{name}')")) or 0
        return connection.scalar(text("SELECT count(*) FROM dagster.event_logs")) or 0, size


@pytest.mark.dagster
@pytest.mark.slow
def test_a_tenant_of_a_group_costs_few_events_and_at_most_10_kb(
    world: World, database_url: str, tmp_path: Path, engine: Engine
) -> None:
    installation = open_installation(settings_for(database_url, home=tmp_path))
    with open_instance(installation, environment={}) as instance:
        keys = fill(world, TENANTS + 3)
        # Gives every index its first page.
        assert run_group(instance, world, keys[:3]).success
        empty = weight(engine)
        assert run_group(instance, world, keys[3:]).success
        first = weight(engine)
        for key in keys:
            world.put(f"{key}-0", price=99)
        assert run_group(instance, world, keys[3:]).success
        second = weight(engine)
        assert statuses(instance, keys) == all_materialized(keys)

    assert (first[0] - empty[0]) / TENANTS < 4.5
    assert (first[1] - empty[1]) / TENANTS <= MAX_BYTES
    assert (second[0] - first[0]) / TENANTS <= MAX_EVENTS / 2
    assert (second[1] - first[1]) / TENANTS <= MAX_BYTES / 2
