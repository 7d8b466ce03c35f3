"""Changes that an origin tells of by itself: hints whose records are read again.

What a hint says of a record is not used: the record is asked for, and what is there now lands.
So it does not matter whether a change is told twice, late, or beside a full pass. The rows and
the place where following goes on are committed together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from sync_pipeline.core.landing.absence import AbsentRows
from sync_pipeline.core.landing.passes import Page, PassState, Position
from sync_pipeline.core.landing.records import map_records
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import (
    Applied,
    ApplyOrder,
    ChangeHints,
    LandingFence,
    RecordOrigin,
)
from sync_pipeline.engine.landing.context import LandingContext
from sync_pipeline.engine.landing.limits import judge_for, require_allowed

QUIET_SECONDS: Final = 1.0
"""A stream that says nothing for so long has told everything so far."""
LONGEST_CATCH_UP_SECONDS: Final = 300.0
"""Where changes never cease the next run goes on with them."""
KEYS_AT_ONCE: Final = 500


def catch_up(
    context: LandingContext,
    landing: Landing,
    *,
    origin: RecordOrigin,
    fence: LandingFence,
) -> LandingReport | None:
    """Land every change that was told so far.

    Returns:
        What was done; None where only a full pass helps, which is recorded.
    """
    total = LandingReport(name=landing.name, mode="incremental")
    began = context.seconds()
    for report in follow(context, landing, origin=origin, fence=fence, wait_seconds=QUIET_SECONDS):
        if report is None:
            return None
        total = _added(total, report)
        is_quiet = report.pass_id is None
        if is_quiet or context.seconds() - began > LONGEST_CATCH_UP_SECONDS:
            return total
    return total


def follow(
    context: LandingContext,
    landing: Landing,
    *,
    origin: RecordOrigin,
    fence: LandingFence,
    wait_seconds: float,
) -> Iterator[LandingReport | None]:
    """Land changes as they are told, until whoever asks has enough: mostly the first silence.

    The place of a silence is recorded too, or a quiet stream's would fall out of the origin's log.

    Yields:
        What was done of each batch, of nothing after each silence; None where only a full pass
        helps, and then nothing more.

    Raises:
        LandingDeletionsRefusedError: a batch would delete too much; the stream goes on before it.
        StoppedError: asked to stop.
    """
    record = context.store.get(landing)
    with origin.follow(record.token, wait_seconds=wait_seconds) as stream:
        for hints in stream:
            context.checkpoint(landing)
            if hints.needs_full_pass is not None:
                context.store.note_token(fence, hints.token, needs_full_pass=hints.needs_full_pass)
                yield None
                return
            if hints.keys:
                yield _land_hints(context, landing, origin=origin, fence=fence, hints=hints)
                continue
            context.store.note_token(fence, hints.token)
            yield LandingReport(name=landing.name, mode="incremental", rows=record.rows)


def _land_hints(
    context: LandingContext,
    landing: Landing,
    *,
    origin: RecordOrigin,
    fence: LandingFence,
    hints: ChangeHints,
) -> LandingReport:
    began = context.seconds()
    state = context.store.open_pass(fence, landing, mode="incremental", since=None, resumes=False)
    keys = sorted(hints.keys)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        state = _read_again(
            context, landing, state, origin=origin, fence=fence, keys=keys[start:][:KEYS_AT_ONCE]
        )
    fetched = context.seconds()
    applied = _apply(context, landing, state, fence=fence, token=hints.token)
    require_allowed(landing, applied)
    return LandingReport(
        name=landing.name,
        mode="incremental",
        pass_id=state.pass_id,
        fetched=state.records,
        rows=applied.table_rows,
        new=applied.new,
        changed=applied.changed,
        unchanged=applied.unchanged,
        deleted=applied.deleted,
        rejected=dict(state.rejected),
        pages=state.pages,
        requests=state.requests,
        fetch_seconds=fetched - began,
        apply_seconds=context.seconds() - fetched,
    )


def _read_again(
    context: LandingContext,
    landing: Landing,
    state: PassState,
    *,
    origin: RecordOrigin,
    fence: LandingFence,
    keys: Sequence[str],
) -> PassState:
    sightings = list(origin.look_up(keys))
    records = [it.record for it in sightings if it.record is not None]
    gone = [it.key for it in sightings if it.record is None]
    if records:
        page = Page(records=records, resume=None)
        mapped = map_records(landing, records)
        state = context.store.commit_page(fence, landing, state, page, mapped)
    if gone:
        state = context.store.stage_gone(fence, landing, state, gone)
    return state


def _apply(
    context: LandingContext,
    landing: Landing,
    state: PassState,
    *,
    fence: LandingFence,
    token: Position,
) -> Applied:
    order = ApplyOrder(
        absent=AbsentRows.STAY,
        judge=partial(judge_for, landing),
        token=token,
    )
    return context.store.apply(fence, landing, state, order)


def _added(total: LandingReport, report: LandingReport) -> LandingReport:
    rejected = {
        reason: total.rejected.get(reason, 0) + report.rejected.get(reason, 0)
        for reason in (*total.rejected, *report.rejected)
    }
    return replace(
        total,
        pass_id=report.pass_id or total.pass_id,
        rows=report.rows,
        rejected=rejected,
        **{
            name: getattr(total, name) + getattr(report, name)
            for name in (
                "fetched",
                "new",
                "changed",
                "unchanged",
                "deleted",
                "pages",
                "requests",
                "fetch_seconds",
                "apply_seconds",
            )
        },
    )
