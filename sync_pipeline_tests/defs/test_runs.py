"""Real runs of the job, in this process, against fakes."""

from __future__ import annotations

import itertools
import json
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.core.errors import ScopeBusyError, StoreUnavailableError
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.failures import RETRIES
from sync_pipeline.defs.jobs import ASSETS
from sync_pipeline.engine.context import SyncOptions
from sync_pipeline.engine.steps.cleanup import clean_scope
from sync_pipeline.engine.steps.embed import embed_missing
from sync_pipeline.engine.steps.sync import begin_scope, sealed_changes
from sync_pipeline.engine.steps.upsert import upsert_scope
from sync_pipeline_tests.defs.conftest import failure_of, metadata_of, run_job, set_rows
from sync_pipeline_tests.engine.world import Clock, World
from sync_pipeline_tests.fakes.state import FakeScopeLeases

pytestmark = pytest.mark.dagster

ACME = Scope("acme")
COMPARING = "embedded_documents.compare_documents"
SEALING = "embedded_documents.seal_changes"


def retries_of(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_key) for event in result.all_events if event.is_step_up_for_retry]


def test_a_run_makes_the_index_equal_the_rows_of_its_scope(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme")

    assert result.success
    assert world.ids("acme") == ["a1", "a2", "a3"]
    assert world.ids("global") == []


def test_metadata_are_the_numbers_of_the_reports(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme")

    exported = metadata_of(result, "exported_documents")
    embedded = metadata_of(result, "embedded_documents")
    upserted = metadata_of(result, "upserted_points")
    cleaned = metadata_of(result, "stale_cleanup")
    assert (exported["rows"], exported["documents"], exported["quarantined"]) == (3, 3, 0)
    assert exported["dropped_values"] == 0
    assert (embedded["new"], embedded["texts"], embedded["cache_hits"]) == (3, 3, 0)
    assert (upserted["points_written"], upserted["failed"]) == (3, 0)
    assert (cleaned["indexed"], cleaned["deleted"]) == (3, 0)
    assert all(isinstance(cleaned[name], int) for name in ("indexed", "deleted", "moved_away"))
    assert all(
        isinstance(shown["seconds"], float) for shown in (exported, embedded, upserted, cleaned)
    )
    assert (set(upserted), set(cleaned)) == (
        {"points_written", "payloads_written", "failed", "seconds"},
        {"indexed", "deleted", "moved_away", "seconds", "generation"},
    )


def test_events_of_a_run_without_changes_stay_small(
    world: World, instance: dg.DagsterInstance
) -> None:
    run_job(instance, world.sync, scope_key="acme")

    result = run_job(instance, world.sync, scope_key="acme")

    shown = [
        metadata_of(result, asset)
        for asset in ("exported_documents", "embedded_documents", "upserted_points")
    ]
    assert shown[1]["embedded_texts"] == 0
    assert shown[2]["points_written"] == 0
    assert len(json.dumps(shown)) < 2048


def test_all_checks_run_with_the_job_and_pass(world: World, instance: dg.DagsterInstance) -> None:
    result = run_job(instance, world.sync, scope_key="acme")

    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {
        "points_match_rows": True,
        "points_carry_their_scope": True,
        "vectors_are_valid": True,
        "known_document_is_found": True,
    }


def test_a_refused_mass_deletion_leaves_what_was_written_and_shows_the_numbers(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])

    result = run_job(instance, world.sync, scope_key="acme")

    message, facts = failure_of(result, "stale_cleanup")
    assert not result.success
    assert len(world.ids("acme")) == 31
    assert "refused to delete 30 of 31 points in scope 'acme'" in message
    assert facts == {
        "error": "MassDeletionRefusedError",
        "scope_key": "acme",
        "entity_type": "material",
        "stale": 30,
        "indexed": 31,
        "allowed": 20,
        "total": 30,
        "total_indexed": 31,
    }


def test_one_run_may_be_allowed_to_delete_more(world: World, instance: dg.DagsterInstance) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])

    result = run_job(instance, world.sync, scope_key="acme", cleanup={"max_deleted_fraction": 1.0})

    assert result.success
    assert world.ids("acme") == ["new"]


