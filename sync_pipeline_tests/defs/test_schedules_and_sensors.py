"""Who asks for which runs, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.point import Point, SparseVector
from sync_pipeline.core.ports import EntityResult, Fence
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.failures import WithheldError
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.requests import MAX_NEW_RUNS
from sync_pipeline.defs.sensors import (
    MAX_NEW_SCOPES,
    changed_rows_sensor,
    new_scope_sensor,
    retry_failed_sensor,
    sync_request_sensor,
    waiting_runs_sensor,
)
from sync_pipeline.settings import ScopeSettings, Settings
from sync_pipeline_tests.defs.conftest import run_job, set_rows
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed

NIGHT = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One with files: schedules and sensors open their own from its reference."""
    with dg.instance_for_test() as instance:
        yield instance


def evaluate_nightly(
    world: World, instance: dg.DagsterInstance, *, at: datetime = NIGHT
) -> list[dg.RunRequest]:
    repository = build_definitions(sync=world.sync).get_repository_def()
    schedule = repository.get_schedule_def("nightly_sync_schedule")
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=repository,
        resources={"sync": world.sync},
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def row_of(world: World, row_id: str) -> dict[str, object]:
    return next(row for row in world.source.tables["materials"] if row["id"] == row_id)


def pretend_synced(world: World) -> None:
    """Have index and record say what a sync of every scope would, without ten thousand runs."""
    sync = world.sync
    points: list[Point] = []
    for key, entities in world.source.digest_by_scope(sync.entities).items():
        results: list[EntityResult] = []
        for entity in sync.entities:
            found = entities.get(entity.name)
            rows = 0 if found is None else found.rows
            points += [bare_point(key, entity.name, number) for number in range(rows)]
            results.append(
                EntityResult(
                    entity_type=entity.name,
                    rows=rows,
                    documents=rows,
                    quarantined=0,
                    failed=0,
                    digest=sync.entity_digest(entity, found),
                )
            )
        sync.scopes.record_success(
            Fence(key, "run-1", 1),
            entities=results,
            snapshot_at=world.clock(),
            is_full=True,
        )
    world.store.ensure_collection(sync.spec)
    world.store.upsert(world.collection, points)


def bare_point(scope_key: str, entity_type: str, number: int) -> Point:
    return Point(
        point_id=point_id(f"{scope_key}-{entity_type}-{number}"),
        vectors={},
        sparse=SparseVector((), ()),
        payload={"scope_key": scope_key, "type": entity_type},
    )


