"""Landing changes as they are told, beside whoever else lands the same records.

The right to land is held only while something lands: scheduled passes find it free in between.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sync_pipeline.core.errors import ConfigurationError, PermanentError, SyncPipelineError
from sync_pipeline.core.landing.passes import Position
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import RecordOrigin
from sync_pipeline.core.waiting import stoppable, wait
from sync_pipeline.engine.landing.context import (
    HELD_SECONDS,
    LandingContext,
    landing_lease,
    opened_origin,
)
from sync_pipeline.engine.landing.follow import follow

LOOK_SECONDS: Final = 0.5
"""A silence of so long is told: then it is asked whether to stop."""
GIVEN_UP_SECONDS: Final = 0.5
"""How long the right to land is left alone after that."""
TOKEN_EVERY_SECONDS: Final = 60.0
"""How often the place of a quiet stream is recorded; it must not fall out of the origin's log."""


def require_follows(context: LandingContext, landing: Landing) -> None:
    """Find out before anything begins whether there is something to follow.

    Raises:
        ConfigurationError: the origin does not tell of changes by itself.
    """
    with opened_origin(context, landing) as origin:
        if not origin.traits.follows:
            raise ConfigurationError(
                f"nothing tells of the changes of landing {landing.name!r}.",
                remedy="Only MongoDB does, with `follow: change_stream` in the landing. Others "
                "are asked: `schedule.incremental`, or `schedule.full`.",
            )


def can_follow(context: LandingContext, landing: Landing) -> bool:
    """Whether changes are enough, or a full pass has to be landed first."""
    record = context.store.get(landing)
    return (
        record.complete_at is not None
        and record.token is not None
        and record.needs_full_pass is None
        and record.mapping_digest == landing.mapping_digest
    )


def land_as_told(
    context: LandingContext,
    landing: Landing,
    *,
    owner: str,
    on_report: Callable[[LandingReport], None],
    on_silence: Callable[[], None],
) -> None:
    """Land changes as they are told, until only a full pass helps, which is recorded.

    Args:
        context: Where to, and who says when to stop.
        landing: Of which a full pass was landed, see ``can_follow``.
        owner: Names this process, as ``owner_name`` does.
        on_report: Told of each batch that landed.
        on_silence: Called in each silence, while nothing is held.

    Raises:
        LandingBusyError: another run lands these records.
        LandingDeletionsRefusedError: a batch would delete too much.
        OriginUnavailableError: the origin cannot be reached.
        StoppedError: asked to stop.
    """
    try:
        with stoppable(context.should_stop), opened_origin(context, landing) as origin:
            while True:
                _wait(context, landing, origin, owner=owner, on_silence=on_silence)
                if not _land_what_waits(context, landing, origin, owner=owner, on_report=on_report):
                    return
                # A run that waits for its turn gets it, however many changes there are.
                wait(GIVEN_UP_SECONDS)
    except (ConfigurationError, PermanentError) as error:
        # What ended it is told, whatever becomes of the note.
        with suppress(SyncPipelineError):
            context.store.note_failure(landing.name, str(error))
        raise


def _wait(
    context: LandingContext,
    landing: Landing,
    origin: RecordOrigin,
    *,
    owner: str,
    on_silence: Callable[[], None],
) -> None:
    """Wait until the origin tells of something, which is read again by whoever lands it."""
    since = context.store.get(landing).token
    noted = context.seconds()
    with origin.follow(since, wait_seconds=LOOK_SECONDS) as stream:
        for hints in stream:
            context.checkpoint(landing)
            if hints.keys or hints.needs_full_pass is not None:
                return
            on_silence()
            if context.seconds() - noted >= TOKEN_EVERY_SECONDS:
                _note(context, landing, hints.token, since=since, owner=owner)
                return


def _note(
    context: LandingContext,
    landing: Landing,
    token: Position,
    *,
    since: Position | None,
    owner: str,
) -> None:
    """Record the place of a quiet stream, unless somebody else has gone on from another one."""
    with landing_lease(context, landing, owner=owner) as fence:
        if context.store.get(landing).token == since:
            context.store.note_token(fence, token)


def _land_what_waits(
    context: LandingContext,
    landing: Landing,
    origin: RecordOrigin,
    *,
    owner: str,
    on_report: Callable[[LandingReport], None],
) -> bool:
    """Land what was told so far, for a while; whether following can go on."""
    until = context.seconds() + HELD_SECONDS
    with landing_lease(context, landing, owner=owner) as fence:
        reports = follow(context, landing, origin=origin, fence=fence, wait_seconds=LOOK_SECONDS)
        for report in reports:
            if report is None:
                return False
            if report.pass_id is None:
                break
            on_report(report)
            if context.seconds() >= until:
                break
    return True
