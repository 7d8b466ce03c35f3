"""Keeping what became of each run where people and programs look for it, Dagster's history apart.

Who started a run makes no difference: it records itself. What cannot be recorded is logged;
it never fails a sync, whose result is in the index.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import StoppedError, SyncPipelineError
from sync_pipeline.core.ports import SyncRun, SyncRuns
from sync_pipeline.core.reports import Counts, ScopeReport
from sync_pipeline.defs.failures import ERROR_FACT, STOPPED_FACT, Fact, error_facts
from sync_pipeline.defs.run_scopes import group_config, scope_keys
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.group import Member
from sync_pipeline.engine.staged import AppliedChanges
from sync_pipeline.engine.steps.sync import Reached
from sync_pipeline.engine.telling import tell
from sync_pipeline.redaction import redact

KILLED: Final = "the run was ended from outside"

_log: Final = logging.getLogger(__name__)


def record_success(
    context: dg.AssetExecutionContext, sync: SyncContext, *, report: ScopeReport, is_full: bool
) -> None:
    """Record a run that came to its end; a check may still find that it failed."""

    def record() -> None:
        _record(
            sync.runs,
            SyncRun(
                run_id=context.run.run_id,
                scope_key=report.scope_key,
                mode="full" if is_full else "incremental",
                status=report.status,
                started_at=_started_at(context.instance, run_id=context.run.run_id),
                finished_at=history_now(),
                counts=Counts(**report.numbers()),
                seconds=report.seconds,
            ),
        )

    _without_failing(record)


@contextmanager
def recording_failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    sync: SyncContext,
    *,
    reached: Reached | None,
) -> Iterator[None]:
    """Record a run that fails for good inside the ``with``; a step that is tried again is not one.

    Args:
        context: Which run and scope.
        sync: The ports.
        reached: What the step before handed over; None in the first one.
    """
    try:
        yield
    except dg.Failure as error:
        failure = error

        def record() -> None:
            before = ScopeReport(scope_key=context.partition_key, status="failed")
            report = before if reached is None else reached.report()
            _record(
                sync.runs,
                SyncRun(
                    run_id=context.run.run_id,
                    scope_key=context.partition_key,
                    mode=_asked_mode(context.run) if reached is None else _mode_of(reached),
                    status="failed",
                    started_at=_started_at(context.instance, run_id=context.run.run_id),
                    finished_at=history_now(),
                    counts=_counts(failure) or Counts(**report.numbers()),
                    seconds=report.seconds,
                    error=redact(str(failure.description)),
                    facts=_facts(failure),
                ),
            )

        _without_failing(record)
        raise


def record_failed_checks(sync: SyncContext, *, run_id: str, scope_key: str, error: str) -> None:
    """Record that a run which came to its end has failed all the same."""
    _without_failing(
        lambda: _record_failure(sync.runs, run_id=run_id, scope_key=scope_key, error=redact(error))
    )


def record_member(sync: SyncContext, member: Member, *, run_id: str, started_at: datetime) -> None:
    """Record what became of one scope of a group; of one that is tried again nothing is."""
    report, error = member.report, member.error
    facts: dict[str, Fact] = {}
    if isinstance(error, SyncPipelineError):
        facts = {ERROR_FACT: type(error).__name__, **error_facts(error)}
    elif error is not None:
        facts = {ERROR_FACT: type(error).__name__}
    elif report.stopped_reason is not None:
        facts = {ERROR_FACT: StoppedError.__name__, STOPPED_FACT: report.stopped_reason}
    _without_failing(
        lambda: _record(
            sync.runs,
            SyncRun(
                run_id=run_id,
                scope_key=report.scope_key,
                mode=member.mode,
                status=report.status,
                started_at=started_at,
                finished_at=history_now(),
                counts=Counts(**report.numbers()),
                seconds=report.seconds,
                error=None if report.status == "success" else redact(str(report.error)),
                facts=facts,
            ),
        )
    )


def record_killed(runs: SyncRuns, record: dg.RunRecord, *, why: str) -> None:
    """Record a run that could not do so itself.

    Of a group those scopes whose outcome is not recorded: one was in hand, the others had no turn.

    Args:
        runs: Where to.
        record: Which one.
        why: What became of it.
    """
    run, now, error = record.dagster_run, history_now(), f"{KILLED}: {why}"
    keys = scope_keys(run)

    def write() -> None:
        known = {it.scope_key: it.status for it in runs.get_many([run.run_id])}
        for key in keys:
            if key not in known:
                _record(
                    runs,
                    SyncRun(
                        run_id=run.run_id,
                        scope_key=key,
                        mode=_asked_mode(run),
                        status="failed",
                        started_at=_moment(record.start_time) or record.create_timestamp,
                        finished_at=now,
                        error=error,
                    ),
                )
            elif len(keys) == 1:
                # Its checks were still to come; of a group a scope is recorded after them.
                _record_failure(runs, run_id=run.run_id, scope_key=key, error=error)

    if keys:
        _without_failing(write)


def _record(runs: SyncRuns, run: SyncRun) -> None:
    """Record how a run ended, and tell programs that read the log."""
    error = None
    if run.error is not None:
        error = {"code": run.facts.get(ERROR_FACT), "message": run.error}
    tell(
        logging.ERROR if run.status == "failed" else logging.INFO,
        "run_ended",
        f"the run ended: {run.status}",
        run_id=run.run_id,
        scope=run.scope_key,
        mode=run.mode,
        status=run.status,
        counts={name: count for name, count in run.counts.numbers().items() if count},
        seconds=(run.finished_at - run.started_at).total_seconds(),
        step_seconds=asdict(run.seconds),
        error=error,
    )
    runs.record(run)


def _record_failure(runs: SyncRuns, *, run_id: str, scope_key: str, error: str) -> None:
    """Record that a run which came to its end has failed, and tell it."""
    tell(
        logging.ERROR,
        "run_failed_afterwards",
        "a run that had come to its end has failed all the same",
        run_id=run_id,
        scope=scope_key,
        error={"message": error},
    )
    runs.record_failure(run_id=run_id, scope_key=scope_key, error=error, finished_at=history_now())


def _without_failing(record: Callable[[], None]) -> None:
    try:
        record()
    except Exception as error:  # noqa: BLE001 - whatever it is, the sync has its result already
        _log.warning("a run could not be recorded: %s", type(error).__name__)


def _facts(failure: dg.Failure) -> dict[str, Fact]:
    """The class of the error, and what it carries."""
    facts = {name: value.value for name, value in failure.metadata.items()}
    return {name: value for name, value in facts.items() if isinstance(value, str | int | float)}


def _counts(failure: dg.Failure) -> Counts | None:
    """What a run had done that was stopped in the middle of a step."""
    stop = failure.__cause__
    return stop.counts if isinstance(stop, StoppedError) else None


def _mode_of(reached: Reached) -> str:
    manifest = reached.staged if isinstance(reached, AppliedChanges) else reached
    return "full" if manifest.is_full else "incremental"


def _asked_mode(run: dg.DagsterRun) -> str:
    """The mode in the run config; ``full`` where it says none."""
    grouped = group_config(run).get("mode")
    if grouped is not None:
        return str(grouped)
    config: Any = run.run_config
    for name in ("ops", "exported_documents", "config", "mode"):
        config = config.get(name) if isinstance(config, Mapping) else None
    return "full" if config is None else str(config)


def _started_at(instance: dg.DagsterInstance, *, run_id: str) -> datetime:
    record = instance.get_run_record_by_id(run_id)
    return (_moment(record.start_time) if record is not None else None) or history_now()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)


def history_now() -> datetime:
    """The clock of Dagster's own times; ``SyncContext.now`` is for what a sync records."""
    return datetime.now(tz=UTC)
