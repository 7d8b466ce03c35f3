"""A group of scopes, one after the other: each with its own lease, outcome and error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sync_pipeline.core.errors import MAX_OUTAGES, OUTAGES, ScopeBusyError, SyncPipelineError
from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.staged import AppliedChanges
from sync_pipeline.engine.steps.sync import Reached, sync_scope
from sync_pipeline.engine.telling import span_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What became of one scope of a group."""

    report: ScopeReport
    mode: SyncMode
    """What it was in the end."""
    is_in_step: bool = False
    """Whether the scope was synced; a check may have failed all the same."""
    error: Exception | None = None
    """What ended it, or kept the index from being checked."""

    @property
    def is_busy(self) -> bool:
        """Whether another run holds the scope."""
        return isinstance(self.error, ScopeBusyError)


def sync_group(
    sync: SyncContext, *, scopes: Sequence[Scope], run_id: str, mode: SyncMode = "full"
) -> Iterator[Member]:
    """Sync scopes one after the other and check each; one that fails keeps no other from its turn.

    A scope that another run holds is tried once more after all others, and is skipped if it is
    still held: that run syncs it. Ends early where it is asked to stop, and after
    ``MAX_OUTAGES`` scopes in a row met what the next one would meet as well; the scopes that are
    missing were not begun then.

    Yields:
        Each scope that was begun, as soon as its outcome is known.
    """
    busy: list[Scope] = []
    outages = 0
    for scope in scopes:
        if sync.should_stop() or outages >= MAX_OUTAGES:
            return
        member = sync_member(sync, scope=scope, run_id=run_id, mode=mode)
        if member.is_busy:
            busy.append(scope)
            continue
        outages = outages + 1 if isinstance(member.error, OUTAGES) else 0
        yield member
    for scope in busy:
        if sync.should_stop():
            return
        member = sync_member(sync, scope=scope, run_id=run_id, mode=mode)
        skipped = replace(member.report, status="skipped")
        yield replace(member, report=skipped) if member.is_busy else member


def sync_member(sync: SyncContext, *, scope: Scope, run_id: str, mode: SyncMode) -> Member:
    """Sync one scope and check it in the index; whatever goes wrong is in what it returns."""
    with sync.tracer.span("scope", span_facts(run_id=run_id, scope=scope.key)) as span:
        member = _sync_member(sync, scope=scope, run_id=run_id, mode=mode)
        span.note(span_facts(status=member.report.status))
        if member.error is not None:
            span.fail(type(member.error).__name__)
    return member


def _sync_member(sync: SyncContext, *, scope: Scope, run_id: str, mode: SyncMode) -> Member:
    reached: Reached | None = None

    def note(step: Reached) -> None:
        nonlocal reached
        reached = step

    try:
        report = sync_scope(sync, scope=scope, run_id=run_id, mode=mode, on_reached=note)
    except Exception as error:  # noqa: BLE001 - also a defect is this scope's alone
        nothing = ScopeReport(scope_key=scope.key, status="failed", run_id=run_id)
        report = nothing if reached is None else reached.report()
        report = replace(report, status="failed", error=told(error))
        return Member(report=report, mode=_mode(reached, asked=mode), error=error)
    member = Member(
        report=report,
        mode=_mode(reached, asked=mode),
        is_in_step=report.stopped_reason is None,
    )
    return _checked(sync, member, scope=scope, seed=run_id) if member.is_in_step else member


def _checked(sync: SyncContext, member: Member, *, scope: Scope, seed: str) -> Member:
    """The same with the answer of the index."""
    try:
        results = check_scope(sync, scope=scope, seed=seed)
    except Exception as error:  # noqa: BLE001 - as above
        said = f"synced, but the index could not be checked: {told(error)}"
        failed = replace(member.report, status="failed", error=said)
        return replace(member, report=failed, error=error)
    broken = sorted(result.claim for result in results if not result.passed)
    if not broken:
        return member
    said = f"synced, but a check of the index failed: {', '.join(broken)}"
    return replace(member, report=replace(member.report, status="failed", error=said))


def told(error: Exception) -> str:
    """What an error says, where it is one of ours; messages of others may quote data."""
    if isinstance(error, SyncPipelineError):
        return str(error)
    return (
        f"not foreseen: {type(error).__name__}; please report it with the traceback in the events "
        "of this run"
    )


def _mode(reached: Reached | None, *, asked: SyncMode) -> SyncMode:
    if reached is None:
        return asked
    manifest = reached.staged if isinstance(reached, AppliedChanges) else reached
    return "full" if manifest.is_full else "incremental"
