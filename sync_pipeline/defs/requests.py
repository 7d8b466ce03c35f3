"""From the syncs that somebody asked for to runs, and back to what became of them.

A request is marked as started once its runs are seen in Dagster's history, and never before:
whatever dies in between, it is asked for again, and a run that exists is not asked for twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dagster as dg

from sync_pipeline.core.ports import SyncRequest, SyncRequests
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.core.scope import GLOBAL_KEY, Scope, why_not_a_tenant_id
from sync_pipeline.defs.dagster_private import (
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from sync_pipeline.defs.jobs import run_config
from sync_pipeline.defs.schedules import priority_tags
from sync_pipeline.engine.context import RunOptions

REQUEST_TAG: Final = "sync_pipeline/request"
"""Run tag that names the request which a run answers."""

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
    instance: dg.DagsterInstance, requests: SyncRequests, *, order: RunOrder
) -> tuple[int, list[dg.RunRequest]]:
    """Follow open requests, and say which runs they still need.

    Where nothing is open this is one small query.

    Args:
        instance: Where runs are.
        requests: What was asked for, the oldest first.
        order: Says which queued runs are started first.

    Returns:
        How many are open, and at most ``MAX_NEW_RUNS`` runs.
    """
    is_open = requests.list_open(limit=MAX_REQUESTS)
    needed: list[dg.RunRequest] = []
    for request in is_open:
        if request.status == "started":
            _follow(instance, requests, request)
        else:
            limit = MAX_NEW_RUNS - len(needed)
            needed += [
                run_request(request, scope, priority=order.priority(scope))
                for scope in _start(instance, requests, request, limit=limit)
            ]
    return len(is_open), needed


def run_request(request: SyncRequest, scope: Scope, *, priority: int) -> dg.RunRequest:
    """Ask for the run of one scope of a request; asked for twice, it is one run."""
    mode: SyncMode = "incremental" if request.mode == "incremental" else "full"
    options = RunOptions(
        mode=mode,
        max_deleted_fraction=request.max_deleted_fraction,
        approve_deletions=request.approve_deletions,
    )
    return dg.RunRequest(
        partition_key=scope.key,
        run_key=f"{request.request_id}/{scope.key}",
        run_config=run_config(options, scope=scope),
        tags={
            REQUEST_TAG: request.request_id,
            **priority_tags(priority),
        },
    )


def _start(
    instance: dg.DagsterInstance, requests: SyncRequests, request: SyncRequest, *, limit: int
) -> list[Scope]:
    """Note the runs that there are by now, and say which scopes need one next."""
    unusable = [key for key in request.scope_keys if not _is_scope_key(key)]
    if unusable:
        # Nothing of ours writes such a request; left open it would fail every tick.
        requests.record_end(
            request.request_id, status="failed", error=f"it names no scopes: {_listed(unusable)}"
        )
        return []
    # More than these were never asked for: what waits is asked for in order.
    keys = [*request.waiting_keys[:MAX_NEW_RUNS]]
    tags: dict[str, str | Sequence[str]] = {
        REQUEST_TAG: request.request_id,
        PARTITION_NAME_TAG: keys,
    }
    runs = _latest(instance.get_runs(dg.RunsFilter(tags=tags)))
    waiting = [key for key in request.waiting_keys if key not in runs]
    if runs:
        requests.record_runs(
            request.request_id,
            run_ids={key: run.run_id for key, run in runs.items()},
            status="pending" if waiting else "started",
        )
    return [Scope.from_key(key) for key in waiting[:limit]]


def _follow(instance: dg.DagsterInstance, requests: SyncRequests, request: SyncRequest) -> None:
    """Record what became of a request, once none of its runs is under way."""
    tags = {REQUEST_TAG: request.request_id}
    if instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=list(NOT_FINISHED_STATUSES))):
        return
    latest = _latest(instance.get_runs(dg.RunsFilter(tags=tags, statuses=_ENDED)))
    failed = [key for key in request.scope_keys if key not in latest or not latest[key].is_success]
    if any(key in latest and _is_tried_again(latest[key]) for key in failed):
        return
    repeated = {
        key: run.run_id for key, run in latest.items() if request.run_ids.get(key) != run.run_id
    }
    if repeated:
        requests.record_runs(request.request_id, run_ids=repeated, status="started")
    if failed:
        error = f"{len(failed)} of {len(request.scope_keys)} scopes failed: {_listed(failed)}"
        requests.record_end(request.request_id, status="failed", error=error)
    else:
        requests.record_end(request.request_id, status="done")


def _latest(runs: Sequence[dg.DagsterRun]) -> dict[str, dg.DagsterRun]:
    """The newest run of each scope; a run that was repeated has a newer one of the same tags.

    Args:
        runs: Newest first, as Dagster lists them.
    """
    latest: dict[str, dg.DagsterRun] = {}
    for run in runs:
        latest.setdefault(run.tags[PARTITION_NAME_TAG], run)
    return latest


def _is_tried_again(run: dg.DagsterRun) -> bool:
    return run.tags.get(WILL_RETRY_TAG) == "true"


def _is_scope_key(key: str) -> bool:
    return key == GLOBAL_KEY or why_not_a_tenant_id(key) is None


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - MAX_NAMED
    return ", ".join(map(repr, keys[:MAX_NAMED])) + (f" and {more} more" if more > 0 else "")