def test_one_run_may_be_allowed_exactly_so_many_deletions(
    world: World, instance: dg.DagsterInstance
) -> None:
    set_rows(world, acme=[f"a{number}" for number in range(30)])
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["new"])

    refused = run_job(instance, world.sync, scope_key="acme", cleanup={"approve_deletions": 29})
    result = run_job(instance, world.sync, scope_key="acme", cleanup={"approve_deletions": 30})

    message, facts = failure_of(refused, "stale_cleanup")
    assert "approved 29, but 30 would go" in message
    assert facts["approved"] == 29
    assert result.success
    assert world.ids("acme") == ["new"]


def test_a_limit_outside_0_to_1_deletes_nothing(world: World, instance: dg.DagsterInstance) -> None:
    result = run_job(instance, world.sync, scope_key="acme", cleanup={"max_deleted_fraction": 2.0})

    message, _ = failure_of(result, "stale_cleanup")
    assert message == "the run config cannot be used: max_deleted_fraction lies between 0 and 1"
    assert world.ids("acme") == ["a1", "a2", "a3"]


def test_a_transient_error_is_retried_after_the_time_it_names(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.store.fail_next("upsert", StoreUnavailableError("busy", retry_after_seconds=0.0))

    result = run_job(instance, world.sync, scope_key="acme")

    assert result.success
    assert retries_of(result) == ["upserted_points"]
    assert world.ids("acme") == ["a1", "a2", "a3"]


def test_a_transient_error_that_stays_fails_with_its_message(
    world: World, instance: dg.DagsterInstance
) -> None:
    for _ in range(6):
        world.store.fail_next("upsert", StoreUnavailableError("busy", retry_after_seconds=0.0))

    result = run_job(instance, world.sync, scope_key="acme")

    assert retries_of(result) == ["upserted_points"] * 5
    assert failure_of(result, "upserted_points") == (
        "busy",
        {"error": "StoreUnavailableError", "retry_after_seconds": 0.0},
    )


def test_a_permanent_error_is_not_retried(world: World, instance: dg.DagsterInstance) -> None:
    world.put("empty", name="", unit="")
    world.options = replace(world.options, max_quarantined_fraction=0.0)

    result = run_job(instance, world.sync, scope_key="acme")

    _, facts = failure_of(result, "exported_documents")
    assert retries_of(result) == []
    assert facts["error"] == "TooManyQuarantinedError"


def test_assets_retry_five_times_with_growing_waits() -> None:
    nodes = [asset.node_def for asset in ASSETS]
    ops = [
        op
        for node in nodes
        for op in (node.node_defs if isinstance(node, dg.GraphDefinition) else [node])
    ]

    assert len(ops) == 6
    assert all(isinstance(op, dg.OpDefinition) and op.retry_policy == RETRIES for op in ops)
    assert (RETRIES.max_retries, RETRIES.delay, RETRIES.backoff, RETRIES.jitter) == (
        5,
        2,
        dg.Backoff.EXPONENTIAL,
        dg.Jitter.PLUS_MINUS,
    )


def test_a_stop_ends_the_run_between_batches_and_the_next_run_finishes(
    world: World, instance: dg.DagsterInstance
) -> None:
    stopping = replace(
        world.sync,
        options=SyncOptions(upsert_batch_size=1),
        should_stop=lambda: len(world.points) == 2,
    )
    result = run_job(instance, stopping, scope_key="acme")
    left = len(world.points)

    again = run_job(instance, world.sync, scope_key="acme")

    message, facts = failure_of(result, "upserted_points")
    assert facts == {
        "error": "StoppedError",
        "stopped_reason": "asked to stop",
        "counts": {
            "rows": 3,
            "documents": 3,
            "new": 3,
            "texts": 3,
            "embedded_texts": 3,
            "embedded_tokens": 3 * 3,
            "points_written": 2,
        },
    }
    assert "after the batch in flight" in message
    assert retries_of(result) == []
    assert left == 2
    assert again.success
    assert world.ids("acme") == ["a1", "a2", "a3"]


class SignalAfterFirstBatch:
    """Asks the process to stop, as Dagster's launcher does, in the middle of the writes."""

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        if step == "upsert" and done == 1:
            signal.raise_signal(signal.SIGINT)


def test_a_signal_lets_the_batch_in_flight_finish_and_fails_the_step_with_the_reason(
    world: World, instance: dg.DagsterInstance
) -> None:
    sync = replace(
        world.sync, options=SyncOptions(upsert_batch_size=1), progress=SignalAfterFirstBatch()
    )

    result = run_job(instance, sync, scope_key="acme")

    message, _ = failure_of(result, "upserted_points")
    assert message.startswith("stopped in scope 'acme' after the batch in flight")
    assert len(world.points) == 1
    assert len(world.recorded("acme")) == 1


@pytest.mark.parametrize(
    ("step", "function", "shown"),
    [
        pytest.param("exported_documents", begin_scope, {"documents": 3}, id="export"),
        pytest.param(COMPARING, embed_missing, {"embedded_texts": 3}, id="embed"),
        pytest.param(SEALING, sealed_changes, {"embedded_texts": 3}, id="seal"),
        pytest.param("upserted_points", upsert_scope, {"points_written": 3}, id="upsert"),
        pytest.param("stale_cleanup", clean_scope, {"indexed": 3}, id="cleanup"),
    ],
)
def test_a_signal_after_the_last_batch_of_a_step_tells_all_that_the_step_did(
    world: World,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    *,
    step: str,
    function: Callable[..., Any],
    shown: dict[str, int],
) -> None:
    def then_signal(*args: Any, **kwargs: Any) -> Any:
        done = function(*args, **kwargs)
        signal.raise_signal(signal.SIGTERM)
        return done

    module = "embedding" if step in {COMPARING, SEALING} else "assets"
    monkeypatch.setattr(f"sync_pipeline.defs.{module}.{function.__name__}", then_signal)

    result = run_job(instance, world.sync, scope_key="acme")

    message, facts = failure_of(result, step)
    assert message.startswith("stopped after this step")
    assert facts["counts"].items() >= shown.items()


def test_a_stop_between_two_steps_tells_what_the_first_one_did(
    world: World, instance: dg.DagsterInstance
) -> None:
    # The first look is at the beginning of the export, the second after its one batch.
    looks = itertools.count(1)
    sync = replace(world.sync, should_stop=lambda: next(looks) == 3)

    result = run_job(instance, sync, scope_key="acme")

    _, facts = failure_of(result, COMPARING)
    assert facts["counts"] == {"rows": 3, "documents": 3}


@pytest.mark.parametrize(
    "asset",
    [
        pytest.param("embedded_documents", id="comparing and embedding"),
        pytest.param("upserted_points", id="writing"),
        pytest.param("stale_cleanup", id="cleaning up"),
    ],
)
def test_a_step_run_by_itself_works_on_the_source_as_it_is_now(
    world: World, instance: dg.DagsterInstance, asset: str
) -> None:
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, acme=["a1", "a2", "a4"])
    order = ["embedded_documents", "upserted_points", "stale_cleanup"]

    result = run_job(instance, world.sync, scope_key="acme", assets=order[order.index(asset) :])

    assert result.success
    assert world.ids("acme") == ["a1", "a2", "a4"]


