"""A sync that is left to the queue is followed until it is over, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import SyncRequest, SyncRun
from sync_pipeline.core.reports import Counts, ScopeReport, ScopeStatus
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.context import RunOptions
from sync_pipeline.operations.submitting import (
    NOT_FOLLOWED,
    UNHEARD,
    UNHEARD_SECONDS,
    follow_sync,
    submit_sync,
)
from sync_pipeline_tests.engine.world import World

SCOPES = [Scope.from_key(GLOBAL_KEY), Scope("acme")]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


def submit(world: World) -> SyncRequest:
    return submit_sync(world.sync, SCOPES, options=RunOptions(mode="incremental"), force=True)


def end(world: World, run_id: str, scope_key: str, *, status: ScopeStatus, **more: str) -> None:
    run = SyncRun(
        run_id=run_id,
        scope_key=scope_key,
        mode="full",
        status=status,
        started_at=NOON,
        finished_at=NOON,
        counts=Counts(documents=7),
        error=more.get("error"),
    )
    world.runs.record(run)


def follow(
    world: World,
    request: SyncRequest,
    *turns: Callable[[], None],
    told: list[str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[list[ScopeReport], list[str]]:
    """Follow a request while, between two looks, one thing after the other happens."""
    waiting = list(turns)
    heard: list[str] = []
    reports = follow_sync(
        world.sync,
        request,
        should_stop=should_stop,
        on_report=lambda report: heard.append(report.scope_key),
        tell=(told if told is not None else []).append,
        sleep=lambda _seconds: waiting.pop(0)(),
    )
    return reports, heard


def test_a_request_says_who_asked_for_what(world: World) -> None:
    request = submit(world)

    assert request.scope_keys == ("global", "acme")
    assert (request.mode, request.force, request.status) == ("incremental", True, "pending")
    assert "@" in request.requested_by


def test_each_scope_is_reported_as_its_run_ends_and_all_in_the_order_asked(world: World) -> None:
    request = submit(world)

    def start() -> None:
        runs = {"global": "run-1", "acme": "run-2"}
        world.requests.record_runs(request.request_id, run_ids=runs, status="started")
        end(world, "run-2", "acme", status="success")

    def finish() -> None:
        end(world, "run-1", "global", status="success")
        world.requests.record_end(request.request_id, status="done")

    reports, heard = follow(world, request, start, finish)

    assert heard == ["acme", "global"]
    assert [(report.scope_key, report.status) for report in reports] == [
        ("global", "success"),
        ("acme", "success"),
    ]
    assert (reports[1].run_id, reports[1].documents) == ("run-2", 7)


def test_a_run_that_failed_and_is_tried_again_is_not_reported_as_failed(world: World) -> None:
    request = submit(world)

    def fail() -> None:
        runs = {"global": "run-1", "acme": "run-2"}
        world.requests.record_runs(request.request_id, run_ids=runs, status="started")
        end(world, "run-1", "global", status="failed", error="its machine was lost")
        end(world, "run-2", "acme", status="success")

    def succeed() -> None:
        again = {"global": "run-3"}
        world.requests.record_runs(request.request_id, run_ids=again, status="started")
        end(world, "run-3", "global", status="success")
        world.requests.record_end(request.request_id, status="done")

    reports, _ = follow(world, request, fail, succeed)

    assert [(report.run_id, report.status) for report in reports] == [
        ("run-3", "success"),
        ("run-2", "success"),
    ]


def test_a_scope_that_failed_for_good_says_why_and_one_without_a_record_what_is_known(
    world: World,
) -> None:
    request = submit(world)

    def fail() -> None:
        runs = {"global": "run-1", "acme": "run-2"}
        world.requests.record_runs(request.request_id, run_ids=runs, status="started")
        end(world, "run-1", "global", status="failed", error="the model is gone")
        world.requests.record_end(request.request_id, status="failed", error="2 of 2 scopes failed")

    reports, _ = follow(world, request, fail)

    assert [(report.status, report.error) for report in reports] == [
        ("failed", "the model is gone"),
        ("failed", "2 of 2 scopes failed"),
    ]


def test_whoever_waits_for_nobody_is_told_once_what_may_be_missing(world: World) -> None:
    request = submit(world)
    told: list[str] = []
    seconds = iter([0.0, 1.0, UNHEARD_SECONDS + 1, UNHEARD_SECONDS + 2])
    looks = iter([False, False, False, True])

    reports = follow_sync(
        replace(world.sync, seconds=lambda: next(seconds)),
        request,
        should_stop=lambda: next(looks),
        on_report=lambda _report: None,
        tell=told.append,
        sleep=lambda _seconds: None,
    )

    assert told == [UNHEARD]
    assert [report.error for report in reports] == [NOT_FOLLOWED, NOT_FOLLOWED]
    assert {report.status for report in reports} == {"skipped"}


def test_a_saved_plan_is_not_left_to_the_queue(world: World) -> None:
    with pytest.raises(ConfigurationError, match="saved plan cannot be left to the queue"):
        submit_sync(
            world.sync, SCOPES, options=RunOptions(change_digests={"acme": "x"}), force=False
        )

    assert world.requests.list_recent(limit=10) == []
