"""Dagster's folder, settings and tables."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.scheduler import DagsterDaemonScheduler
from sqlalchemy import Engine, event, text

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    SourceUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.defs.groups import LANE_TAG
from sync_pipeline.hosting.instance import instance_settings, open_instance, prepare_instance
from sync_pipeline.settings import (
    DatabaseUrl,
    HashingEmbedding,
    ScheduleSettings,
    Settings,
    SourceSettings,
    dagster_storage_url,
)
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.conftest import REPOSITORY


def settings_for(url: str, *, home: Path, **schedule: Any) -> Settings:
    return Settings(
        home=home,
        source=SourceSettings(url=DatabaseUrl(url)),
        embedding=HashingEmbedding(),
        schedule=ScheduleSettings(**schedule),
    )


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Installation:
    return open_installation(settings_for(database_url, home=tmp_path, max_concurrent_runs=7))


def test_the_file_at_the_top_is_what_is_copied() -> None:
    shipped = (REPOSITORY / "dagster.yaml").read_text(encoding="utf-8")

    assert instance_settings(Settings(), environment={}) == shipped


def test_only_the_limit_on_runs_is_changed_in_it() -> None:
    before = yaml.safe_load(instance_settings(Settings(), environment={}))
    more = Settings(schedule=ScheduleSettings(max_concurrent_runs=9))

    after = yaml.safe_load(instance_settings(more, environment={}))

    assert after["concurrency"]["runs"].pop("max_concurrent_runs") == 9
    assert before["concurrency"]["runs"].pop("max_concurrent_runs") == 4
    assert after == before


@pytest.mark.dagster
def test_dagster_accepts_every_setting(installation: Installation) -> None:
    with open_instance(installation, environment={}) as instance:
        queue = instance.get_concurrency_config().run_queue_config

        assert queue is not None
        assert queue.max_concurrent_runs == 7
        assert queue.tag_concurrency_limits == [
            {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
            {"key": LANE_TAG, "limit": 1},
        ]
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 82_800
        for daemon in ("schedules", "sensors", "backfills"):
            assert instance.get_settings(daemon) == {
                "use_threads": True,
                "num_workers": 4,
                "num_submit_workers": 4,
            }
        assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] == 60
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled
        assert isinstance(instance.scheduler, DagsterDaemonScheduler)
        assert instance.scheduler.max_tick_retries == 3


@pytest.mark.dagster
def test_tables_are_in_a_schema_of_their_own(installation: Installation, engine: Engine) -> None:
    with open_instance(installation, environment={}) as instance:
        instance.add_dynamic_partitions("scope", ["global"])

    with engine.connect() as connection:
        tables = text(
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 'runs'"
        )
        assert connection.scalars(tables).all() == ["dagster"]


@pytest.mark.dagster
def test_the_catalogue_is_not_read_again_for_every_event(installation: Installation) -> None:
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "pg_catalog" in statement:
            asked.append(statement)

    with open_instance(installation, environment={}) as instance:
        instance.add_dynamic_partitions("scope", ["global"])
        instance.get_run_records(limit=1)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            for _ in range(3):
                assert instance.has_dynamic_partition("scope", "global")
                assert instance.get_run_records(limit=1) == []
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    assert asked == []


@pytest.mark.dagster
def test_opening_leaves_the_environment_as_it_was(installation: Installation) -> None:
    before = dict(os.environ)

    with open_instance(installation, environment={}):
        during = dict(os.environ)

    assert during == before
    assert dict(os.environ) == before


def test_child_processes_are_told_where_everything_is(
    installation: Installation, tmp_path: Path
) -> None:
    variables = prepare_instance(installation, environment={})

    assert variables == {
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "SYNC_PIPELINE_DAGSTER_URL": installation.dagster_storage_url,
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    assert (tmp_path / "dagster" / "dagster.yaml").is_file()


def test_a_dagster_home_of_your_own_is_left_as_it_is(
    installation: Installation, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()

    variables = prepare_instance(installation, environment={"DAGSTER_HOME": str(mine)})

    assert variables["DAGSTER_HOME"] == str(mine)
    assert list(mine.iterdir()) == []
    assert not (tmp_path / "dagster").exists()


def test_preparing_again_writes_nothing(installation: Installation, tmp_path: Path) -> None:
    prepare_instance(installation, environment={})
    before = (tmp_path / "dagster" / "dagster.yaml").stat()

    prepare_instance(installation, environment={})

    after = (tmp_path / "dagster" / "dagster.yaml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_folder_that_cannot_be_written_is_named(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "dagster").write_text("a file, not a folder")

    with pytest.raises(ConfigurationError, match=r"folder .*dagster cannot be written"):
        prepare_instance(installation, environment={})


def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    installation: Installation,
) -> None:
    url = dagster_storage_url("postgresql://me:canary@127.0.0.1:1/history")
    object.__setattr__(installation, "dagster_storage_url", url)

    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1, database history") as raised:
        prepare_instance(installation, environment={})

    assert "canary" not in str(raised.value)


REFUSING = """
CREATE FUNCTION dagster.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'refused' USING ERRCODE = '{}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON dagster.dynamic_partitions
    EXECUTE FUNCTION dagster.refuse();
"""
READ_ONLY = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
END $$
"""


def add_partition(installation: Installation) -> None:
    with open_instance(installation, environment={}) as instance:
        instance.add_dynamic_partitions("scopes", ["acme"])


@pytest.mark.dagster
@pytest.mark.parametrize(
    ("refusing", "kind", "message"),
    [
        pytest.param(READ_ONLY, ConfigurationError, "accepts no writes", id="a standby"),
        pytest.param(
            REFUSING.format("42501"), ConfigurationError, "to the role: refused", id="no right"
        ),
        pytest.param(REFUSING.format("53100"), OutOfSpaceError, "is full", id="a full disk"),
    ],
)
def test_what_the_database_refuses_later_on_is_named_with_what_to_do(
    installation: Installation,
    engine: Engine,
    refusing: str,
    kind: type[SyncPipelineError],
    message: str,
) -> None:
    add_partition(installation)
    with engine.begin() as connection:
        connection.execute(text(refusing))

    with pytest.raises(kind, match=rf"Dagster's database at .* {message}") as raised:
        add_partition(installation)

    assert raised.value.remedy


@pytest.mark.dagster
def test_connections_that_were_closed_while_nobody_used_them_are_replaced(
    installation: Installation, engine: Engine
) -> None:
    others = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name NOT LIKE 'sync-pipeline%'"
    )
    with open_instance(installation, environment={}) as instance:
        instance.add_dynamic_partitions("scopes", ["acme"])
        instance.get_runs()
        instance.all_instigator_state()
        with engine.begin() as connection:
            closed = connection.scalar(others)
        time.sleep(1.1)

        found = instance.get_dynamic_partitions("scopes")
        runs = instance.get_runs()
        instigators = instance.all_instigator_state()

    assert closed == 3, "one of each storage"
    assert (found, runs, instigators) == (["acme"], [], [])
