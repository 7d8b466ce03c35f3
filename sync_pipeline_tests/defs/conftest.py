"""A small installation of fakes, and runs of the job on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.engine.context import SyncContext
from sync_pipeline_tests.engine.world import World

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

EVERYONE = "everyone"
"""Stands for the global scope in ``set_rows``."""


def set_rows(world: World, **row_ids: list[str]) -> None:
    """Make these the only rows, by tenant."""
    world.source.tables["materials"] = []
    for tenant, ids in row_ids.items():
        is_global = tenant == EVERYONE
        world.put_many(*ids, tenant_id=None if is_global else tenant, is_global=is_global)


@pytest.fixture
def world() -> World:
    """Two global rows, three of tenant ``acme``, nothing synced yet."""
    world = World()
    set_rows(world, everyone=["g1", "g2"], acme=["a1", "a2", "a3"])
    return world


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_job(
    instance: dg.DagsterInstance,
    sync: SyncContext,
    *,
    scope_key: str,
    cleanup: dict[str, Any] | None = None,
    assets: list[str] | None = None,
    job_name: str = "sync_scope_job",
) -> dg.ExecuteInProcessResult:
    """Run a job of one scope; failures are in the result."""
    instance.add_dynamic_partitions(PARTITIONS_NAME, [scope_key])
    config: dict[str, Any] = dict(QUIET)
    if cleanup is not None:
        config["ops"] = {"stale_cleanup": {"config": cleanup}}
    job = build_definitions(sync=sync).resolve_job_def(job_name)
    return job.execute_in_process(
        instance=instance,
        partition_key=scope_key,
        run_config=config,
        raise_on_error=False,
        asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
    )


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of the materialisation that a run made, as plain values."""
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult, step: str) -> tuple[str, dict[str, Any]]:
    """Description and facts with which a step failed for good."""
    (event,) = [
        event for event in result.all_events if event.is_step_failure and event.step_key == step
    ]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description), {name: value.value for name, value in data.metadata.items()}
