"""Real runs of the job of a landing: a real database, and an origin in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    RateLimitedError,
)
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.landing_names import landing_of_job
from sync_pipeline.defs.landing_reports import read_report, shown
from sync_pipeline.defs.run_history import RunRetention, delete_old_runs, is_ours
from sync_pipeline.engine.context import SyncContext, utc_now
from sync_pipeline.processes import process_name
from sync_pipeline_tests.defs.conftest import QUIET, failure_of, metadata_of, run_job
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.installed import landed, landing_settings
from sync_pipeline_tests.landing.site import LandingSite, products

pytestmark = pytest.mark.dagster

ASSET, JOB = "landed_products", "land_products_job"


@pytest.fixture
def site(engine: Engine) -> LandingSite:
    return LandingSite(engine, FakeOrigin.of(*products(25)))


@pytest.fixture
def sync(world: World, site: LandingSite) -> SyncContext:
    return landed(world.sync, site)


def run_landing(
    instance: dg.DagsterInstance, sync: SyncContext, **config: Any
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings=landing_settings(), sync=sync)
    return definitions.resolve_job_def(JOB).execute_in_process(
        instance=instance,
        run_config={**QUIET, "ops": {ASSET: {"config": config}}},
        raise_on_error=False,
    )


def retried(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_events)


def test_a_run_lands_every_record(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    result = run_landing(instance, sync)

    assert result.success
    assert site.ids() == sorted(site.origin.records)
    assert site.origin.is_closed


def test_the_metadata_are_numbers_that_plot(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    run_landing(instance, sync)
    site.origin.put(*products(26))
    del site.origin.records["p00003"]
    site.origin.records["bad"] = {"id": None, "name": "no id"}

    found = metadata_of(run_landing(instance, sync), ASSET)

    whole = {
        "fetched": 26, "rows": 26, "new": 1, "changed": 0, "unchanged": 24, "deleted": 0,
        "absent": 1, "waiting": 1, "repeated": 0, "rejected": 1, "requests": 3, "pages": 3,
        "mended_seams": 0, "dagster/row_count": 26,
    }  # fmt: skip
    seconds = ("waited_seconds", "fetch_seconds", "apply_seconds", "records_per_second")
    assert {name: found[name] for name in whole} == whole
    assert all(type(found[name]) is int for name in whole)
    assert all(type(found[name]) is float for name in seconds)
    assert found["rejected_by_reason"] == {"no_id": 1}
    assert "1 records had no id" in found["notes"][0]
    assert (found["mode"], found["complete"]) == ("full", False)


def test_a_report_is_read_again_from_its_metadata() -> None:
    report = LandingReport(
        name="products",
        mode="full",
        run_id="run-1",
        pass_id="pass-1",
        resumed=True,
        fetched=7,
        rows=5,
        rejected={"no_id": 2},
        unknown_fields=("colour",),
        requests=3,
        waited_seconds=1.5,
        fetch_seconds=2.0,
        notes=("a note",),
    )

    assert read_report(shown(report), name="products", run_id="run-1") == report


def test_an_unchanged_incremental_run_changes_no_row(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    site.origin.traits = replace(site.origin.traits, tells_changes=True)
    run_landing(instance, sync)
    before = site.marks()

    found = metadata_of(run_landing(instance, sync, mode="incremental"), ASSET)

    assert (found["mode"], found["new"], found["changed"]) == ("incremental", 0, 0)
    assert site.marks() == before


def test_refused_deletes_are_shown_and_can_be_approved_exactly(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    site.origin.put(*products(40))
    run_landing(instance, sync)
    site.origin.records = {str(row["id"]): row for row in products(10)}

    refused = run_landing(instance, sync)
    wrong = run_landing(instance, sync, approve_deletions=29)
    approved = run_landing(instance, sync, approve_deletions=30)

    message, facts = failure_of(refused, ASSET)
    assert "refused to delete 30 of 40 rows of landing.products" in message
    assert "`sync-pipeline land products --approve-deletions 30`" in message
    assert facts["error"] == "LandingDeletionsRefusedError"
    assert (facts["deletions"], facts["rows"], facts["allowed"]) == (30, 40, 20)
    assert not wrong.success
    assert metadata_of(approved, ASSET)["deleted"] == 30
    assert len(site.ids()) == 10


def test_a_limit_outside_0_to_1_is_refused_before_anything_is_asked(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    result = run_landing(instance, sync, max_deleted_fraction=2.0)

    message, _ = failure_of(result, ASSET)
    assert message == "the run config cannot be used: max_deleted_fraction lies between 0 and 1"
    assert site.origin.pages_cut == 0


def test_a_wrong_setting_is_not_tried_again(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    def refuse(_: int) -> None:
        raise OriginConfigurationError("401", landing="products", remedy="Set ERP_TOKEN.")

    site.origin.before_page = refuse

    result = run_landing(instance, sync)

    message, facts = failure_of(result, ASSET)
    assert message == "landing 'products': 401 Set ERP_TOKEN."
    assert (facts["error"], retried(result)) == ("OriginConfigurationError", 0)


def test_an_outage_is_tried_again_where_it_stopped(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    failures = iter([True, False])

    def fail_once(page: int) -> None:
        if page == 2 and next(failures):
            raise OriginUnavailableError("503", landing="products", retry_after_seconds=0.0)

    site.origin.before_page = fail_once

    result = run_landing(instance, sync)

    assert retried(result) == 1
    found = metadata_of(result, ASSET)
    assert (found["fetched"], found["pages"], found["resumed"]) == (25, 3, True)
    assert site.origin.pages_cut == 3


def test_a_wait_of_an_hour_ends_the_run_and_is_recorded(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    def refuse(page: int) -> None:
        if page == 2:
            raise RateLimitedError("asked to wait for an hour", retry_after_seconds=3600.0)

    site.origin.before_page = refuse

    result = run_landing(instance, sync)

    _, facts = failure_of(result, ASSET)
    record = site.record()
    assert (facts["error"], retried(result)) == ("RateLimitedError", 0)
    assert record.not_before is not None
    assert record.open_pass is not None
    assert record.open_pass.pages == 1


def test_a_stop_ends_the_run_after_its_page_and_the_next_one_goes_on(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    stopping = replace(sync, should_stop=lambda: site.origin.pages_cut >= 1)

    stopped = run_landing(instance, stopping)
    again = run_landing(instance, sync)

    message, facts = failure_of(stopped, ASSET)
    assert "was stopped after a page; the next run goes on there" in message
    assert facts == {"error": "StoppedError", "stopped_reason": "asked to stop"}
    assert retried(stopped) == 0
    assert metadata_of(again, ASSET)["resumed"] is True
    assert site.origin.pages_cut == 3


def test_the_check_says_how_old_the_last_complete_pass_is(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    fresh = run_landing(instance, sync)
    site.sql("UPDATE sync_pipeline.landing_cursor SET complete_at = now() - interval '50 h'")
    site.origin.traits = replace(site.origin.traits, tells_changes=True)

    old = run_landing(instance, sync, mode="incremental")

    (first,), (second,) = (it.get_asset_check_evaluations() for it in (fresh, old))
    assert old.success
    assert (first.check_name, first.passed) == ("landing_is_fresh", True)
    assert (second.passed, second.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert second.description == "the last complete pass began 50.0 h ago; 48 h are allowed"
    assert second.metadata["fresh_seconds"].value == 172_800.0


def test_a_failed_landing_keeps_no_sync_from_running(
    world: World, site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    def refuse(_: int) -> None:
        raise OriginConfigurationError("401", landing="products", remedy="Set ERP_TOKEN.")

    site.origin.before_page = refuse
    failed = run_landing(instance, sync)

    synced = run_job(instance, sync, scope_key="acme")

    assert (failed.success, synced.success) == (False, True)
    assert world.ids("acme") == ["a1", "a2", "a3"]


def test_a_sync_can_run_downstream_of_a_landing(
    sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    run_landing(instance, sync)
    definitions = build_definitions(settings=landing_settings(), sync=sync)
    instance.add_dynamic_partitions("scope", ["acme"])

    result = definitions.resolve_job_def("sync_scope_job").execute_in_process(
        instance=instance, partition_key="acme", run_config=QUIET
    )

    (event,) = result.asset_materializations_for_node("exported_documents")
    assert result.success
    assert event.tags is not None
    assert "dagster/input_data_version/landed_products" in event.tags


def test_settings_for_one_machine_land_nothing_from_several(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    unfit = OriginConfigurationError("unfit", landing="products", remedy="Set source.url.")

    result = run_landing(instance, replace(sync, unfit=unfit))

    message, _ = failure_of(result, ASSET)
    assert message == "landing 'products': unfit Set source.url."
    assert site.origin.pages_cut == 0


def test_a_run_without_landings_says_which_is_missing(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_landing(instance, world.sync)

    message, facts = failure_of(result, ASSET)
    assert message.startswith("the settings have no landing 'products'")
    assert facts["error"] == "UnknownLandingError"


def test_the_lease_of_another_run_is_waited_for(
    site: LandingSite, sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    site.land()
    assert sync.landings is not None
    sync.landings.store.acquire("products", owner=f"{process_name()}|other", ttl_seconds=3.0)

    result = run_landing(instance, sync)

    assert result.success
    assert retried(result) == 0


def test_the_last_run_of_a_landing_stays_in_the_history(
    sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    run_landing(instance, sync)
    last = run_landing(instance, sync)
    next_year = utc_now() + timedelta(days=365)

    report = delete_old_runs(instance, now=next_year, retention=RunRetention())

    assert (report.successful_runs, report.kept_as_latest) == (1, 1)
    assert [run.run_id for run in instance.get_runs()] == [last.run_id]


def test_runs_of_landings_give_signs_of_life(
    sync: SyncContext, instance: dg.DagsterInstance
) -> None:
    run_landing(instance, sync)
    (run,) = instance.get_runs()

    assert is_ours(run)
    assert landing_of_job(run.job_name) == "products"
    assert landing_of_job("sync_scope_job") is None
