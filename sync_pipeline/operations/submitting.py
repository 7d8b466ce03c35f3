"""Syncs that are left to the instance's queue, and followed from here as if they ran here."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.operations.requests import traced

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal, SyncRequest, SyncRun
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import RunOptions, SyncContext

LOOK_SECONDS: Final = 1.0
"""How often a request is looked at."""
UNHEARD_SECONDS: Final = 60.0
"""After so long without anybody taking a request, who asked is told what may be missing."""

UNHEARD: Final = (
    "Nobody has taken the request for a minute. Is Dagster's daemon up (`sync-pipeline dagster "
    "daemon`), and `sync_request_sensor` switched on? The request waits for it."
)
NOT_FOLLOWED: Final = (
    "not followed any further: it is left to the queue, see `sync-pipeline status`"
)


def submit_sync(
    sync: SyncContext, scopes: Sequence[Scope], *, options: RunOptions, force: bool
) -> SyncRequest:
    """Ask for runs of these scopes, in this order.

    Raises:
        ConfigurationError: a saved plan, which only a run of this process can be held to.
    """
    if options.change_digests:
        raise ConfigurationError(
            "a saved plan cannot be left to the queue, for a run there is not held to it.",
            remedy="Leave --submit or --plan out.",
        )
    request = sync.requests.add(
        requested_by=f"{getpass.getuser()}@{socket.gethostname()}",
        scope_keys=[scope.key for scope in scopes],
        mode=options.mode,
        force=force,
        max_deleted_fraction=options.max_deleted_fraction,
        approve_deletions=options.approve_deletions,
    )
    return traced(sync, request)


def follow_sync(
    sync: SyncContext,
    request: SyncRequest,
    *,
    should_stop: StopSignal,
    on_report: Callable[[ScopeReport], None],
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> list[ScopeReport]:
    """Wait for the runs of a request.

    Args:
        sync: The ports.
        request: As it was asked for.
        should_stop: Whether to wait no longer; the runs go on.
        on_report: Told of each scope as it ends.
        tell: Says for people what they should know meanwhile.
        sleep: Between two looks.

    Returns:
        One report per scope, in the order of the request.
    """
    told: dict[str, ScopeReport] = {}
    began, is_warned = sync.seconds(), False
    while True:
        current = sync.requests.get(request.request_id) or request
        is_over = current.status in {"done", "failed"}
        for key, report in _reports(current, _ended(sync, current)).items():
            # One that failed may be tried again, until the request says that it is over.
            if key not in told and (is_over or report.status == "success"):
                told[key] = report
                on_report(report)
        if is_over or should_stop():
            break
        if not (is_warned or current.run_ids) and sync.seconds() - began > UNHEARD_SECONDS:
            tell(UNHEARD)
            is_warned = True
        sleep(LOOK_SECONDS)
    return [told.get(key) or _not_followed(current, key) for key in request.scope_keys]


def _ended(sync: SyncContext, request: SyncRequest) -> Mapping[tuple[str, str], SyncRun]:
    runs = sync.runs.get_many(sorted(set(request.run_ids.values()))) if request.run_ids else []
    return {(run.run_id, run.scope_key): run for run in runs}


def _reports(
    request: SyncRequest, ended: Mapping[tuple[str, str], SyncRun]
) -> dict[str, ScopeReport]:
    """What is known of the scopes whose run has ended, by scope key."""
    found = {key: ended.get((run_id, key)) for key, run_id in request.run_ids.items()}
    reports = {key: _report(run) for key, run in found.items() if run is not None}
    if request.status in {"done", "failed"}:
        for key in request.scope_keys:
            reports.setdefault(key, _unrecorded(request, key))
    return reports


def _report(run: SyncRun) -> ScopeReport:
    return ScopeReport(
        scope_key=run.scope_key,
        status=run.status,
        run_id=run.run_id,
        seconds=run.seconds,
        error=run.error,
        **run.counts.numbers(),
    )


def _unrecorded(request: SyncRequest, key: str) -> ScopeReport:
    """Of a run that could not say what became of it, only the request knows."""
    is_done = request.status == "done"
    return ScopeReport(
        scope_key=key,
        status="success" if is_done else "failed",
        run_id=request.run_ids.get(key),
        error=None if is_done else request.error or "see its run in Dagster",
    )


def _not_followed(request: SyncRequest, key: str) -> ScopeReport:
    run_id = request.run_ids.get(key)
    return ScopeReport(scope_key=key, status="skipped", run_id=run_id, error=NOT_FOLLOWED)
