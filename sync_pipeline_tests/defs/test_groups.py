"""Many small scopes in one run: what each costs, and that each is on its own all the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._serdes import serialize_value

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.errors import PermanentError, StoreUnavailableError
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.scope import Scope
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.groups import LANE_TAG, group_request, sync_group_job
from sync_pipeline.defs.jobs import ASSETS
from sync_pipeline.defs.partitions import scope_partitions
from sync_pipeline.defs.recording import record_killed
from sync_pipeline.defs.run_history import RunRetention, delete_old_runs, iter_failed_runs
from sync_pipeline.defs.sensors import changed_rows_sensor, retry_failed_sensor
from sync_pipeline.settings import ScheduleSettings
from sync_pipeline_tests.defs.conftest import QUIET, run_job, set_rows
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed

pytestmark = pytest.mark.dagster

MAX_EVENTS = 3
MAX_BYTES = 10_000
"""Per tenant, of a sync that is not its first; see decision 0019."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One with files: sensors open their own from its reference."""
    with dg.instance_for_test() as instance:
        yield instance


def fill(world: World, count: int, *, rows: int = 2) -> list[str]:
    """Make so many tenants the only ones; their keys."""
    keys = [f"t{number:03}" for number in range(count)]
    set_rows(world, **{key: [f"{key}-{row}" for row in range(rows)] for key in keys})
    return keys


def config(keys: Sequence[str], **more: Any) -> dict[str, Any]:
    scopes = [Scope.from_key(key) for key in keys]
    return {
        **dict(group_request(scopes, priority=0, policy=GroupPolicy(), **more).run_config or {}),
        **QUIET,
    }


def run_group(
    instance: dg.DagsterInstance, world: World, keys: Sequence[str], **more: Any
) -> dg.ExecuteInProcessResult:
    """Run ``sync_group_job``; failures are in the result."""
    job = build_definitions(sync=world.sync).resolve_job_def(sync_group_job.name)
    return job.execute_in_process(
        run_config=config(keys, **more), instance=instance, raise_on_error=False
    )


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description), {name: value.value for name, value in data.metadata.items()}


def statuses(instance: dg.DagsterInstance, keys: Sequence[str]) -> dict[str, set[str]]:
    """How the partition page shows each asset of these scopes."""
    found: dict[str, set[str]] = {}
    for asset in ASSETS:
        shown = instance.get_status_by_partition(asset.key, list(keys), scope_partitions) or {}
        for key in keys:
            status = shown.get(key)
            found.setdefault(key, set()).add("missing" if status is None else status.value)
    return found


def all_materialized(keys: Sequence[str]) -> dict[str, set[str]]:
    return {key: {"MATERIALIZED"} for key in keys}


def recorded(world: World, run_id: str) -> dict[str, SyncRun]:
    return {run.scope_key: run for run in world.runs.get_many([run_id])}


def weigh(instance: dg.DagsterInstance, run_id: str, *, tenants: int) -> tuple[float, float]:
    """Events and bytes of them that a run left per tenant."""
    events = instance.all_logs(run_id)
    return len(events) / tenants, sum(len(serialize_value(event)) for event in events) / tenants


# --- what it costs ----------------------------------------------------------------------


def test_a_group_costs_few_events_and_bytes_per_tenant_and_the_partition_page_is_right(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 40)

    first = run_group(instance, world, keys)
    shown_first = statuses(instance, keys)
    for key in keys:
        world.put(f"{key}-0", price=99)
    second = run_group(instance, world, keys)

    assert first.success
    assert second.success
    assert shown_first == statuses(instance, keys) == all_materialized(keys)
    events, size = weigh(instance, second.run_id, tenants=40)
    assert events <= MAX_EVENTS / 2
    assert size <= MAX_BYTES / 4
    # The first time each of four assets needs an event of its own, or would be shown as missing.
    events, size = weigh(instance, first.run_id, tenants=40)
    assert 4 <= events <= 4.5
    assert size <= MAX_BYTES
    assert all(world.is_clean(key) for key in keys)
    run = recorded(world, second.run_id)[keys[0]]
    assert (run.status, run.mode, run.counts.payload_changed) == ("success", "full", 1)


