"""Landing records of other systems: by name, with reports, and as they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.changes import FeedState
from sync_pipeline.core.errors import (
    ConfigurationError,
    LandingSupersededError,
    RateLimitedError,
    StoppedError,
    TransientError,
)
from sync_pipeline.operations import asking
from sync_pipeline.operations.following import change_feed

if TYPE_CHECKING:
    from sync_pipeline.core.landing.report import LandingReport
    from sync_pipeline.core.ports import RejectedRecord, StopSignal
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.landing.ages import LandingAge
    from sync_pipeline.engine.landing.land import LandRequest
    from sync_pipeline.engine.landing.landings import Landings

ALL: Final = "all"
"""Means every landing of the settings."""

PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds until following is tried again, after one failure, two, and so on."""
SYNC_AGAIN_SECONDS: Final = 5.0
"""How long after a sync that could not be done the next try is made, where nothing changes."""
_LOOK_SECONDS: Final = 0.2

_log: Final = logging.getLogger(__name__)


def installed_landings(sync: SyncContext) -> Landings:
    """The landings of an installation.

    Raises:
        ConfigurationError: it has none.
    """
    if sync.landings is None:
        raise ConfigurationError(
            "nothing lands here: the settings have no `landings`.",
            remedy="docs/landing.md says how records of a REST API, of MongoDB or of another "
            "loader's table land.",
        )
    return sync.landings


def choose_landings(sync: SyncContext, names: Sequence[str]) -> list[str]:
    """The landings that are meant, each once: those named, or ``all`` in the settings' order.

    Raises:
        ConfigurationError: there is none.
        UnknownLandingError: one of them is not in the settings.
    """
    landings = installed_landings(sync)
    if ALL in names:
        return [*landings.names]
    return [landings.landing(name).name for name in dict.fromkeys(names)]


def require_one_landing(names: Sequence[str], request: LandRequest) -> None:
    """Refuse an approval of deletions that could be about several landings.

    Raises:
        ConfigurationError: it could.
    """
    if request.approve_deletions is not None and len(names) != 1:
        raise ConfigurationError(
            f"--approve-deletions is about one landing, not {len(names)}; name the one that was "
            "refused, as its message does"
        )


def lifts_landing_limit(sync: SyncContext, names: Sequence[str], request: LandRequest) -> bool:
    """Whether a landing is allowed to delete more than the settings say."""
    landings = installed_landings(sync)
    fraction = request.max_deleted_fraction
    limits = [landings.landing(name).deletions.policy.max_deleted_fraction for name in names]
    is_higher = fraction is not None and any(fraction > limit for limit in limits)
    return is_higher or request.approve_deletions is not None


def landing_summary(
    reports: Sequence[LandingReport], *, duration_seconds: float
) -> dict[str, object]:
    """What became of landings; ``ok`` means that none of them failed, waits or was stopped."""
    return {
        "ok": all_landed(reports),
        "landings": [landing_answer(report) for report in reports],
        "duration_seconds": round(duration_seconds, 3),
    }


def all_landed(reports: Iterable[LandingReport]) -> bool:
    """Whether every landing came to its end."""
    return all(report.status == "success" for report in reports)


def landing_answer(report: LandingReport) -> dict[str, object]:
    """One report: what it is about first, what went wrong last."""
    speed = {"records_per_second": round(report.records_per_second, 1)}
    about = {"name": report.name, "mode": report.mode, "status": report.status}
    facts = about | asdict(report) | speed
    error = facts.pop("error")
    return {**facts, "error": error}


def landing_statuses(sync: SyncContext, kinds: Mapping[str, str]) -> list[dict[str, object]]:
    """How each landing stands, with the kind of its origin.

    Args:
        sync: The ports.
        kinds: By name of the landing.

    Raises:
        ConfigurationError: there is none.
        TransientError: the database cannot be reached.
    """
    return [
        {"name": age.name, "kind": kinds.get(age.name), **asdict(age)} for age in landing_ages(sync)
    ]


def landing_ages(sync: SyncContext) -> list[LandingAge]:
    """How each landing stands.

    Raises:
        ConfigurationError: there is none.
        TransientError: the database cannot be reached.
    """
    installed_landings(sync)
    return asking.landing_ages(sync)


def iter_rejected(sync: SyncContext, name: str, *, limit: int | None) -> Iterator[RejectedRecord]:
    """What was wrong with records of a landing, oldest first.

    Raises:
        UnknownLandingError: the settings have no such landing.
    """
    landings = installed_landings(sync)
    yield from islice(landings.store.iter_rejected(landings.landing(name).name), limit)


