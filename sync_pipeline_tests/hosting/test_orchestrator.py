"""Runs of the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import (
    SourceSchemaError,
    StoreUnavailableError,
)
from sync_pipeline.core.reports import Counts, ScopeReport
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.defs.io_managers import manifest_name
from sync_pipeline.defs.jobs import forget_partition
from sync_pipeline.engine.context import (
    RunOptions,
    SilentProgress,
    SyncContext,
    SyncOptions,
    never_stop,
)
from sync_pipeline.hosting.instance import open_instance
from sync_pipeline.hosting.orchestrator import DagsterOrchestrator, run_scopes
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.defs.conftest import set_rows
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.hosting.test_instance import settings_for
from sync_pipeline_tests.tracing.spans import Spans, is_inside

pytestmark = pytest.mark.dagster

ACME, GLOBEX, INITECH = Scope("acme"), Scope("globex"), Scope("initech")


def sync_scopes(
    instance: dg.DagsterInstance, sync: SyncContext, *scopes: Scope
) -> list[ScopeReport]:
    told: list[ScopeReport] = []
    reports = run_scopes(instance, sync, scopes, options=RunOptions(), on_report=told.append)
    assert told == reports
    return reports


def outages(world: World, count: int) -> None:
    """Let the next writes fail until no retry is left, once for each of ``count`` scopes."""
    for _ in range(6 * count):
        world.store.fail_next("upsert", StoreUnavailableError("down", retry_after_seconds=0.0))


def test_each_scope_is_a_run_of_its_own_in_the_order_given(
    world: World, instance: dg.DagsterInstance
) -> None:
    reports = sync_scopes(instance, world.sync, ACME, GLOBAL)

    runs = {record.dagster_run.run_id: record.dagster_run for record in instance.get_run_records()}
    assert [(report.scope_key, report.status, report.new) for report in reports] == [
        ("acme", "success", 3),
        ("global", "success", 2),
    ]
    tags = [runs[str(report.run_id)].tags for report in reports]
    assert [found["dagster/partition"] for found in tags] == ["acme", "global"]
    assert {found["sync_pipeline/origin"] for found in tags} == {"cli"}
    assert list(instance.get_dynamic_partitions("scope")) == ["acme", "global"]


def test_the_report_has_the_seconds_of_every_step(
    world: World, instance: dg.DagsterInstance
) -> None:
    (report,) = sync_scopes(instance, world.sync, ACME)

    seconds = report.seconds
    assert all((seconds.export, seconds.embed, seconds.upsert, seconds.cleanup))


def test_a_scope_that_fails_does_not_keep_the_others_from_being_synced(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)], globex=["x1"])
    sync_scopes(instance, world.sync, ACME)
    set_rows(world, acme=["new"], globex=["x1"])

    failed, succeeded = sync_scopes(instance, world.sync, ACME, GLOBEX)

    assert succeeded.status == "success"
    assert (failed.status, failed.new, failed.deleted) == ("failed", 1, 0)
    assert str(failed.error).startswith("refused to delete 30 of 31 points in scope 'acme'")
    assert "Traceback" not in str(failed.error)


def test_a_stop_ends_the_scope_in_flight_and_begins_no_other(
    world: World, instance: dg.DagsterInstance
) -> None:
    sync = replace(
        world.sync,
        options=SyncOptions(upsert_batch_size=1),
        should_stop=lambda: len(world.points) >= 1,
    )

    stopped, skipped = sync_scopes(instance, sync, ACME, GLOBAL)

    assert (stopped.status, skipped.status) == ("failed", "skipped")
    assert "after the batch in flight" in str(stopped.error)
    assert skipped.error == "not begun: asked to stop"
    assert len(world.points) == 1
    assert (stopped.stopped_reason, skipped.stopped_reason) == ("asked to stop", None)
    assert (stopped.new, stopped.embedded_texts, stopped.points_written) == (3, 3, 1)
    assert stopped.unknown == {
        "text": {"texts": 3, "unknown_texts": 0, "tokens": 9, "unknown_tokens": 0}
    }
    assert all((stopped.seconds.export, stopped.seconds.embed))


def test_a_stop_before_anything_was_read_is_reported_as_such(
    world: World, instance: dg.DagsterInstance
) -> None:
    looks = iter([False, True])
    sync = replace(world.sync, should_stop=lambda: next(looks))

    (report,) = sync_scopes(instance, sync, ACME)

    assert (report.status, report.stopped_reason) == ("failed", "asked to stop")
    assert report.numbers() == Counts().numbers()


def test_a_failed_scope_counts_the_steps_that_were_done(
    world: World, instance: dg.DagsterInstance
) -> None:
    outages(world, 1)

    (report,) = sync_scopes(instance, world.sync, ACME)

    assert (report.status, report.stopped_reason) == ("failed", None)
    assert (report.rows, report.new, report.embedded_texts) == (3, 3, 3)
    assert report.points_written == 0


def test_an_outage_ends_the_command_after_two_scopes(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=["a1"], globex=["x1"], initech=["i1"])
    outages(world, 2)

    reports = sync_scopes(instance, world.sync, ACME, GLOBEX, INITECH)

    assert [report.status for report in reports] == ["failed", "failed", "skipped"]
    assert reports[2].error == "not begun, for the 2 scopes before it failed alike: down"


def test_an_outage_that_passes_costs_one_scope(world: World, instance: dg.DagsterInstance) -> None:
    set_rows(world, acme=["a1"], globex=["x1"], initech=["i1"])
    outages(world, 1)

    reports = sync_scopes(instance, world.sync, ACME, GLOBEX, INITECH)

    assert [report.status for report in reports] == ["failed", "success", "success"]


def test_a_check_that_fails_makes_the_scope_fail(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.engine.questions.checks.NORM_TOLERANCE", -1.0)

    (report,) = sync_scopes(instance, world.sync, ACME)

    assert report.status == "failed"
    assert report.error == "synced, but a check of the index failed: vectors_are_valid"
    assert world.ids("acme") == ["a1", "a2", "a3"]


def test_a_defect_is_reported_without_a_traceback(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.store.fail_next("count_by_entity", KeyError("surprise"))

    (report,) = sync_scopes(instance, world.sync, ACME)

    assert report.status == "failed"
    assert str(report.error).startswith("not foreseen: KeyError; please report it")


@pytest.fixture
def materials(engine: Engine) -> Engine:
    """Source tables with two global rows and one of tenant ``acme``."""
    with engine.begin() as connection:
        for table in ("materials", "works"):
            connection.execute(
                text(
                    f"CREATE TABLE {table} (id text PRIMARY KEY, tenant_id text, "
                    "is_global boolean NOT NULL, name text, category text, supplier text, "
                    "unit text, price numeric, updated_at timestamptz)"
                )
            )
        connection.execute(
            text(
                "INSERT INTO materials (id, tenant_id, is_global, name) VALUES "
                "('g1', NULL, true, 'gypsum plaster'), ('g2', NULL, true, 'cement'), "
                "('a1', 'acme', false, 'steel bar')"
            )
        )
    return engine


def run_all(url: str, home: Path) -> list[ScopeReport]:
    return DagsterOrchestrator().run_scopes(
        settings_for(url, home=home),
        [GLOBAL, ACME],
        options=RunOptions(),
        progress=SilentProgress(),
        should_stop=never_stop,
        on_report=lambda _report: None,
    )


@pytest.mark.usefixtures("materials")
def test_with_postgresql_and_the_embedded_index_a_second_sync_has_nothing_to_do(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = run_all(database_url, tmp_path)
    second = run_all(database_url, tmp_path)

    installation = open_installation(settings_for(database_url, home=tmp_path))
    with open_instance(installation, environment={}) as instance:
        history = [record.dagster_run for record in instance.get_run_records()]
    assert [(report.status, report.new, report.unchanged) for report in first] == [
        ("success", 2, 0),
        ("success", 1, 0),
    ]
    assert [(report.status, report.new, report.unchanged) for report in second] == [
        ("success", 0, 2),
        ("success", 0, 1),
    ]
    assert {report.error for report in first + second} == {None}
    assert [run.status for run in history] == [dg.DagsterRunStatus.SUCCESS] * 4
    assert "dagster" not in capfd.readouterr().err.lower()


def test_a_source_without_the_tables_is_refused_before_any_run(
    database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceSchemaError, match="materials"):
        run_all(database_url, tmp_path)

    assert not (tmp_path / "dagster").exists()


def test_a_scope_that_was_removed_loses_its_partition_and_manifests(
    world: World, instance: dg.DagsterInstance
) -> None:
    sync_scopes(instance, world.sync, ACME, GLOBAL)
    name = manifest_name("stale_cleanup", partition_key="acme")
    before = world.staging.read_manifest(name)

    forget_partition(instance, world.sync, "acme")
    forget_partition(instance, world.sync, "never known")

    assert before is not None
    assert world.staging.read_manifest(name) is None
    assert instance.get_dynamic_partitions("scope") == ["global"]


def test_the_steps_of_a_run_are_one_trace_with_the_run_above_them(
    world: World, instance: dg.DagsterInstance
) -> None:
    spans = Spans()

    (report,) = sync_scopes(instance, replace(world.sync, tracer=spans.tracer), ACME)

    run = spans.one("run")
    steps = [span for span in spans.finished if span is not run]
    assert (run.attributes or {})["sync_pipeline.run_id"] == report.run_id
    assert [step.name for step in steps] == [
        "export", "compare", "embed", "seal", "upsert", "cleanup",
    ]  # fmt: skip
    assert all(is_inside(step, run) for step in steps)


def test_the_span_of_a_run_that_fails_says_so(world: World, instance: dg.DagsterInstance) -> None:
    spans = Spans()
    sync = replace(world.sync, tracer=spans.tracer)
    sync_scopes(instance, sync, ACME)
    world.remove("a1", "a2", "a3")

    sync_scopes(instance, sync, ACME)

    _, failed = spans.named("run")
    assert (failed.attributes or {})["error.type"] == "MassDeletionRefusedError"