def test_a_step_run_by_itself_without_the_one_before_says_what_to_do(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = run_job(instance, world.sync, scope_key="acme", assets=["upserted_points"])

    message, _ = failure_of(result, "upserted_points")
    assert retries_of(result) == []
    assert message == (
        f"there is no result of embedded_documents for 'acme' in the staging area, "
        f"{world.staging.location}, as {socket.gethostname()} sees it. Run the partition from "
        "exported_documents on. Where several machines run steps, `staging.url` has to be a place "
        "that all of them reach, such as s3://BUCKET/PREFIX."
    )


class EndingLease(FakeScopeLeases):
    """A lease that has ended by the time it is asked for again, however slow this machine is."""

    def acquire(self, **wanted: Any) -> Fence:
        try:
            return super().acquire(**wanted)
        except ScopeBusyError:
            assert isinstance(self._clock, Clock)
            self._clock.advance(seconds=1)
            raise


def test_a_scope_that_another_run_holds_is_waited_for(
    world: World, instance: dg.DagsterInstance
) -> None:
    leases = EndingLease(Clock())
    leases.acquire(scope=ACME, owner="another run", ttl_seconds=0.3)

    result = run_job(instance, replace(world.sync, leases=leases), scope_key="acme")

    assert result.success
    assert set(retries_of(result)) == {"exported_documents"}


def test_an_emptied_scope_needs_the_explicit_limit(
    world: World, instance: dg.DagsterInstance
) -> None:
    run_job(instance, world.sync, scope_key="acme")
    set_rows(world, everyone=["g1"])

    result = run_job(instance, world.sync, scope_key="acme")

    _, facts = failure_of(result, "stale_cleanup")
    assert facts["error"] == "MassDeletionRefusedError"
    assert world.ids("acme") == ["a1", "a2", "a3"]
