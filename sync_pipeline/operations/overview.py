"""How everything stands as far as it is recorded: what a page shows and asks for again and again.

Neither the source nor the index is looked at; ``operations.scopes`` has the measured status.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.ports import (
    EntitySnapshot,
    EntityTrouble,
    RecordedScope,
    ScopePage,
    ScopeTotals,
)
from sync_pipeline.core.remedy import Action, actions_after
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.landing.ages import LandingAge, bounds, read_landings
from sync_pipeline.engine.roles import serving_by_record
from sync_pipeline.operations.filling import RecordedGeneration, recorded_generations

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.ports import DocumentRecord, SyncRun
    from sync_pipeline.engine.context import SyncContext

SHOWN_RUNS: Final = 20
"""Runs of the charts and the statistics."""
_UNITS: Final = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)
SHOWN_BLOCKED: Final = 20
"""Blocked deletions that a page lists."""


class BadgeState(StrEnum):
    """How one view of one entity of one scope stands; the first that holds is told."""

    FAILED = "failed"
    """Documents could not be embedded or written."""
    PENDING = "pending"
    """Rows wait for their first sync, a run was cut off and has to be done again, or another view
    of a document failed, which is then written with none."""
    STALE = "stale"
    """Documents are in the index whose rows are gone; their deletion waits."""
    SYNCED = "synced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBadge:
    """One view of one entity of one scope."""

    entity_type: str
    view: str
    state: BadgeState
    documents: int
    """Of the entity; every document has the view unless its columns are empty."""
    failed: int
    """Documents whose error is about this view, or about the whole document."""
    quarantined: int
    error: str | None
    """The latest of these errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeLine:
    """One scope as the page shows it."""

    scope: RecordedScope
    badges: Sequence[ViewBadge]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """Whether syncs are being run, as far as their records tell."""

    is_running: bool
    """Whether a run holds a lease now."""
    last_run_at: datetime | None
    """When the last recorded run ended."""
    last_run_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """The last run of a scope, which failed, and what can be done about it."""

    run: SyncRun
    actions: Sequence[Action]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStatus:
    """How everything that a caller may see stands."""

    at: datetime
    health_percent: float
    """See ``health_percent``."""
    totals: ScopeTotals
    lines: Sequence[ScopeLine]
    """One page."""
    matching: int
    """Scopes on all pages."""
    worker: WorkerState
    blocked: Sequence[RecordedScope] = ()
    """The first of the scopes whose deletion waits for approval."""
    filling: RecordedGeneration | None = None
    """A new generation of the index that is being filled."""
    generations: Sequence[RecordedGeneration] = ()
    """All of the index, oldest first."""
    runs: Sequence[SyncRun] = field(default_factory=tuple)
    """The last runs, the one that ended last first."""
    landings: Sequence[LandingAge] = ()
    """Of the installation; none for callers who may not know of all scopes."""


def recorded_status(
    sync: SyncContext, *, page: ScopePage, visible: Sequence[Scope] | None = None
) -> RecordedStatus:
    """One page of scopes, with what all of them come to.

    Args:
        sync: The ports.
        page: Which scopes; its ``scope_keys`` are taken from ``visible``.
        visible: The scopes that the caller may know of; None for all.
    """
    generations = recorded_generations(sync)
    landings = read_landings(sync)
    filling = [it for it in generations if it.role == "filling"]
    sync = serving_by_record(sync)
    keys = None if visible is None else [scope.key for scope in visible]
    names = sync.entity_names
    landed = bounds(sync, landings)

    def listed(wanted: ScopePage) -> tuple[list[RecordedScope], int]:
        page = replace(wanted, scope_keys=keys)
        return sync.overview.list_scopes(entity_types=names, page=page, landed=landed)

    scopes, matching = listed(page)
    totals = sync.overview.sum_up(entity_types=names, scope_keys=keys, landed=landed)
    shown = [scope.scope_key for scope in scopes]
    troubles = sync.overview.list_troubles(entity_types=names, scope_keys=shown)
    snapshots = sync.scopes.list_entities(scopes=[Scope.from_key(key) for key in shown])
    blocked: list[RecordedScope] = []
    if totals.blocked:
        blocked, _ = listed(ScopePage(only_blocked=True, limit=SHOWN_BLOCKED))
    runs = recent_runs(sync, visible=visible)
    return RecordedStatus(
        at=sync.now(),
        health_percent=health_percent(totals),
        totals=totals,
        lines=scope_lines(
            scopes,
            entities=sync.entities,
            snapshots=snapshots,
            troubles=troubles,
        ),
        matching=matching,
        worker=worker_state(totals, runs),
        blocked=blocked,
        filling=filling[0] if filling else None,
        generations=generations,
        runs=runs,
        landings=landings.ages if visible is None else (),
    )


