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

TENANTS: Final = 150
MAX_BYTES: Final = 10_000
"""Per tenant, tables and indexes together: the aim of grouping."""
MAX_EVENTS: Final = 3
"""Per tenant, of every sync but the first; see decision 0019."""

_WEIGHT: Final = """
SELECT (SELECT count(*) FROM dagster.event_logs), sum(pg_total_relation_size(oid))
FROM pg_class
WHERE relnamespace = 'dagster'::regnamespace AND relkind = 'r' AND relname IN (
    'event_logs', 'runs', 'run_tags', 'asset_keys', 'asset_event_tags', 'dynamic_partitions')
"""


def weight(engine: Engine) -> tuple[int, int]:
    """Events, and bytes of the tables that grow with runs and partitions."""
    with engine.connect() as connection:
        events, size = connection.execute(text(_WEIGHT)).one()
        return int(events), int(size)


@pytest.mark.dagster
@pytest.mark.slow
def test_a_tenant_of_a_group_costs_few_events_and_at_most_10_kb(
    world: World, database_url: str, tmp_path: Path, engine: Engine
) -> None:
    installation = open_installation(settings_for(database_url, home=tmp_path))
    with open_instance(installation, environment={}) as instance:
        keys = fill(world, TENANTS)
        empty = weight(engine)
        assert run_group(instance, world, keys).success
        first = weight(engine)
        for key in keys:
            world.put(f"{key}-0", price=99)
        assert run_group(instance, world, keys).success
        second = weight(engine)
        assert statuses(instance, keys) == all_materialized(keys)

    assert (first[0] - empty[0]) / TENANTS < 4.5
    assert (first[1] - empty[1]) / TENANTS <= MAX_BYTES
    assert (second[0] - first[0]) / TENANTS <= MAX_EVENTS / 2
    assert (second[1] - first[1]) / TENANTS <= MAX_BYTES / 2