def rejected_answer(rejected: RejectedRecord) -> dict[str, object]:
    """One thing that was wrong with one record."""
    return asdict(rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """What follows the changes of one landing, and whom it tells."""

    name: str
    sync: SyncContext
    land: Callable[[], LandingReport]
    """Lands everything where only that helps; told in the history."""
    sync_scopes: Callable[[Sequence[Scope]], Sequence[ScopeReport]] | None
    """Brings scopes in step; None: that is left to others."""
    on_report: Callable[[LandingReport], None]
    tell: Callable[[str], None]
    """Takes a line for people."""
    should_stop: StopSignal


def check_follower(follower: Follower) -> None:
    """Find out before anything begins whether it could be followed.

    Raises:
        ConfigurationError: the origin does not tell of changes, or changes that landed would not
            be told to a sync.
    """
    from sync_pipeline.engine.landing.context import LandingContext
    from sync_pipeline.engine.landing.watch import require_follows

    landings = installed_landings(follower.sync)
    landing = landings.landing(follower.name)
    require_follows(LandingContext.of(landings, follower.sync), landing)
    if follower.sync_scopes is not None:
        _require_feed(follower.sync, table=landing.table)


def follow_landing(follower: Follower) -> int:
    """Land changes as they are told, until asked to stop.

    What may pass is told and tried again: an origin that does not answer, another run that lands
    the same records.

    Returns:
        How many batches have landed.

    Raises:
        SyncPipelineError: what does not pass by itself.
    """
    work = _Following(follower)
    failures = 0
    while not follower.should_stop():
        try:
            work.once()
            failures = 0
        except StoppedError:
            break
        except (TransientError, LandingSupersededError) as error:
            if work.takes_progress():
                failures = 0
            pause = _pause(error, failures)
            failures += 1
            follower.tell(f"{follower.name} has to wait for {pause:g} s: {error}")
            _rest(pause, should_stop=follower.should_stop)
    return work.batches


class _Following:
    """The work of one follower."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._owes_sync = follower.sync_scopes is not None
        self._sync_again_at = 0.0
        self._has_progress = False
        self.batches = 0

    def takes_progress(self) -> bool:
        """Whether anything has landed since this was asked last."""
        found, self._has_progress = self._has_progress, False
        return found

    def once(self) -> None:
        """Catch up, by a full pass where only that helps, and follow until that is so again."""
        from sync_pipeline.engine.landing.context import LandingContext
        from sync_pipeline.engine.landing.land import owner_name
        from sync_pipeline.engine.landing.watch import can_follow, land_as_told
        from sync_pipeline.processes import process_name

        follower = self._follower
        sync = replace(follower.sync, should_stop=follower.should_stop)
        landings = installed_landings(sync)
        context, landing = LandingContext.of(landings, sync), landings.landing(follower.name)
        if not can_follow(context, landing):
            self._land()
        land_as_told(
            context,
            landing,
            owner=owner_name(process=process_name(), run_id="land follow"),
            on_report=self._told,
            on_silence=self._sync_again,
        )

    def _land(self) -> None:
        """Land everything, as a run of its own."""
        follower = self._follower
        report = follower.land()
        follower.on_report(report)
        if report.status == "stopped":
            raise StoppedError(f"landing {follower.name!r} was stopped")
        if report.status == "deferred":
            raise RateLimitedError(
                f"{report.error}", retry_after_seconds=_seconds_left(follower.sync, report.name)
            )
        if report.status == "failed":
            raise TransientError(f"{report.error}")
        self._landed(report)

    def _told(self, report: LandingReport) -> None:
        self.batches += 1
        self._follower.on_report(report)
        self._landed(report)

    def _landed(self, report: LandingReport) -> None:
        self._has_progress = True
        if report.new or report.changed or report.deleted:
            self._owes_sync = True
            self._sync_again_at = 0.0
        self._sync_again()

    def _sync_again(self) -> None:
        """Sync the scopes that the feed names, where that is still to be done."""
        follower = self._follower
        if follower.sync_scopes is None or not self._owes_sync:
            return
        if time.monotonic() < self._sync_again_at:
            return
        self._sync_again_at = time.monotonic() + SYNC_AGAIN_SECONDS
        try:
            self._owes_sync = not _sync_pending(follower.sync, follower.sync_scopes)
        except TransientError as error:
            # The changes are still pending, and the next look finds them again.
            follower.tell(f"the changes have to wait: {error}")


def _sync_pending(
    sync: SyncContext, sync_scopes: Callable[[Sequence[Scope]], Sequence[ScopeReport]]
) -> bool:
    """Sync the scopes with pending changes; whether nothing is left to do."""
    from sync_pipeline.engine.questions.follow import pending_scopes

    pending = [*pending_scopes(sync, change_feed(sync))]
    if not pending:
        return True
    return all(report.status == "success" for report in sync_scopes(pending))


def _require_feed(sync: SyncContext, *, table: str) -> None:
    """Refuse to sync what nobody would tell of.

    Raises:
        ConfigurationError: no entity reads the table, or its change feed is not installed.
    """
    reading = [entity for entity in sync.entities if entity.table == table]
    if not reading:
        raise ConfigurationError(
            f"no entity reads {table}, so there is nothing to sync.",
            remedy="Leave --sync out, or add an entity with that table to `entities`.",
        )
    names = {entity.name for entity in reading}
    statuses = change_feed(sync).status(sync.entities)
    missing = sorted(
        it.entity_type
        for it in statuses
        if it.entity_type in names and it.state is not FeedState.INSTALLED
    )
    if missing:
        raise ConfigurationError(
            f"--sync goes by the change feed, which {', '.join(missing)} does not have.",
            remedy="Run `sync-pipeline feed install`, and `sync-pipeline sync all` after it.",
        )


def _seconds_left(sync: SyncContext, name: str) -> float | None:
    """For how long the origin of a landing asked to be left alone; None where it did not."""
    landings = installed_landings(sync)
    until = landings.store.get(landings.landing(name)).not_before
    return None if until is None else (until - sync.now()).total_seconds()


def _pause(error: TransientError | LandingSupersededError, failures: int) -> float:
    """Seconds to wait: as many as were asked for, or more after each failure."""
    pause = PAUSES[min(failures, len(PAUSES) - 1)]
    asked = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    return max(pause, asked or 0.0)


def _rest(seconds: float, *, should_stop: StopSignal) -> None:
    until = time.monotonic() + seconds
    while not should_stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(_LOOK_SECONDS, left))