def health_percent(totals: ScopeTotals) -> float:
    """Share of documents in step, in percent with one digit: 100 only where none is missing.

    A scope of which an entity was never synced counts as it is recorded: what nobody has
    counted yet is in no percentage, but in ``problems_in_words``.
    """
    if not totals.possible:
        return 100.0
    return math.floor(totals.synced * 1_000 / totals.possible) / 10


def problems_in_words(totals: ScopeTotals) -> list[str]:
    """What is wrong, one short sentence each, the worst first; none where nothing is known."""
    missing = totals.possible - totals.synced - totals.failed
    in_scopes = counted(totals.failed_scopes, "scope")
    documents = "document" if totals.quarantined == 1 else "documents"
    article = "a " if totals.quarantined == 1 else ""
    sentences = [
        (totals.blocked, f"{_waiting(totals.blocked, 'deletion')} for approval"),
        (totals.failed, f"{counted(totals.failed, 'document')} failed in {in_scopes}"),
        (totals.cut_off, f"{counted(totals.cut_off, 'scope')} had a run that was cut off"),
        (totals.never_synced, f"{counted(totals.never_synced, 'scope')} not synced in full yet"),
        (missing, f"{_waiting(missing, 'document')} for the next sync"),
        (
            totals.quarantined,
            f"{counted(totals.quarantined, 'row')} cannot become {article}{documents}",
        ),
        (totals.vanished, f"{counted(totals.vanished, 'scope')} without rows in the source"),
    ]
    return [sentence for number, sentence in sentences if number > 0]


def all_problems(recorded: RecordedStatus) -> list[str]:
    """What is wrong with scopes, and then with what they are synced from."""
    return problems_in_words(recorded.totals) + landing_problems(recorded.landings, now=recorded.at)


def landing_problems(landings: Sequence[LandingAge], *, now: datetime) -> list[str]:
    """Landings that are old or failed, one short sentence each."""
    return [
        f"landing {age.name} {' and '.join(told)}"
        for age in landings
        if (told := list(_landing_problems(age, now=now)))
    ]


def _landing_problems(age: LandingAge, *, now: datetime) -> Iterator[str]:
    if age.complete_at is None:
        yield "was never complete"
    elif not age.is_fresh:
        yield f"was last complete {age_in_words(age.complete_at, now=now)}"
    if age.error is not None:
        yield "failed when it last ran"


def scope_lines(
    scopes: Sequence[RecordedScope],
    *,
    entities: Sequence[Entity],
    snapshots: Sequence[EntitySnapshot],
    troubles: Sequence[EntityTrouble],
) -> list[ScopeLine]:
    """Each scope with a badge per entity and view, in the order of the settings."""
    recorded = {(it.scope_key, it.entity_type): it for it in snapshots}
    wrong = {(it.scope_key, it.entity_type): it for it in troubles}
    return [
        ScopeLine(
            scope=scope,
            badges=[
                view_badge(
                    entity.name,
                    view=view,
                    scope=scope,
                    snapshot=recorded.get((scope.scope_key, entity.name)),
                    trouble=wrong.get((scope.scope_key, entity.name)),
                )
                for entity in entities
                for view, _ in entity.views
            ],
        )
        for scope in scopes
    ]


