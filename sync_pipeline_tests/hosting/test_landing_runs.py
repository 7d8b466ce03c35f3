"""Landings of the command line, recorded in Dagster's history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import (
    OriginConfigurationError,
    RateLimitedError,
    SourceUnavailableError,
)
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.defs.dagster_private import NOT_FINISHED_STATUSES
from sync_pipeline.engine.context import SilentProgress, SyncContext, never_stop
from sync_pipeline.engine.landing.land import LandRequest
from sync_pipeline.hosting.automation import examine_automation
from sync_pipeline.hosting.landing_runs import run_landings
from sync_pipeline.hosting.orchestrator import DagsterOrchestrator
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.hosting.test_instance import settings_for
from sync_pipeline_tests.landing.installed import landed, landing_settings
from sync_pipeline_tests.landing.site import PRODUCTS, LandingSite, products
from sync_pipeline_tests.tracing.spans import Spans

pytestmark = pytest.mark.dagster

WORKS = replace(PRODUCTS, name="works", table="landing.works")


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(25)))


@pytest.fixture
def works(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(3)), WORKS)


@pytest.fixture
def sync(world: World, site: LandingSite, works: LandingSite) -> SyncContext:
    return landed(world.sync, site, works)


def land_both(
    instance: dg.DagsterInstance,
    sync: SyncContext,
    *,
    environment: NamedEnvironment | None = None,
) -> list[LandingReport]:
    told: list[LandingReport] = []
    reports = run_landings(
        instance,
        sync,
        landing_settings("products", "works").landings,
        request=LandRequest(),
        on_report=told.append,
        environment=environment,
    )
    assert told == reports
    return reports


def refuse(site: LandingSite, error: Exception, *, page: int = 1) -> None:
    def fail(number: int) -> None:
        if number == page:
            raise error

    site.origin.before_page = fail


def test_each_landing_is_a_run_of_its_own_in_the_order_given(
    sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    reports = land_both(instance, sync, environment=NamedEnvironment(name="prod"))

    runs = {run.run_id: run for run in instance.get_runs()}
    assert [(it.name, it.status, it.fetched, it.new) for it in reports] == [
        ("products", "success", 25, 25),
        ("works", "success", 3, 3),
    ]
    assert [runs[str(it.run_id)].job_name for it in reports] == [
        "land_products_job",
        "land_works_job",
    ]
    tags = [runs[str(it.run_id)].tags for it in reports]
    assert {it["sync_pipeline/origin"] for it in tags} == {"cli"}
    assert {it["sync_pipeline/environment"] for it in tags} == {"prod"}
    assert all(it.fetch_seconds and it.apply_seconds for it in reports)


def test_a_landing_that_fails_keeps_no_other_from_being_tried(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    refuse(site, OriginConfigurationError("401", landing="products", remedy="Log in."), page=2)

    failed, succeeded = land_both(instance, sync)

    assert (failed.status, succeeded.status) == ("failed", "success")
    assert failed.error == "landing 'products': 401 Log in."
    assert (failed.fetched, failed.pages, failed.rows) == (10, 1, 0)


def test_a_database_that_is_away_is_not_tried_with_every_landing(
    site: LandingSite, works: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    refuse(site, SourceUnavailableError("the database is away", retry_after_seconds=0.0))

    failed, skipped = land_both(instance, sync)

    assert (failed.status, skipped.status) == ("failed", "failed")
    assert "not begun" in str(skipped.error)
    assert "the database is away" in str(skipped.error)
    assert works.origin.pages_cut == 0


def test_a_landing_that_was_asked_to_wait_is_deferred(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    refuse(site, RateLimitedError("asked to wait", retry_after_seconds=3600), page=3)

    deferred, _ = land_both(instance, sync)

    assert (deferred.status, deferred.error) == ("deferred", "asked to wait")
    assert (deferred.fetched, deferred.pass_id is None) == (20, False)


def test_a_stop_ends_the_landing_in_flight_and_begins_no_other(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    stopping = replace(sync, should_stop=lambda: site.origin.pages_cut >= 2)

    stopped, skipped = land_both(instance, stopping)

    assert (stopped.status, stopped.fetched) == ("stopped", 20)
    assert (skipped.status, skipped.error) == ("stopped", "not begun: asked to stop")
    assert not instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))


def test_an_old_complete_pass_does_not_fail_a_run(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    site.landing = replace(PRODUCTS, fresh_seconds=0.0)
    assert sync.landings is not None
    sync = replace(sync, landings=replace(sync.landings, landings=(site.landing, WORKS)))

    old, _ = land_both(instance, sync)

    assert (old.status, old.error) == ("success", None)


def test_a_run_has_a_span_that_names_its_landing(
    sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    spans = Spans()

    land_both(instance, replace(sync, tracer=spans.tracer))

    runs = [span.attributes or {} for span in spans.finished]
    named = {facts.get("sync_pipeline.landing") for facts in runs}
    assert {"products", "works"} <= named


@pytest.fixture
def settings(database_url: str, tmp_path: Path, engine: Engine) -> Settings:
    """An installation whose landing reads the table of another loader."""
    plain = settings_for(database_url, home=tmp_path)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA raw")
        connection.exec_driver_sql("CREATE TABLE raw.products (id text, name text, price numeric)")
        connection.exec_driver_sql("INSERT INTO raw.products VALUES ('a', 'plaster', 2.5)")
    return plain.model_copy(update={"landings": landing_settings().landings})


def test_it_lands_what_the_settings_name(settings: Settings, engine: Engine) -> None:
    (report,) = DagsterOrchestrator().run_landings(
        settings,
        ["products"],
        request=LandRequest(),
        progress=SilentProgress(),
        should_stop=never_stop,
        on_report=lambda _: None,
    )

    assert (report.status, report.new) == ("success", 1)
    assert LandingSite(engine).ids() == ["a"]


def test_doctor_looks_at_every_landing_and_hides_no_other_finding(
    settings: Settings, engine: Engine
) -> None:
    sound = {it.name: it for it in open_installation(settings).doctor()}
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE raw.products")

    broken = {it.name: it for it in open_installation(settings).doctor()}

    assert sound["landing products"].ok
    assert "column price (numeric)" in sound["landing products"].detail
    assert "lands in landing.products" in sound["landing products"].detail
    assert not broken["landing products"].ok
    assert broken.keys() == sound.keys()
    assert [name for name in sound if sound[name].ok != broken[name].ok] == ["landing products"]


def test_schedules_of_landings_that_are_off_are_named(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = {"land_products_full_schedule", "deferred_landings_sensor"}
    monkeypatch.setattr("sync_pipeline.hosting.automation.stopped_names", lambda _: off)
    settings = landing_settings("products", schedule={"full": "0 1 * * *"})

    finding = examine_automation(instance, settings)
    without = examine_automation(instance, Settings())

    assert without.ok
    assert "products is not landed by itself (full)" in finding.detail
    assert "cli schedule start land_products_full_schedule" in finding.fix
    assert "cli sensor start deferred_landings_sensor" in finding.fix