def evaluate_sensor(
    world: World,
    instance: dg.DagsterInstance,
    *,
    sensor: dg.SensorDefinition = new_scope_sensor,
) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(instance=instance, resources={"sync": world.sync}) as context:
        found = sensor(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_every_scope_is_synced_at_night_global_first(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, everyone=["g1"], zebra=["z1"], acme=["a1"])

    requests = evaluate_nightly(world, instance)

    assert [request.partition_key for request in requests] == ["global", "acme", "zebra"]
    assert [request.tags.get("dagster/priority") for request in requests] == ["1", None, None]
    assert [request.tags["dagster/partition"] for request in requests] == [
        "global",
        "acme",
        "zebra",
    ]


def test_large_tenants_come_before_small_ones_at_night(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, everyone=["g1"], acme=["a1"], zebra=["z1", "z2", "z3"], globex=["b1", "b2"])

    requests = evaluate_nightly(world, instance)

    keys = [request.partition_key for request in requests]
    assert keys == ["global", "zebra", "globex", "acme"]


def test_priorities_of_scopes_order_a_night_and_its_queue(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, everyone=["g1"], acme=["a1"], zebra=["z1", "z2", "z3"], old=["b1", "b2"])
    world.set_options(run_order=RunOrder(priorities={"acme": 10, "old": -10}))

    requests = evaluate_nightly(world, instance)

    assert [(it.partition_key, it.tags.get("dagster/priority")) for it in requests] == [
        ("acme", "10"),
        ("global", "1"),
        ("zebra", None),
        ("old", "-10"),
    ]


def test_scopes_that_changed_last_come_first_at_night_where_that_is_wanted(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, everyone=["g1"], acme=["a1"], zebra=["z1", "z2", "z3"], old=["b1"])
    world.source.now += timedelta(days=1)
    world.put("a1")
    world.source.now -= timedelta(days=3)
    world.put("b1")
    largest = [it.partition_key for it in evaluate_nightly(world, instance)]
    world.set_options(run_order=RunOrder(is_recent_first=True))

    recent = [it.partition_key for it in evaluate_nightly(world, instance)]

    assert largest == ["global", "zebra", "acme", "old"]
    assert recent == ["global", "acme", "zebra", "old"]


def test_of_ten_thousand_tenants_only_those_that_changed_are_asked_for_by_one_digest(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = [f"tenant-{number:05d}" for number in range(10_000)]
    set_rows(world, everyone=["g1"])
    world.source.tables["materials"] += [
        {**row_of(world, "g1"), "id": tenant, "tenant_id": tenant, "is_global": False}
        for tenant in tenants
    ]
    pretend_synced(world)
    for tenant in tenants[42::100]:
        row_of(world, tenant)["price"] = 99
    digest = mock.Mock(wraps=world.source.digest_by_scope)
    monkeypatch.setattr(world.source, "digest_by_scope", digest)

    requests = evaluate_nightly(world, instance)

    assert requests == []
    (asked,) = world.requests.list_open(limit=10)
    assert list(asked.scope_keys) == tenants[42::100]
    assert digest.call_count == 1


def small_tenants(world: World, count: int, *, rows: int = 1) -> list[str]:
    """Make so many tenants of a few rows the only ones; their keys."""
    tenants = [f"tenant-{number:05d}" for number in range(count)]
    set_rows(world, everyone=["g1"])
    world.source.tables["materials"] += [
        {
            **row_of(world, "g1"),
            "id": f"{tenant}-{row}",
            "tenant_id": tenant,
            "is_global": False,
        }
        for tenant in tenants
        for row in range(rows)
    ]
    return tenants


def groups_asked(
    world: World, instance: dg.DagsterInstance, sensor: dg.SensorDefinition
) -> list[dg.RunRequest]:
    found = evaluate_sensor(world, instance, sensor=sensor)
    assert isinstance(found, dg.SensorResult)
    for added in found.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(PARTITIONS_NAME, [*added.partition_keys])
    return list(found.run_requests or [])


def scopes_of(request: dg.RunRequest) -> list[str]:
    if request.job_name == "sync_scope_job":
        return [str(request.partition_key)]
    return list(request.run_config["ops"]["sync_group"]["config"]["scope_keys"])


def test_a_first_night_of_ten_thousand_tenants_is_one_request_that_becomes_a_hundred_runs(
    world: World, instance: dg.DagsterInstance
) -> None:
    tenants = small_tenants(world, 10_000)
    world.set_options(run_order=RunOrder(priorities={"tenant-00007": 5}))

    at_night = evaluate_nightly(world, instance)
    again = evaluate_nightly(world, instance)
    asked = groups_asked(world, instance, sync_request_sensor)

    # A scope of a priority of its own has a run of its own; so has global.
    assert [it.partition_key for it in at_night] == ["tenant-00007", "global"]
    assert [it.run_key for it in at_night] == [it.run_key for it in again]
    assert len(world.requests.list_recent(limit=10)) == 1
    assert len(asked) == 100
    assert {it.job_name for it in asked} == {"sync_group_job"}
    assert [key for it in asked for key in scopes_of(it)] == [
        tenant for tenant in tenants if tenant != "tenant-00007"
    ]
    assert max(len(scopes_of(it)) for it in asked) == 100


def test_more_large_tenants_than_one_tick_may_ask_for_are_asked_for_by_a_request(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.defs.schedules.MAX_NIGHTLY_RUNS", 10)
    world.set_options(groups=GroupPolicy(small_rows=0))
    tenants = small_tenants(world, 30)

    at_night = evaluate_nightly(world, instance)
    asked = groups_asked(world, instance, sync_request_sensor)

    assert [it.partition_key for it in at_night] == ["global", *tenants[:9]]
    assert [it.partition_key for it in asked] == tenants[9:]


def test_what_waits_since_an_earlier_night_is_not_asked_for_again(
    world: World, instance: dg.DagsterInstance
) -> None:
    tenants = small_tenants(world, 30)
    evaluate_nightly(world, instance)
    world.put("new-tenant-row", tenant_id="new-tenant")

    evaluate_nightly(world, instance, at=NIGHT + timedelta(days=1))

    first, second = world.requests.list_open(limit=10)
    assert list(first.scope_keys) == tenants
    assert list(second.scope_keys) == ["new-tenant"]


def test_many_new_tenants_get_their_first_sync_in_groups_cut_by_their_rows(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.set_options(groups=GroupPolicy(small_rows=50, max_rows=60))
    tenants = small_tenants(world, 30, rows=20)
    world.put_many(*(f"big-{row}" for row in range(60)), tenant_id="big")

    asked = groups_asked(world, instance, new_scope_sensor)

    assert [scopes_of(it) for it in asked] == [
        ["global"],
        ["big"],
        *(tenants[first : first + 3] for first in range(0, 30, 3)),
    ]
    assert set(instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"global", "big", *tenants}


def test_changes_of_many_small_tenants_share_runs_by_their_recorded_rows(
    world: World, instance: dg.DagsterInstance, feed: FakeChangeFeed
) -> None:
    tenants = small_tenants(world, 40)
    pretend_synced(world)
    world.source.is_available = False
    for tenant in tenants:
        feed.record(
            Operation.UPDATE, entity_type="material", db_id=f"{tenant}-0", old=tenant, new=tenant
        )

    found = evaluate_changes(world, instance, feed=feed)

    assert isinstance(found, dg.SensorResult)
    (group,) = found.run_requests or []
    assert scopes_of(group) == tenants
    assert group.run_config["ops"]["sync_group"]["config"]["mode"] == "incremental"


def test_a_run_of_a_night_is_never_taken_for_one_of_another(
    world: World, instance: dg.DagsterInstance
) -> None:
    keys = {
        at: {request.run_key for request in evaluate_nightly(world, instance, at=at)}
        for at in (NIGHT, NIGHT + timedelta(days=1))
    }

    assert [len(found) for found in keys.values()] == [2, 2]
    assert not set.intersection(*keys.values())


def test_a_tick_evaluated_twice_asks_for_the_same_runs(
    world: World, instance: dg.DagsterInstance
) -> None:
    first, second = (evaluate_nightly(world, instance) for _ in range(2))

    assert [request.run_key for request in first] == [request.run_key for request in second]


def test_a_tenant_that_vanished_is_not_synced_at_night(
    world: World, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["gone"])

    requests = evaluate_nightly(world, instance)

    assert [request.partition_key for request in requests] == ["global", "acme"]


def test_a_source_that_cannot_be_reached_at_night_fails_the_tick(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.source.is_available = False

    with pytest.raises(dg.DagsterError) as raised:
        evaluate_nightly(world, instance)

    assert isinstance(raised.value.__cause__, SourceUnavailableError)


def test_a_new_tenant_gets_a_partition_and_a_first_run(
    world: World, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["global"])

    found = evaluate_sensor(world, instance)

    assert isinstance(found, dg.SensorResult)
    assert [list(added.partition_keys) for added in found.dynamic_partitions_requests or []] == [
        ["acme"]
    ]
    assert [request.partition_key for request in found.run_requests or []] == ["acme"]


def test_without_a_new_tenant_the_sensor_says_how_many_there_are(
    world: World, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["global", "acme", "gone"])

    found = evaluate_sensor(world, instance)

    assert found == dg.SkipReason("no new scope among the 2 in the source")


def test_new_tenants_get_their_first_run_by_priority_then_by_their_newest_change(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, everyone=["g1"], acme=["a1"], fresh=["f1"], old=["b1"], vip=["v1"])
    world.source.now += timedelta(days=1)
    world.put("f1")
    order = RunOrder(priorities={"vip": 9, "old": -1}, is_recent_first=True)
    world.set_options(run_order=order)

    found = evaluate_sensor(world, instance)

    assert isinstance(found, dg.SensorResult)
    requested = found.run_requests or []
    assert [(it.partition_key, it.tags.get("dagster/priority")) for it in requested] == [
        ("vip", "9"),
        ("global", "1"),
        ("fresh", None),
        ("acme", None),
        ("old", "-1"),
    ]


def test_a_source_that_cannot_be_reached_is_named_by_the_sensor(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.source.is_available = False

    found = evaluate_sensor(world, instance)

    assert isinstance(found, dg.SkipReason)
    assert str(found.skip_message).startswith("the source cannot be asked for its scopes now: ")


def test_one_tick_adds_a_bounded_number_of_tenants(
    world: World, instance: dg.DagsterInstance
) -> None:
    small_tenants(world, MAX_NEW_SCOPES + 50)

    first = groups_asked(world, instance, new_scope_sensor)
    second = groups_asked(world, instance, new_scope_sensor)

    assert sum(len(scopes_of(it)) for it in first) == MAX_NEW_SCOPES
    assert len(first) <= MAX_NEW_SCOPES / 100 + 1
    assert sum(len(scopes_of(it)) for it in second) == 51


def test_one_tick_asks_for_a_bounded_number_of_runs(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.set_options(groups=GroupPolicy(small_rows=0))
    small_tenants(world, MAX_NEW_RUNS + 50)

    first = groups_asked(world, instance, new_scope_sensor)
    second = groups_asked(world, instance, new_scope_sensor)

    assert (len(first), len(second)) == (MAX_NEW_RUNS, 51)


@pytest.mark.parametrize("sensor", [new_scope_sensor, retry_failed_sensor, changed_rows_sensor])
def test_a_tick_that_fails_keeps_no_message_of_a_library(
    world: World, instance: dg.DagsterInstance, sensor: dg.SensorDefinition
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("hunter2")

    broken = SimpleNamespace(list_scopes=fail, count_due_retries=fail, pending=fail)
    broken_records: Any = replace(world.records(world.collection), state=broken)
    sync = replace(world.sync.rebound(records=lambda _: broken_records), source=broken, feed=broken)

    with (
        dg.build_sensor_context(instance=instance, resources={"sync": sync}) as context,
        pytest.raises(WithheldError, match=r"builtins.ValueError \(its message is withheld"),
    ):
        sensor(context)


# --- changes that the feed names --------------------------------------------------------


@pytest.fixture
def feed(world: World) -> FakeChangeFeed:
    """A feed of every entity, without an event."""
    found = FakeChangeFeed()
    found.install(world.sync.entities)
    return found


def evaluate_changes(
    world: World, instance: dg.DagsterInstance, *, feed: FakeChangeFeed
) -> dg.SensorResult | dg.SkipReason:
    sync = replace(world.sync, feed=feed)
    with dg.build_sensor_context(instance=instance, resources={"sync": sync}) as context:
        found = changed_rows_sensor(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_a_tick_without_pending_changes_does_not_ask_the_source(
    world: World, instance: dg.DagsterInstance, feed: FakeChangeFeed
) -> None:
    world.source.is_available = False

    assert evaluate_changes(world, instance, feed=feed) == dg.SkipReason("no scope has changes")


def test_a_tick_asks_for_the_changed_scopes_without_asking_the_source(
    world: World, instance: dg.DagsterInstance, feed: FakeChangeFeed
) -> None:
    feed.record(Operation.UPDATE, entity_type="material", db_id="a1", old="acme", new="acme")
    world.source.is_available = False

    found = evaluate_changes(world, instance, feed=feed)

    assert isinstance(found, dg.SensorResult)
    assert [request.partition_key for request in found.run_requests or []] == ["acme"]


def test_a_table_that_was_emptied_concerns_every_scope(
    world: World, instance: dg.DagsterInstance, feed: FakeChangeFeed
) -> None:
    set_rows(world, everyone=["g1"], acme=["a1"], globex=["b1"])
    feed.record(Operation.TRUNCATE, entity_type="material", db_id=None)

    found = evaluate_changes(world, instance, feed=feed)

    assert isinstance(found, dg.SensorResult)
    keys = {request.partition_key for request in found.run_requests or []}
    assert keys == {"global", "acme", "globex"}


def test_changes_are_asked_for_by_priority_until_one_has_waited_too_long(
    world: World, instance: dg.DagsterInstance, feed: FakeChangeFeed
) -> None:
    set_rows(world, acme=["a1"], vip=["v1"], old=["b1"])
    world.set_options(run_order=RunOrder(priorities={"vip": 9, "old": -9}))
    for key, row_id in (("old", "b1"), ("acme", "a1"), ("vip", "v1")):
        feed.record(Operation.UPDATE, entity_type="material", db_id=row_id, old=key, new=key)

    def asked() -> list[tuple[str | None, str | None]]:
        found = evaluate_changes(world, instance, feed=feed)
        assert isinstance(found, dg.SensorResult)
        requested = found.run_requests or []
        return [(it.partition_key, it.tags.get("dagster/priority")) for it in requested]

    world.clock.now = feed.pending()["vip"].oldest_at
    soon = asked()
    world.clock.advance(seconds=3601)

    assert soon == [("vip", "9"), ("acme", None), ("old", "-9")]
    assert asked() == [("old", "101"), ("acme", "101"), ("vip", "101")]


# --- runs that wait in the queue --------------------------------------------------------


def queue_run(
    world: World, instance: dg.DagsterInstance, key: str, *, priority: str | None = None
) -> str:
    """Put a run of a scope into the queue; its id."""
    job = build_definitions(sync=world.sync).resolve_job_def("sync_scope_job")
    tags = {"dagster/partition": key} | ({"dagster/priority": priority} if priority else {})
    location = RegisteredCodeLocationOrigin("sync_pipeline")
    run = instance.create_run_for_job(
        job,
        tags=tags,
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(location, "__repository__"), job.name
        ),
    )
    return run.run_id


def priority_of(instance: dg.DagsterInstance, run_id: str) -> str | None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get("dagster/priority")


def test_a_queued_run_that_waits_too_long_is_put_before_all_others(
    world: World, instance: dg.DagsterInstance
) -> None:
    runs = [queue_run(world, instance, "old", priority="-9"), queue_run(world, instance, "acme")]
    order = RunOrder(priorities={"vip": 100}, max_wait=timedelta(seconds=-1))
    world.set_options(run_order=order)

    found = evaluate_sensor(world, instance, sensor=waiting_runs_sensor)

    assert isinstance(found, dg.SkipReason)
    assert str(found.skip_message).startswith("2 runs have waited longer than")
    assert str(found.skip_message).endswith("2 of them were put before all others just now")
    assert [priority_of(instance, run_id) for run_id in runs] == ["101", "101"]
    again = evaluate_sensor(world, instance, sensor=waiting_runs_sensor)
    assert isinstance(again, dg.SkipReason)
    assert "0 of them were put" in str(again.skip_message)


def test_a_run_that_does_not_wait_that_long_or_is_under_way_keeps_its_priority(
    world: World, instance: dg.DagsterInstance
) -> None:
    waiting = queue_run(world, instance, "old", priority="-9")

    evaluate_sensor(world, instance, sensor=waiting_runs_sensor)
    world.set_options(run_order=RunOrder(max_wait=timedelta(seconds=-1)))
    canceled = instance.get_run_by_id(waiting)
    assert canceled is not None
    instance.report_run_canceled(canceled)
    evaluate_sensor(world, instance, sensor=waiting_runs_sensor)

    assert priority_of(instance, waiting) == "-9"


def test_the_queue_is_looked_at_only_where_scopes_have_priorities() -> None:
    def sensors(settings: Settings) -> set[str]:
        repository = build_definitions(settings=settings).get_repository_def()
        return {sensor.name for sensor in repository.sensor_defs}

    plain, prioritised = (
        sensors(Settings()),
        sensors(Settings(scopes=ScopeSettings(priority={"acme": 1}))),
    )

    assert prioritised - plain == {"waiting_runs_sensor"}


# --- retries of failed documents --------------------------------------------------------


@pytest.fixture
def failed(world: World) -> World:
    """One document of ``acme`` has failed; its next try has come."""
    world.store.refused = {"tenant-material-a2"}
    world.run_all()
    assert world.sync.state.retry_now() == {"acme": 1}
    return world


def evaluate_retries(world: World, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    return evaluate_sensor(world, instance, sensor=retry_failed_sensor)


def test_a_scope_whose_failed_documents_are_due_is_asked_for(
    failed: World, instance: dg.DagsterInstance
) -> None:
    found = evaluate_retries(failed, instance)

    assert isinstance(found, dg.SensorResult)
    (request,) = found.run_requests or []
    assert (request.partition_key, request.run_key) == ("acme", None)
    assert request.run_config["ops"]["exported_documents"]["config"] == {"mode": "incremental"}


def test_a_document_whose_time_has_not_come_is_not_asked_for(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.store.refused = {"tenant-material-a2"}
    world.run_all()

    found = evaluate_retries(world, instance)

    assert isinstance(found, dg.SkipReason)
    assert str(found.skip_message).startswith("0 failed documents are due")


def test_the_asked_for_sync_mends_it_and_the_sensor_is_quiet(
    failed: World, instance: dg.DagsterInstance
) -> None:
    failed.store.refused = set()

    failed.run("acme", mode="incremental")

    assert failed.is_clean("acme")
    assert isinstance(evaluate_retries(failed, instance), dg.SkipReason)


def test_a_sync_that_fails_again_moves_the_next_try_on(
    failed: World, instance: dg.DagsterInstance
) -> None:
    failed.run("acme", mode="incremental")

    assert isinstance(evaluate_retries(failed, instance), dg.SkipReason)


def test_a_scope_with_a_run_under_way_is_not_asked_for_again(
    failed: World, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(sync=failed.sync).resolve_job_def("sync_scope_job")
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["acme"])
    instance.create_run_for_job(job, tags={"dagster/partition": "acme"})

    assert isinstance(evaluate_retries(failed, instance), dg.SkipReason)


def test_after_a_run_that_failed_as_a_whole_the_retries_wait(
    failed: World, instance: dg.DagsterInstance
) -> None:
    # A defect: what may pass is tried again for two minutes.
    failed.put("a9", name="sand")
    failed.embedder.failures = {failed.embedder.calls + 1: KeyError("sand")}
    assert not run_job(instance, failed.sync, scope_key="acme").success

    assert isinstance(evaluate_retries(failed, instance), dg.SkipReason)
