"""Manifests between assets."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.core.reports import ScopeReport, StepSeconds
from sync_pipeline.defs.io_managers import Manifest, StagedManifestIOManager, manifest_name
from sync_pipeline.staging.parquet import ParquetStaging
from sync_pipeline_tests.defs.conftest import run_job
from sync_pipeline_tests.engine.world import World

REPORT = ScopeReport(
    scope_key="acme", status="success", rows=3, seconds=StepSeconds(export=0.5), error=None
)


def write(manager: StagedManifestIOManager, value: Manifest, *, key: str = "acme") -> None:
    with dg.build_output_context(
        partition_key=key,
        asset_key=dg.AssetKey("stale_cleanup"),
        asset_partition_key_range=dg.PartitionKeyRange(key, key),
        asset_partitions_def=dg.StaticPartitionsDefinition([key]),
    ) as context:
        manager.handle_output(context, value)


def read(
    manager: StagedManifestIOManager, asset: str = "stale_cleanup", *, key: str = "acme"
) -> Manifest:
    with dg.build_input_context(
        partition_key=key,
        asset_key=dg.AssetKey(asset),
        asset_partition_key_range=dg.PartitionKeyRange(key, key),
        asset_partitions_def=dg.StaticPartitionsDefinition([key]),
    ) as context:
        found = manager.load_input(context)
    assert not isinstance(found, int)
    return found


@pytest.fixture
def staging(tmp_path: Path) -> ParquetStaging:
    return ParquetStaging(str(tmp_path))


@pytest.mark.dagster
def test_every_result_of_a_run_reads_back_as_what_it_was(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme")
    manager = StagedManifestIOManager(world.sync.staging)

    for asset in ("exported_documents", "embedded_documents", "upserted_points", "stale_cleanup"):
        written, found = result.output_for_node(asset), read(manager, asset)

        assert type(found) is type(written)
        assert json.dumps(asdict(found)) == json.dumps(asdict(written))


def test_the_latest_result_replaces_the_one_before(staging: ParquetStaging) -> None:
    manager = StagedManifestIOManager(staging)
    write(manager, ScopeReport(scope_key="acme", status="failed"))

    write(manager, REPORT)

    assert read(manager) == REPORT


def test_scopes_do_not_share_results(staging: ParquetStaging) -> None:
    manager = StagedManifestIOManager(staging)
    write(manager, REPORT, key="acme")

    with pytest.raises(dg.Failure, match="no result of stale_cleanup for 'globex'"):
        read(manager, key="globex")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("../../etc", id="path upwards"),
        pytest.param("a/b//c", id="slashes"),
        pytest.param("ю" * 128, id="longer than a file name"),
        pytest.param("A", id="upper case"),
    ],
)
def test_any_scope_key_can_name_a_result(staging: ParquetStaging, key: str) -> None:
    manager = StagedManifestIOManager(staging)

    write(manager, REPORT, key=key)

    assert read(manager, key=key) == REPORT


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({"kind": "ScopeReport", "values": {"unheard_of": 1}}, id="a field too many"),
        pytest.param({"kind": "StagedExport", "values": {"entities": []}}, id="without counts"),
        pytest.param(
            {"kind": "StagedExport", "values": {"entities": [], "counts": 3, "seconds": 0.5}},
            id="counts of another form",
        ),
        pytest.param(
            {"kind": "AppliedChanges", "values": {"staged": {"entities": [], "rows": 3}}},
            id="with loose numbers",
        ),
        pytest.param({"kind": "Unheard", "values": {}}, id="another kind"),
    ],
)
def test_a_result_of_another_release_asks_for_a_new_run(
    staging: ParquetStaging, stored: dict[str, Any]
) -> None:
    staging.write_manifest(manifest_name("stale_cleanup", partition_key="acme"), stored)

    with pytest.raises(dg.Failure, match="another release; run the partition from") as raised:
        read(StagedManifestIOManager(staging))

    assert raised.value.allow_retries is False


def test_nothing_is_pickled(staging: ParquetStaging, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise AssertionError("pickled")

    monkeypatch.setattr(pickle, "dump", refuse)
    monkeypatch.setattr(pickle, "dumps", refuse)
    manager = StagedManifestIOManager(staging)

    write(manager, REPORT)

    assert read(manager) == REPORT
