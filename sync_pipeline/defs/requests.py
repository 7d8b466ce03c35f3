"""From the syncs that somebody asked for to runs, and back to what became of them.

A request is marked as started once its runs are seen in Dagster's history, and never before:
whatever dies in between, it is asked for again, and a run that exists is not asked for twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from sync_pipeline.core.grouping import PlannedRun
from sync_pipeline.core.ports import SyncRequest, SyncRequests, SyncRuns
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import GLOBAL_KEY, Scope, why_not_a_tenant_id
from sync_pipeline.defs.dagster_private import (
    NOT_FINISHED_STATUSES,
    WILL_RETRY_TAG,
)
from sync_pipeline.defs.groups import group_request
from sync_pipeline.defs.jobs import job_of, run_config
from sync_pipeline.defs.run_scopes import GROUP_JOB, scope_keys
from sync_pipeline.defs.run_tags import REQUEST_TAG, priority_tags
from sync_pipeline.engine.context import RunOptions, SyncContext, SyncOptions
from sync_pipeline.engine.questions.due import in_runs

MAX_REQUESTS: Final = 1_000
"""Most requests that one tick looks at, the oldest first; a started one costs one small query."""

MAX_NEW_RUNS: Final = 200
"""Most runs that one tick asks for, which has 60 seconds; the next one asks for the others."""

MAX_NAMED: Final = 10
"""Most scopes that the error of a request names."""

_ENDED: Final = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


def advance_requests(
    instance: dg.DagsterInstance, sync: SyncContext
) -> tuple[int, list[dg.RunRequest]]:
    """Follow open requests, and say which runs they still need.

    Where nothing is open this is one small query.

    Args:
        instance: Where runs are.
        sync: What was asked for, the oldest first; which runs are started first, and what shares
            one.

    Returns:
        How many are open, and at most ``MAX_NEW_RUNS`` runs.
    """
    is_open = sync.requests.list_open(limit=MAX_REQUESTS)
    needed: list[dg.RunRequest] = []
    for request in is_open:
        if request.status == "started":
            _follow(instance, sync, request)
        else:
            waiting = _start(instance, sync.requests, request)
            room = MAX_NEW_RUNS - len(needed)
            runs = in_runs(sync, waiting)[:room] if room else []
            needed += [_needed(request, run, options=sync.options) for run in runs]
    return len(is_open), needed


def _needed(request: SyncRequest, run: PlannedRun, *, options: SyncOptions) -> dg.RunRequest:
    priority = options.run_order.priority(run.first)
    if not run.is_group:
        return run_request(request, run.first, priority=priority, is_big=run.is_big)
    return group_request(
        run.scopes,
        priority=priority,
        policy=options.groups,
        mode=_mode(request),
        max_deleted_fraction=request.max_deleted_fraction,
        run_key=f"{request.request_id}/group of {len(run.scopes)} from {run.first.key}",
        tags={REQUEST_TAG: request.request_id},
    )


def _mode(request: SyncRequest) -> SyncMode:
    return "incremental" if request.mode == "incremental" else "full"


def run_request(
    request: SyncRequest, scope: Scope, *, priority: int, is_big: bool = False
) -> dg.RunRequest:
    """Ask for the run of one scope of a request; asked for twice, it is one run."""
    options = RunOptions(
        mode=_mode(request),
        max_deleted_fraction=request.max_deleted_fraction,
        approve_deletions=request.approve_deletions,
    )
    return dg.RunRequest(
        job_name=job_of(is_big=is_big),
        partition_key=scope.key,
        run_key=f"{request.request_id}/{scope.key}",
        run_config=run_config(options, scope=scope),
        tags={
            REQUEST_TAG: request.request_id,
            **priority_tags(priority),
        },
    )


def _start(
    instance: dg.DagsterInstance, requests: SyncRequests, request: SyncRequest
) -> list[Scope]:
    """Note the runs that there are by now, and say which scopes still need one."""
    unusable = [key for key in request.scope_keys if not _is_scope_key(key)]
    if unusable:
        # Nothing of ours writes such a request; left open it would fail every tick.
        requests.record_end(
            request.request_id, status="failed", error=f"it names no scopes: {_listed(unusable)}"
        )
        return []
    # Runs of ticks before the last one are recorded; it asked for no more than half of these.
    runs = _latest(
        instance.get_runs(
            dg.RunsFilter(tags={REQUEST_TAG: request.request_id}), limit=2 * MAX_NEW_RUNS
        )
    )
    new = {key: run.run_id for key, run in runs.items() if key in set(request.waiting_keys)}
    waiting = [key for key in request.waiting_keys if key not in runs]
    if new or not waiting:
        requests.record_runs(
            request.request_id, run_ids=new, status="pending" if waiting else "started"
        )
    return [Scope.from_key(key) for key in waiting]


def _follow(instance: dg.DagsterInstance, sync: SyncContext, request: SyncRequest) -> None:
    """Record what became of a request, once none of its runs is under way."""
    tags = {REQUEST_TAG: request.request_id}
    if instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=list(NOT_FINISHED_STATUSES))):
        return
    runs = instance.get_runs(dg.RunsFilter(tags=tags, statuses=_ENDED))
    endings = _endings(sync.runs, runs)
    failed = [key for key in request.scope_keys if key not in endings or not endings[key].success]
    latest = _latest(runs)
    if any(key in latest and _is_tried_again(latest[key]) for key in failed):
        return
    repeated = {
        key: ending.run_id
        for key, ending in endings.items()
        if request.run_ids.get(key) != ending.run_id
    }
    if repeated:
        sync.requests.record_runs(request.request_id, run_ids=repeated, status="started")
    if not failed:
        sync.requests.record_end(request.request_id, status="done")
        return
    busy = [key for key in failed if key in endings and endings[key].was_busy]
    if len(busy) < len(failed):
        others = [key for key in failed if key not in busy]
        error = f"{len(others)} of {len(request.scope_keys)} scopes failed: {_listed(others)}"
        error += f"; {len(busy)} were busy" if busy else ""
    else:
        error = f"{len(busy)} of {len(request.scope_keys)} scopes were busy: {_listed(busy)}"
    sync.requests.record_end(request.request_id, status="failed", error=error)


@dataclass(frozen=True, slots=True)
class _Ending:
    """What became of a scope of a request."""

    run_id: str
    success: bool
    was_busy: bool = False
    """Whether a group left it to another run."""


def _endings(recorded: SyncRuns, runs: Sequence[dg.DagsterRun]) -> dict[str, _Ending]:
    """By scope key the outcome in the newest run that had it; of a group, as it is recorded.

    A group that was repeated from failure has left out what the one before had done.

    Args:
        recorded: What groups record of each of their scopes.
        runs: Of one request, all ended, newest first.
    """
    groups = [run.run_id for run in runs if run.job_name == GROUP_JOB]
    known = {(it.run_id, it.scope_key): it for it in recorded.get_many(groups)} if groups else {}
    endings: dict[str, _Ending] = {}
    for run in runs:
        for key in scope_keys(run):
            member = known.get((run.run_id, key))
            if key in endings or (member is None and run.job_name == GROUP_JOB):
                continue
            success = run.is_success if member is None else member.status == "success"
            was_busy = member is not None and member.status == "skipped"
            endings[key] = _Ending(run.run_id, success, was_busy)
    return endings


def _latest(runs: Sequence[dg.DagsterRun]) -> dict[str, dg.DagsterRun]:
    """The newest run of each scope; a run that was repeated has a newer one of the same tags.

    Args:
        runs: Newest first, as Dagster lists them.
    """
    latest: dict[str, dg.DagsterRun] = {}
    for run in runs:
        for key in scope_keys(run):
            latest.setdefault(key, run)
    return latest


def _is_tried_again(run: dg.DagsterRun) -> bool:
    return run.tags.get(WILL_RETRY_TAG) == "true"


def _is_scope_key(key: str) -> bool:
    return key == GLOBAL_KEY or why_not_a_tenant_id(key) is None


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - MAX_NAMED
    return ", ".join(map(repr, keys[:MAX_NAMED])) + (f" and {more} more" if more > 0 else "")