def view_badge(
    entity_type: str,
    *,
    view: str,
    scope: RecordedScope,
    snapshot: EntitySnapshot | None,
    trouble: EntityTrouble | None,
) -> ViewBadge:
    """How one view stands."""
    by_view = trouble.by_view if trouble else {}
    failures = [it for it in (by_view.get(view), by_view.get(None)) if it is not None]
    failed_of_entity = trouble.failed if trouble else 0
    quarantined = trouble.quarantined if trouble else 0
    if failures:
        state = BadgeState.FAILED
    elif failed_of_entity or _is_pending(
        snapshot,
        failed=failed_of_entity,
        quarantined=quarantined,
        is_running=scope.is_running,
    ):
        state = BadgeState.PENDING
    elif scope.blocked_deletions is not None or (
        snapshot is not None and snapshot.vanished_at is not None
    ):
        state = BadgeState.STALE
    else:
        state = BadgeState.SYNCED
    return ViewBadge(
        entity_type=entity_type,
        view=view,
        state=state,
        documents=max(snapshot.documents - failed_of_entity, 0) if snapshot else 0,
        failed=sum(it.failed for it in failures),
        quarantined=quarantined,
        error=failures[0].error if failures else None,
    )


def recent_runs(
    sync: SyncContext, *, visible: Sequence[Scope] | None = None, limit: int = SHOWN_RUNS
) -> list[SyncRun]:
    """The last runs of the scopes that a caller may see, the one that ended last first."""
    if visible is None:
        return sync.runs.list_recent(limit=limit)
    runs = [
        run for scope in visible for run in sync.runs.list_recent(limit=limit, scope_key=scope.key)
    ]
    return sorted(runs, key=lambda run: run.finished_at, reverse=True)[:limit]


def failed_runs(runs: Sequence[SyncRun]) -> list[FailedRun]:
    """The runs that failed and that no later one of their scope has made up for.

    Args:
        runs: The one that ended last first.
    """
    last: dict[str, SyncRun] = {}
    for run in runs:
        if run.status != "skipped":
            last.setdefault(run.scope_key, run)
    return [
        FailedRun(
            run=run,
            actions=actions_after(
                str(run.facts["error"]) if "error" in run.facts else None,
                scope_key=run.scope_key,
                facts=run.facts,
            ),
        )
        for run in last.values()
        if run.status == "failed"
    ]


def first_failed(
    sync: SyncContext, *, visible: Sequence[Scope] | None = None, limit: int
) -> list[DocumentRecord]:
    """The first failed documents of the scopes that a caller may see, by scope key and id."""
    sync = serving_by_record(sync)
    scopes: Sequence[Scope | None] = [None] if visible is None else visible
    failed = [
        record for scope in scopes for record in sync.state.list_failed(scope=scope, limit=limit)
    ]
    return sorted(failed, key=lambda it: (it.scope_key, it.document_id))[:limit]


def worker_state(totals: ScopeTotals, runs: Sequence[SyncRun]) -> WorkerState:
    """Whether syncs are being run; there is no heartbeat but the runs themselves."""
    last = runs[0] if runs else None
    return WorkerState(
        is_running=totals.running > 0,
        last_run_at=last.finished_at if last else totals.last_success_at,
        last_run_failed=last is not None and last.status == "failed",
    )


def age_in_words(since: datetime | None, *, now: datetime) -> str:
    """How long ago, roughly, for people; ``never`` where it was never."""
    if since is None:
        return "never"
    age = now - since
    for length, name in _UNITS:
        if age >= length:
            return f"{counted(age // length, name)} ago"
    return "just now"


def counted(number: int, name: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _is_pending(
    snapshot: EntitySnapshot | None, *, failed: int, quarantined: int, is_running: bool
) -> bool:
    if snapshot is None or snapshot.source_snapshot_at is None:
        return True
    if snapshot.writing_token is not None and not is_running:
        return True
    return snapshot.documents < snapshot.rows - quarantined or snapshot.failed > failed


def _waiting(number: int, name: str) -> str:
    return f"{counted(number, name)} {'waits' if number == 1 else 'wait'}"