def test_a_partition_that_a_run_of_its_own_left_as_failed_is_right_after_a_group(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.store.fail_next("iter_digests", PermanentError("no such collection"))
    assert not run_job(instance, world.sync, scope_key="acme").success
    before = statuses(instance, ["acme"])["acme"]

    assert run_group(instance, world, ["acme", "global"]).success

    assert before == {"MATERIALIZED", "FAILED"}
    assert statuses(instance, ["acme", "global"]) == {
        "acme": {"MATERIALIZED"},
        "global": {"MATERIALIZED"},
    }


# --- each on its own --------------------------------------------------------------------


def spoil(world: World, instance: dg.DagsterInstance, keys: Sequence[str], *bad: str) -> None:
    """Sync all, then let the bad ones lose more rows than a run may delete."""
    for key in bad:
        world.put_many(*(f"{key}-more-{row}" for row in range(30)), tenant_id=key)
    assert run_group(instance, world, keys).success
    for key in bad:
        world.remove(*(f"{key}-more-{row}" for row in range(30)))
    for key in keys:
        world.put(f"{key}-0", price=77)


def test_a_bad_tenant_fails_alone_and_is_named(world: World, instance: dg.DagsterInstance) -> None:
    keys = fill(world, 6)
    spoil(world, instance, keys, "t002")

    result = run_group(instance, world, keys)

    assert not result.success
    message, facts = failure_of(result)
    assert message.startswith("1 of 6 scopes of this group failed (5 are in step):\n  - 't002': ")
    assert "refused to delete 30 of 32 points" in message
    assert "re-execute this run from failure" in message
    assert (facts["error"], facts["failed"], facts["synced"]) == ("GroupFailedError", 1, 5)
    runs = recorded(world, result.run_id)
    assert {key: run.status for key, run in runs.items()} == {
        key: "failed" if key == "t002" else "success" for key in keys
    }
    assert runs["t002"].facts["error"] == "MassDeletionRefusedError"
    assert runs["t002"].facts["total"] == 30
    shown = statuses(instance, keys)
    assert shown.pop("t002") == {"MATERIALIZED", "FAILED"}
    assert all(found == {"MATERIALIZED"} for found in shown.values())


def test_a_defect_met_in_one_tenant_is_its_own_and_quotes_nothing(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 3)
    world.store.fail_next("upsert", ValueError("hunter2"))

    result = run_group(instance, world, keys)

    message, _ = failure_of(result)
    assert "'t000': not foreseen: ValueError; please report it" in message
    assert recorded(world, result.run_id)["t000"].facts == {"error": "ValueError"}
    assert world.ids("t001") == ["t001-0", "t001-1"]
    kept = "".join(serialize_value(event) for event in instance.all_logs(result.run_id))
    assert "hunter2" not in kept
    assert "ValueError" in kept


def test_a_busy_tenant_is_skipped_and_fails_nothing(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 3)
    world.leases.acquire(scope=Scope("t001"), owner="another run", ttl_seconds=600)

    result = run_group(instance, world, keys)

    assert result.success
    run = recorded(world, result.run_id)["t001"]
    assert run.status == "skipped"
    assert run.error is not None
    assert "is being written by another run" in run.error
    assert statuses(instance, ["t001"]) == {"t001": {"missing"}}
    assert world.ids("t002") == ["t002-0", "t002-1"]
    world.leases.acquire(scope=Scope("t002"), owner="the next", ttl_seconds=1)


def test_what_may_pass_is_tried_again_and_the_others_are_not_repeated(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 3)
    world.store.fail_next("upsert", StoreUnavailableError("no answer", retry_after_seconds=0.01))

    result = run_group(instance, world, keys)

    assert result.success
    assert [event.event_type_value for event in result.all_events].count("STEP_RESTARTED") == 1
    made = instance.get_records_for_run(
        result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    assert sorted(str(it.partition_key) for it in made.records) == sorted(keys * 4)
    assert all(run.status == "success" for run in recorded(world, result.run_id).values())


def test_an_outage_is_not_met_again_by_every_scope(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.defs.groups.RETRIES", dg.RetryPolicy(max_retries=0))
    keys = fill(world, 6)
    for _ in range(6):
        world.store.fail_next("upsert", StoreUnavailableError("no answer", retry_after_seconds=0))

    result = run_group(instance, world, keys)

    message, facts = failure_of(result)
    assert message.startswith(
        "2 of 6 scopes of this group failed (0 are in step, 4 were not begun):\n  - 't000': "
    )
    assert facts["not_begun"] == 4
    assert set(recorded(world, result.run_id)) == {"t000", "t001"}


def test_a_run_that_is_asked_to_stop_ends_between_two_scopes_and_says_what_is_left(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 5)
    record = world.runs.record

    def stop_after_two(run: SyncRun) -> None:
        record(run)
        if len(world.runs.runs) == 2:
            signal.raise_signal(signal.SIGTERM)

    world.runs.record = stop_after_two  # type: ignore[method-assign]

    result = run_group(instance, world, keys)

    message, facts = failure_of(result)
    assert "2 are in step, 3 were not begun" in message
    assert facts["stopped_reason"] == "asked to stop"
    assert facts["counts"]["new"] == 4
    assert set(recorded(world, result.run_id)) == {"t000", "t001"}
    world.leases.acquire(scope=Scope("t001"), owner="the next", ttl_seconds=1)


def test_the_limit_of_deletions_is_that_of_the_request(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 3)
    spoil(world, instance, keys, "t001")

    result = run_group(instance, world, keys, max_deleted_fraction=1.0)

    assert result.success
    assert recorded(world, result.run_id)["t001"].counts.points_deleted == 30


def test_a_check_of_the_index_that_fails_is_the_failure_of_its_scope(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = fill(world, 2)
    monkeypatch.setattr("sync_pipeline.engine.questions.checks.NORM_TOLERANCE", -1.0)

    result = run_group(instance, world, keys)

    message, _ = failure_of(result)
    assert "'t000': synced, but a check of the index failed: " in message
    assert "vectors_are_valid" in message


# --- repeated, killed, kept -------------------------------------------------------------


def add_group(
    instance: dg.DagsterInstance, world: World, keys: Sequence[str], **run: Any
) -> dg.DagsterRun:
    """Put a run of a group into the history."""
    job = build_definitions(sync=world.sync).resolve_job_def(sync_group_job.name)
    return instance.create_run_for_job(job, run_config=config(keys), **run)


def execute(instance: dg.DagsterInstance, world: World, run: dg.DagsterRun) -> bool:
    """Execute such a run; whether it succeeded."""
    job = build_definitions(sync=world.sync).resolve_job_def(sync_group_job.name)
    return execute_run(InMemoryJob(job), run, instance).success


def test_a_run_repeated_from_failure_syncs_only_what_is_not_in_step(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 5)
    spoil(world, instance, keys, "t003")
    failed = run_group(instance, world, keys)
    world.set_options(cleanup=CleanupPolicy(max_deleted_fraction=1))
    resumed, whole = (
        add_group(
            instance, world, keys, parent_run_id=failed.run_id, root_run_id=failed.run_id, tags=tags
        )
        for tags in ({"dagster/is_resume_retry": "true"}, {})
    )

    assert execute(instance, world, resumed)
    assert execute(instance, world, whole)

    assert set(recorded(world, resumed.run_id)) == {"t003"}
    assert set(recorded(world, whole.run_id)) == set(keys)
    assert statuses(instance, ["t003"]) == {"t003": {"MATERIALIZED"}}


def test_a_group_whose_process_was_killed_has_failed_for_the_scopes_that_are_not_recorded(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 4)
    done = run_group(instance, world, keys[:2])
    killed = add_group(instance, world, keys, status=dg.DagsterRunStatus.STARTED)
    world.runs.record(replace(recorded(world, done.run_id)["t000"], run_id=killed.run_id))
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[killed.run_id]))

    record_killed(world.runs, record, why="its process was killed")

    found = recorded(world, killed.run_id)
    assert {key: run.status for key, run in found.items()} == {
        "t000": "success",
        "t001": "failed",
        "t002": "failed",
        "t003": "failed",
    }
    assert found["t001"].error == "the run was ended from outside: its process was killed"


def test_what_failed_groups_left_in_the_staging_area_is_found_per_scope(
    world: World, instance: dg.DagsterInstance
) -> None:
    run = add_group(instance, world, ["acme", "globex"], status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "killed")

    since = datetime.now(tz=UTC) - timedelta(days=1)
    found = set(iter_failed_runs(instance, since=since))

    assert found == {("acme", run.run_id), ("globex", run.run_id)}


def test_a_group_is_kept_while_a_partition_was_last_materialized_by_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 3)
    first = run_group(instance, world, keys)
    second = run_group(instance, world, keys)
    third = run_group(instance, world, keys)
    later = datetime.now(tz=UTC) + timedelta(days=100)

    report = delete_old_runs(instance, now=later, retention=RunRetention())

    # The first alone has materialized all assets, the last is the latest; nobody needs the second.
    left = {record.dagster_run.run_id for record in instance.get_run_records()}
    assert left == {first.run_id, third.run_id}
    assert second.run_id not in left
    assert report.kept_as_latest == 2
    assert statuses(instance, keys) == all_materialized(keys)
    for key in keys:
        instance.delete_dynamic_partition("scope", key)
    delete_old_runs(instance, now=later, retention=RunRetention())
    assert instance.get_run_records() == []


def test_a_scope_of_a_group_that_has_not_ended_is_not_asked_for_again(
    world: World, instance: dg.DagsterInstance
) -> None:
    feed = FakeChangeFeed()
    feed.install(world.sync.entities)
    for key in ("acme", "globex"):
        feed.record(Operation.UPDATE, entity_type="material", db_id="x", old=key, new=key)
    add_group(instance, world, ["acme", "initech"])

    sync = replace(world.sync, feed=feed)
    with dg.build_sensor_context(instance=instance, resources={"sync": sync}) as context:
        found = changed_rows_sensor(context)

    assert isinstance(found, dg.SensorResult)
    assert [request.partition_key for request in found.run_requests or []] == ["globex"]


def test_retries_wait_after_a_group_for_the_scopes_that_it_failed_and_no_others(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = fill(world, 2)
    world.store.refused = {"tenant-material-t000-0", "tenant-material-t001-0"}
    run_group(instance, world, keys)
    failed = add_group(instance, world, keys, status=dg.DagsterRunStatus.STARTED)
    (done,) = world.runs.list_recent(limit=1, scope_key="t000")
    world.runs.record(replace(done, run_id=failed.run_id, status="success"))
    instance.report_run_failed(failed, "one of its scopes failed")

    assert set(world.sync.state.retry_now()) == set(keys)

    with dg.build_sensor_context(instance=instance, resources={"sync": world.sync}) as context:
        found = retry_failed_sensor(context)

    assert isinstance(found, dg.SensorResult)
    assert [request.partition_key for request in found.run_requests or []] == ["t000"]


def test_groups_wait_for_one_another_where_the_index_admits_one_process() -> None:
    scopes = [Scope("acme"), Scope("globex")]

    embedded, server = (
        group_request(scopes, priority=3, policy=policy).tags
        for policy in (GroupPolicy(one_at_a_time=True), GroupPolicy())
    )

    assert set(embedded) - set(server) == {LANE_TAG}
    assert server["dagster/priority"] == "3"


def test_small_rows_of_0_in_the_settings_switch_groups_off() -> None:
    assert ScheduleSettings(group_rows=0).as_group_policy() == GroupPolicy(small_rows=0)
