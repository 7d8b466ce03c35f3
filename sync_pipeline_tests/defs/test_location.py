"""What Dagster sees, and how it comes to see it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.definitions.partitions.utils.base import INVALID_PARTITION_SUBSTRINGS

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.scope import FORBIDDEN_IN_KEYS, why_not_a_tenant_id
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.run_history import JOB_NAMES
from sync_pipeline.settings import ScheduleSettings, Settings, SyncSettings

SNAPSHOT: Final = Path(__file__).with_name("definitions.json")
"""To renew it: ``python -m sync_pipeline_tests.defs.test_location``; then read the difference."""


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Everything that Dagster resolves, as JSON values."""
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    return {
        "assets": {
            key.to_user_string(): {
                "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
                "partitions": getattr(graph.get(key).partitions_def, "name", None),
                "group": graph.get(key).group_name,
                "kinds": sorted(graph.get(key).kinds),
                "code_version": graph.get(key).code_version,
                "description": graph.get(key).description,
            }
            for key in sorted(graph.materializable_asset_keys)
        },
        "checks": {
            key.name: {
                "asset": key.asset_key.to_user_string(),
                "is_blocking": graph.get_check_spec(key).blocking,
            }
            for key in sorted(graph.asset_check_keys, key=lambda key: key.name)
        },
        "jobs": {
            job.name: {
                "partitions": getattr(job.partitions_def, "name", None),
                "executor": job.executor_def.name,
                "steps": sorted(node.name for node in job.graph.nodes),
                "config": dict(job.run_config or {}).get("ops", {}),
            }
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: {
                "job": schedule.job_name,
                "cron": schedule.cron_schedule,
                "timezone": schedule.execution_timezone,
                "status": schedule.default_status.value,
            }
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: {
                "jobs": [target.job_name for target in sensor.targets],
                "minimum_interval_seconds": sensor.minimum_interval_seconds,
                "status": sensor.default_status.value,
            }
            for sensor in repository.sensor_defs
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def rendered() -> str:
    return json.dumps(describe(build_definitions()), indent=2, ensure_ascii=False) + "\n"


def test_what_dagster_sees_is_what_the_snapshot_says() -> None:
    assert rendered() == SNAPSHOT.read_text(encoding="utf-8")


def test_times_come_from_the_settings() -> None:
    settings = Settings(
        schedule=ScheduleSettings(
            nightly="30 1 * * *", timezone="Europe/Prague", run_retention_days=3
        ),
        sync=SyncSettings(vanished_grace_days=30),
    )

    seen = describe(build_definitions(settings=settings))

    nightly = seen["schedules"]["nightly_sync_schedule"]
    config = seen["jobs"]["maintenance_job"]["config"]
    assert (nightly["cron"], nightly["timezone"]) == ("30 1 * * *", "Europe/Prague")
    for op in ("remove_vanished_scopes", "remove_orphaned_points"):
        assert config[op]["config"]["grace_days"] == 30
    assert config["remove_old_runs"]["config"]["successful_days"] == 3


def test_without_a_nightly_time_there_is_no_nightly_schedule() -> None:
    settings = Settings(schedule=ScheduleSettings(nightly=None))

    seen = describe(build_definitions(settings=settings))

    assert list(seen["schedules"]) == ["maintenance_schedule"]


def run_bare(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with an empty environment in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_location_loads_in_a_fresh_interpreter_with_an_empty_environment(
    tmp_path: Path,
) -> None:
    script = """
import sys
from sync_pipeline.definitions import defs
print(sorted(job.name for job in defs().get_repository_def().get_all_jobs()))
heavy = ["torch", "qdrant_client", "qdrant_edge", "sentence_transformers", "fastapi", "typer"]
print([name for name in heavy if name in sys.modules])
"""

    loaded = run_bare(script, tmp_path)

    assert loaded.stderr == ""
    assert loaded.stdout.splitlines() == [
        str(["__ASSET_JOB", *sorted(JOB_NAMES)]),
        "[]",
    ]
    assert list(tmp_path.iterdir()) == []


def test_importing_reads_no_settings_and_loading_shows_every_mistake_in_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "sync_pipeline.yaml").write_text("schedule: {nightly: never}\nsink: {}\n")
    script = """
from sync_pipeline.definitions import defs
print("imported")
defs()
"""

    loaded = run_bare(script, tmp_path)

    assert loaded.stdout == "imported\n"
    assert "SettingsError: 2 mistakes in the settings" in loaded.stderr


@pytest.mark.slow
def test_dagster_finds_the_definitions_in_the_module(tmp_path: Path) -> None:
    command = ["dagster", "definitions", "validate", "-m", "sync_pipeline.definitions"]

    validated = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert validated.returncode == 0
    assert "Validation successful for code location sync_pipeline.definitions" in validated.stdout


@pytest.mark.parametrize("part", INVALID_PARTITION_SUBSTRINGS, ids=repr)
def test_a_tenant_id_that_dagster_refuses_as_a_partition_key_is_no_tenant_id(part: str) -> None:
    reason = why_not_a_tenant_id(f"a{part}b")

    assert reason is not None


def test_the_forbidden_parts_are_dagsters_besides_control_characters() -> None:
    printable = tuple(part for part in INVALID_PARTITION_SUBSTRINGS if part.isprintable())

    assert printable == FORBIDDEN_IN_KEYS


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered(), encoding="utf-8")


def test_every_run_of_an_environment_is_tagged_with_its_name() -> None:
    settings = Settings().located(NamedEnvironment(name="prod"))
    repository = build_definitions(settings=settings).get_repository_def()

    tags = {
        job.name: job.run_tags.get("sync_pipeline/environment")
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }

    assert tags == dict.fromkeys(
        ("sync_scope_job", "sync_big_scope_job", "sync_group_job", "maintenance_job"), "prod"
    )


def test_a_sensor_of_an_environment_asks_for_tagged_jobs() -> None:
    settings = Settings().located(NamedEnvironment(name="prod"))
    repository = build_definitions(settings=settings).get_repository_def()

    jobs = {target.job_name for sensor in repository.sensor_defs for target in sensor.targets}

    assert all(
        repository.get_job(name).run_tags["sync_pipeline/environment"] == "prod" for name in jobs
    )
