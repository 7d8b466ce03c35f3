"""Syncs that somebody asked for: each becomes one run per scope, whatever dies in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from sync_pipeline.core.errors import SourceUnavailableError
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.ports import SyncRequest
from sync_pipeline.core.scope import Scope
from sync_pipeline.definitions import build_definitions
from sync_pipeline.defs.failures import WithheldError
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.requests import MAX_NEW_RUNS
from sync_pipeline.defs.run_tags import REQUEST_TAG
from sync_pipeline.defs.sensors import sync_request_sensor
from sync_pipeline.engine.context import SyncOptions
from sync_pipeline.operations.requests import follow_request, request_sync
from sync_pipeline_tests.defs.conftest import QUIET, set_rows
from sync_pipeline_tests.engine.world import World

pytestmark = pytest.mark.dagster

STARTED, WAITING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One with files: sensors open their own from its reference."""
    with dg.instance_for_test() as instance:
        yield instance


def ask(world: World, *scope_keys: str, **more: Any) -> SyncRequest:
    return world.requests.add(requested_by="someone", scope_keys=scope_keys, **more)


def now(world: World, request: SyncRequest) -> SyncRequest:
    found = world.requests.get(request.request_id)
    assert found is not None
    return found


def tick(world: World, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the sensor asks for; the partitions that it asks for are added."""
    with dg.build_sensor_context(instance=instance, resources={"sync": world.sync}) as context:
        found = sync_request_sensor(context)
    if isinstance(found, dg.SkipReason):
        return []
    assert isinstance(found, dg.SensorResult)
    for added in found.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(PARTITIONS_NAME, [*added.partition_keys])
    return list(found.run_requests or [])


def create(
    world: World,
    instance: dg.DagsterInstance,
    requested: Sequence[dg.RunRequest],
    status: dg.DagsterRunStatus = WAITING,
) -> list[dg.DagsterRun]:
    """What the daemon makes of run requests: for a key that it has seen no second run."""
    job = build_definitions(sync=world.sync).resolve_job_def("sync_scope_job")
    return [
        instance.create_run_for_job(
            job,
            run_config=dict(request.run_config or {}),
            tags={
                **request.tags,
                "dagster/partition": str(request.partition_key),
                "dagster/run_key": str(request.run_key),
            },
            status=status,
        )
        for request in requested
        if not instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": str(request.run_key)}))
    ]


def end(instance: dg.DagsterInstance, run: dg.DagsterRun, *, success: bool = True) -> None:
    if success:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name),
            run_id=run.run_id,
        )
    else:
        instance.report_run_failed(run, "out of luck")


def keys(requested: Sequence[dg.RunRequest]) -> list[str]:
    return [str(request.partition_key) for request in requested]


def test_a_request_becomes_one_run_per_scope_that_does_what_was_asked(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "global", "acme", max_deleted_fraction=0.5)

    requested = tick(world, instance)

    assert keys(requested) == ["global", "acme"]
    assert {it.tags[REQUEST_TAG] for it in requested} == {request.request_id}
    assert [it.tags.get("dagster/priority") for it in requested] == ["1", None]
    ops = requested[0].run_config["ops"]
    assert ops["exported_documents"]["config"] == {"mode": "full"}
    assert ops["stale_cleanup"]["config"] == {
        "max_deleted_fraction": 0.5,
        "approve_deletions": None,
    }
    assert set(instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"global", "acme"}


@pytest.mark.parametrize("tenant", ["all", "tenants"])
def test_a_tenant_called_like_a_word_has_its_id_for_a_partition(
    world: World, instance: dg.DagsterInstance, tenant: str
) -> None:
    set_rows(world, **{tenant: ["n1", "n2"]})
    asked = request_sync(
        world.sync, [f"tenant:{tenant}"], mode="full", force=False, requested_by="someone"
    )
    (requested,) = tick(world, instance)
    job = build_definitions(sync=world.sync).resolve_job_def("sync_scope_job")

    result = job.execute_in_process(
        instance=instance,
        partition_key=str(requested.partition_key),
        run_config={**requested.run_config, **QUIET},
    )

    assert asked.request.scope_keys == (requested.partition_key,) == (tenant,)
    assert instance.get_dynamic_partitions(PARTITIONS_NAME) == [tenant]
    assert result.success
    assert world.ids(tenant) == ["n1", "n2"]
    assert world.ids("acme") == []


def test_the_run_of_a_request_can_be_executed_as_it_is_asked_for(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    world.run("acme")
    set_rows(world, acme=["new"])
    ask(world, "acme", mode="incremental", approve_deletions=30)
    (requested,) = tick(world, instance)
    job = build_definitions(sync=world.sync).resolve_job_def("sync_scope_job")

    result = job.execute_in_process(
        instance=instance,
        partition_key=str(requested.partition_key),
        run_config={**requested.run_config, **QUIET},
    )

    assert result.success
    assert world.ids("acme") == ["new"]


def test_without_a_request_a_tick_asks_one_question(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def list_open(*, limit: int) -> list[SyncRequest]:
        asked.append(limit)
        return []

    monkeypatch.setattr(world.requests, "list_open", list_open)
    for name in ("get_runs", "get_runs_count"):
        monkeypatch.setattr(dg.DagsterInstance, name, pytest.fail)

    assert tick(world, instance) == []
    assert len(asked) == 1


def test_a_request_is_followed_from_its_runs_to_their_end(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "global", "acme")
    runs = create(world, instance, tick(world, instance), STARTED)
    assert now(world, request).status == "pending"

    assert tick(world, instance) == []
    assert now(world, request).status == "started"
    assert now(world, request).run_ids == {
        "global": runs[0].run_id,
        "acme": runs[1].run_id,
    }

    end(instance, runs[0])
    assert tick(world, instance) == []
    assert now(world, request).status == "started"

    end(instance, runs[1])
    tick(world, instance)
    assert (now(world, request).status, now(world, request).error) == ("done", None)


def test_a_request_of_which_a_run_fails_has_failed_and_names_the_scope(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "global", "acme")
    runs = create(world, instance, tick(world, instance), STARTED)
    tick(world, instance)

    end(instance, runs[0])
    end(instance, runs[1], success=False)
    tick(world, instance)

    found = now(world, request)
    assert (found.status, found.error) == ("failed", "1 of 2 scopes failed: 'acme'")


def test_a_request_is_not_lost_when_the_sensor_dies_before_its_runs_are_made(
    world: World, instance: dg.DagsterInstance
) -> None:
    ask(world, "global", "acme")
    tick(world, instance)

    assert keys(tick(world, instance)) == ["global", "acme"]


def test_a_request_is_not_doubled_when_the_sensor_dies_before_it_is_marked(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "global", "acme")
    runs = create(world, instance, tick(world, instance)[:1])

    requested = tick(world, instance)
    runs += create(world, instance, requested)

    assert keys(requested) == ["acme"]
    assert tick(world, instance) == []
    assert now(world, request).run_ids == {"global": runs[0].run_id, "acme": runs[1].run_id}
    assert len(instance.get_runs()) == 2


def test_a_tick_whose_runs_are_made_twice_makes_each_once(
    world: World, instance: dg.DagsterInstance
) -> None:
    ask(world, "global", "acme")
    requested = tick(world, instance)
    create(world, instance, requested)

    assert create(world, instance, requested) == []


def test_a_run_that_ended_before_it_was_seen_is_not_started_again(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "acme")
    (run,) = create(world, instance, tick(world, instance), STARTED)
    end(instance, run)

    assert tick(world, instance) == []
    assert tick(world, instance) == []
    assert now(world, request).status == "done"


def test_two_requests_for_one_scope_are_two_runs(
    world: World, instance: dg.DagsterInstance
) -> None:
    first, second = ask(world, "acme"), ask(world, "acme", force=True)

    runs = create(world, instance, tick(world, instance))
    tick(world, instance)

    assert now(world, first).run_ids == {"acme": runs[0].run_id}
    assert now(world, second).run_ids == {"acme": runs[1].run_id}


def test_a_run_that_is_tried_again_has_not_failed_yet(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "acme")
    (first,) = create(world, instance, tick(world, instance), STARTED)
    tick(world, instance)
    instance.add_run_tags(first.run_id, {"dagster/will_retry": "true"})
    end(instance, first, success=False)

    tick(world, instance)
    assert now(world, request).status == "started"

    second = instance.create_run_for_job(
        build_definitions(sync=world.sync).resolve_job_def("sync_scope_job"),
        tags={REQUEST_TAG: request.request_id, "dagster/partition": "acme"},
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
        status=STARTED,
    )
    end(instance, second)
    tick(world, instance)
    found = now(world, request)
    assert (found.status, found.run_ids) == ("done", {"acme": second.run_id})


def test_a_run_that_was_deleted_from_the_history_has_not_succeeded(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "acme")
    (run,) = create(world, instance, tick(world, instance))
    tick(world, instance)
    instance.delete_run(run.run_id)

    tick(world, instance)

    assert now(world, request).status == "failed"


def test_a_request_for_more_scopes_than_one_tick_may_ask_for_gets_all_of_them(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.defs.requests.MAX_NEW_RUNS", 3)
    scope_keys = [f"t{number}" for number in range(8)]
    request = ask(world, *scope_keys)

    started: list[str] = []
    while requested := tick(world, instance):
        assert len(requested) <= 3
        started += keys(requested)
        create(world, instance, requested)

    assert MAX_NEW_RUNS == 200
    assert started == scope_keys
    assert now(world, request).status == "started"
    assert set(now(world, request).run_ids) == set(scope_keys)


def create_group(
    world: World, instance: dg.DagsterInstance, requested: dg.RunRequest, **run: Any
) -> dg.DagsterRun:
    """What the daemon makes of a request for a group."""
    job = build_definitions(sync=world.sync).resolve_job_def("sync_group_job")
    run_config = {**(requested.run_config or {}), **QUIET}
    return instance.create_run_for_job(job, run_config=run_config, tags=dict(requested.tags), **run)


def execute(world: World, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    job = build_definitions(sync=world.sync).resolve_job_def("sync_group_job")
    return execute_run(InMemoryJob(job), run, instance).success


def test_a_request_for_many_small_scopes_shares_runs_and_knows_each_of_them(
    world: World, instance: dg.DagsterInstance
) -> None:
    scope_keys = [f"t{number:02}" for number in range(30)]
    set_rows(world, **{key: [f"{key}-{row}" for row in range(30)] for key in scope_keys})
    world.set_options(groups=GroupPolicy(max_scopes=20))
    for key in scope_keys:
        world.run(key)
    # One of them will be refused, one is busy.
    world.remove(*(f"t03-{row}" for row in range(29)))
    world.leases.acquire(scope=Scope("t25"), owner="another", ttl_seconds=600)
    request = ask(world, *scope_keys, mode="incremental")

    groups = tick(world, instance)
    first, second = (create_group(world, instance, it) for it in groups)
    assert tick(world, instance) == []
    assert now(world, request).status == "started"
    assert now(world, request).run_ids == dict.fromkeys(scope_keys[:20], first.run_id) | (
        dict.fromkeys(scope_keys[20:], second.run_id)
    )
    assert not execute(world, instance, first)
    assert execute(world, instance, second)
    tick(world, instance)

    found = now(world, request)
    assert (found.status, found.error) == (
        "failed",
        "1 of 30 scopes failed: 't03'; 1 were busy",
    )
    followed = follow_request(world.sync, request.request_id, scope=None, limit=30)
    assert followed is not None
    assert followed.runs[first.run_id, "t03"].status == "failed"
    assert followed.runs[first.run_id, "t04"].status == "success"
    assert followed.runs[second.run_id, "t25"].status == "skipped"


def test_a_group_of_a_request_that_is_repeated_from_failure_counts_with_the_one_before(
    world: World, instance: dg.DagsterInstance
) -> None:
    scope_keys = [f"t{number:02}" for number in range(21)]
    set_rows(world, **{key: [f"{key}-{row}" for row in range(30)] for key in scope_keys})
    for key in scope_keys:
        world.run(key)
    world.remove(*(f"t03-{row}" for row in range(29)))
    request = ask(world, *scope_keys)
    (requested,) = tick(world, instance)
    first = create_group(world, instance, requested)
    tick(world, instance)
    assert not execute(world, instance, first)
    world.put_many(*(f"t03-{row}" for row in range(29)), tenant_id="t03")
    second = create_group(
        world, instance, requested, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    instance.add_run_tags(second.run_id, {"dagster/is_resume_retry": "true"})
    resumed = instance.get_run_by_id(second.run_id)
    assert resumed is not None
    assert execute(world, instance, resumed)

    tick(world, instance)

    found = now(world, request)
    assert (found.status, found.error) == ("done", None)
    assert found.run_ids == dict.fromkeys(scope_keys, first.run_id) | {"t03": second.run_id}


def test_a_request_that_names_what_can_be_no_scope_fails_and_holds_up_no_other(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = ask(world, "acme", " acme")
    ask(world, "acme")

    assert keys(tick(world, instance)) == ["acme"]
    assert now(world, request).status == "failed"


def test_requests_that_cannot_be_read_now_are_named_by_the_sensor(
    world: World, instance: dg.DagsterInstance
) -> None:
    found = evaluate_broken(world, instance, SourceUnavailableError("no answer"))

    assert found == dg.SkipReason("the requests cannot be read now: no answer")


def test_a_tick_that_fails_keeps_no_message_of_a_library(
    world: World, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(WithheldError, match="its message is withheld"):
        evaluate_broken(world, instance, ValueError("hunter2"))


def evaluate_broken(world: World, instance: dg.DagsterInstance, error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    sync = SimpleNamespace(requests=SimpleNamespace(list_open=fail), options=SyncOptions())
    with dg.build_sensor_context(instance=instance, resources={"sync": sync}) as context:
        return sync_request_sensor(context)
