"""One pass: fetch page by page, judge what came, and make the table what it says.

What is fetched is kept page by page and belongs to the pass: whoever is killed goes on at the
page after the last one kept. Nothing shows in the table before the pass has come to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sync_pipeline.core.errors import (
    LandingRefusedError,
    RateLimitedError,
    StoppedError,
    SyncPipelineError,
)
from sync_pipeline.core.landing.absence import AbsentRows, rule_for_absent
from sync_pipeline.core.landing.passes import (
    CompletePass,
    IncompletePass,
    PassState,
    PassSurvey,
    judge_pass,
    why_refused,
)
from sync_pipeline.core.landing.records import map_records
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import Landing, LandingMode
from sync_pipeline.core.ports import (
    OWNER_SEPARATOR,
    Applied,
    ApplyOrder,
    LandingFence,
    LandingRecord,
    RecordOrigin,
)
from sync_pipeline.core.waiting import stoppable
from sync_pipeline.engine.landing.context import LandingContext, landing_lease, opened_origin
from sync_pipeline.engine.landing.follow import catch_up
from sync_pipeline.engine.landing.limits import judge_for, require_allowed

_NEVER_FOLLOWED: Final = "no full pass has been landed since changes are followed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LandRequest:
    """What one landing is asked for, beyond the settings."""

    mode: LandingMode = "full"
    max_deleted_fraction: float | None = None
    """How much of the table may be deleted, 0 to 1; None takes the limit of the settings."""
    approve_deletions: int | None = None
    """How many rows may be deleted beyond that limit: exactly so many."""


def owner_name(*, process: str, run_id: str) -> str:
    """Name a run so that others can judge whether its process is alive."""
    return f"{process}{OWNER_SEPARATOR}{run_id}"


@dataclass(slots=True)
class _Work:
    """One run over one landing."""

    context: LandingContext
    landing: Landing
    origin: RecordOrigin
    fence: LandingFence
    notes: list[str] = field(default_factory=list)


def land(
    context: LandingContext, landing: Landing, *, request: LandRequest, owner: str
) -> LandingReport:
    """Bring the records of an origin into their table.

    Args:
        context: Of the run.
        landing: What lands; its table is prepared (``LandingStore.prepare``).
        request: How.
        owner: Names this run, as ``owner_name`` does; the same name has the same right.

    Returns:
        What was done.

    Raises:
        LandingBusyError: another run lands the same records.
        RateLimitedError: the origin asked to wait for longer than the settings allow.
        OriginUnavailableError: it does not answer; what was fetched is kept.
        OriginConfigurationError: it does not take what the settings say.
        LandingRefusedError: too much of what came cannot be used; nothing was landed.
        LandingDeletionsRefusedError: everything was landed, and nothing deleted.
        StoppedError: asked to stop.
    """
    landing = _with_limits(landing, request)
    try:
        with (
            stoppable(context.should_stop),
            opened_origin(context, landing) as origin,
            landing_lease(context, landing, owner=owner) as fence,
        ):
            work = _Work(context, landing, origin, fence)
            return _land(work, request)
    except StoppedError:
        raise
    except SyncPipelineError as error:
        # What ended it is told, whatever becomes of the note.
        with suppress(SyncPipelineError):
            context.store.note_failure(
                landing.name,
                str(error),
                retry_after_seconds=error.retry_after_seconds
                if isinstance(error, RateLimitedError)
                else None,
            )
        raise


def _with_limits(landing: Landing, request: LandRequest) -> Landing:
    fraction = request.max_deleted_fraction
    policy = landing.deletions.policy
    policy = replace(
        policy,
        max_deleted_fraction=policy.max_deleted_fraction if fraction is None else fraction,
        approved_deletions=request.approve_deletions,
    )
    return replace(landing, deletions=replace(landing.deletions, policy=policy))


def _land(work: _Work, request: LandRequest) -> LandingReport:
    record = work.context.store.get(work.landing)
    why_full = _why_full(work, record) if request.mode == "incremental" else None
    if why_full is not None:
        work.notes.append(f"a full pass, for {why_full}")
    if request.mode == "incremental" and why_full is None:
        if work.origin.traits.tells_changes:
            return _one_pass(work, mode="incremental", since=_since(work.landing, record))
        report = catch_up(work.context, work.landing, origin=work.origin, fence=work.fence)
        if report is not None:
            return report
        work.notes.append("a full pass, for the changes that were told do not hang together")
    return _one_pass(work, mode="full", since=None)


def _why_full(work: _Work, record: LandingRecord) -> str | None:
    """Why changes alone would not do; None where they do."""
    traits = work.origin.traits
    if not (traits.tells_changes or traits.follows):
        return "this origin does not tell changes"
    if record.complete_at is None:
        return "no full pass has been landed so far"
    if record.mapping_digest != work.landing.mapping_digest:
        return "the mapping has changed since the last one"
    if record.needs_full_pass is not None:
        return record.needs_full_pass
    if traits.tells_changes and record.changed_at is None:
        return "no record that was landed had a time of change"
    if not traits.tells_changes and record.token is None:
        return "nothing says from where to follow the changes"
    return None


def _since(landing: Landing, record: LandingRecord) -> datetime | None:
    if record.changed_at is None:
        return None
    return record.changed_at - timedelta(seconds=landing.overlap_seconds)


def _one_pass(work: _Work, *, mode: LandingMode, since: datetime | None) -> LandingReport:
    context, landing = work.context, work.landing
    if mode == "full" and work.origin.traits.follows:
        _note_where_to_follow(work)
    state = context.store.open_pass(
        work.fence, landing, mode=mode, since=since, resumes=work.origin.traits.resumes
    )
    began = context.seconds()
    if not state.is_fetched:
        state = _fetch(work, state)
    fetched = context.seconds()
    survey = context.store.survey(landing, state)
    reason = why_refused(state, survey, landing=landing)
    if reason is not None:
        # What it staged is of no use under any settings that would take it.
        context.store.drop_pass(work.fence, landing, state)
        raise LandingRefusedError(landing=landing.name, reason=reason)
    judged = judge_pass(state, survey, traits=work.origin.traits, landing=landing)
    applied = _apply(work, state, survey, judged)
    report = _report(work, state, survey, judged, applied)
    report = replace(
        report,
        fetch_seconds=fetched - began,
        apply_seconds=context.seconds() - fetched,
    )
    require_allowed(landing, applied)
    return report


def _note_where_to_follow(work: _Work) -> None:
    """Have a place to follow from that is older than what the pass will read.

    A place that is recorded already is older still, or was begun anew when the old one was lost,
    which ended the passes of before. What is told twice does no harm.
    """
    if work.context.store.get(work.landing).token is not None:
        return
    with work.origin.follow(None, wait_seconds=0) as stream:
        hints = next(stream)
    work.context.store.note_token(work.fence, hints.token, needs_full_pass=_NEVER_FOLLOWED)


def _fetch(work: _Work, state: PassState) -> PassState:
    context, landing = work.context, work.landing
    pages = work.origin.pages(since=state.since, start=state.position)
    with closing(pages):
        for page in pages:
            mapped = map_records(landing, page.records)
            state = context.store.commit_page(work.fence, landing, state, page, mapped)
            context.progress.advance(landing.name, done=state.records, total=page.total)
            if page.is_last:
                break
            context.checkpoint(landing)
    return state


def _apply(
    work: _Work,
    state: PassState,
    survey: PassSurvey,
    judged: CompletePass | IncompletePass,
) -> Applied:
    context, landing = work.context, work.landing
    rule = rule_for_absent(judged, confirm=landing.deletions.confirm)
    looked_up: Sequence[str] = ()
    if rule is AbsentRows.LOOKED_UP and _may_go(landing, survey):
        looked_up = _look_up(work, state)
    order = ApplyOrder(
        absent=rule,
        looked_up=frozenset(looked_up),
        is_complete=state.mode == "full"
        and (isinstance(judged, CompletePass) or not work.origin.traits.vouches_for_absence),
        judge=partial(judge_for, landing),
    )
    return context.store.apply(work.fence, landing, state, order)


def _may_go(landing: Landing, survey: PassSurvey) -> bool:
    """Whether asking for single records is worth it: more than the limit is refused anyway."""
    verdict = judge_for(landing, survey.absent, survey.table_rows)
    return survey.absent > 0 and verdict.is_allowed


def _look_up(work: _Work, state: PassState) -> list[str]:
    """Ids of absent rows whose record the origin does not have."""
    landing = work.landing
    rules = landing.deletions
    limit = max(rules.max_lookups, rules.policy.approved_deletions or 0)
    absent = work.context.store.list_absent(landing, state, limit=limit)
    ids = {row.source_key: row.id for row in absent}
    gone: list[str] = []
    there = 0
    for sighting in work.origin.look_up(list(ids)):
        if sighting.record is None or any(
            row.is_gone for row in map_records(landing, [sighting.record]).rows
        ):
            gone.append(ids[sighting.key])
        else:
            there += 1
    if there:
        work.notes.append(
            f"{there:,} records that the list left out are there when they are asked for: their "
            "rows stay"
        )
    return gone


def _report(
    work: _Work,
    state: PassState,
    survey: PassSurvey,
    judged: CompletePass | IncompletePass,
    applied: Applied,
) -> LandingReport:
    notes = list(work.notes)
    if isinstance(judged, IncompletePass) and applied.absent:
        notes.append(f"{applied.absent:,} rows without a record stay: {judged.why}")
    elif applied.waiting and applied.refused is None:
        doubt = judged.doubt if isinstance(judged, CompletePass) else None
        because = "" if doubt is None else f" ({doubt})"
        notes.append(
            f"{applied.waiting:,} rows without a record stay until that is confirmed by "
            f"{work.landing.deletions.confirm}{because}"
        )
    return LandingReport(
        name=work.landing.name,
        mode=state.mode,
        pass_id=state.pass_id,
        resumed=state.resumed > 0,
        complete=isinstance(judged, CompletePass) and applied.refused is None,
        fetched=state.records,
        rows=applied.table_rows,
        new=applied.new,
        changed=applied.changed,
        unchanged=applied.unchanged,
        deleted=applied.deleted,
        absent=applied.absent,
        waiting=applied.waiting,
        repeated=max(0, state.staged - survey.distinct_ids - state.overlapping),
        rejected=dict(state.rejected),
        unknown_fields=tuple(sorted(state.unknown_fields)),
        pages=state.pages,
        requests=state.requests,
        mended_seams=state.mended_seams,
        waited_seconds=state.waited_seconds,
        notes=tuple(notes),
    )
