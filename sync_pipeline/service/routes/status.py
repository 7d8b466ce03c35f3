"""How everything stands, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from sync_pipeline.core.ports import ScopeOrder, ScopePage
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.operations.overview import (
    RecordedStatus,
    ScopeLine,
    all_problems,
    failed_runs,
    recorded_status,
)
from sync_pipeline.operations.scopes import InstalledScopes
from sync_pipeline.service.buttons import known_actions
from sync_pipeline.service.models import (
    ActionModel,
    BlockedModel,
    LandingModel,
    MeasuredScope,
    RunModel,
    ScopeStatus,
    StatusAnswer,
    ViewStatus,
    WorkerModel,
)
from sync_pipeline.service.principals import Principal, Role
from sync_pipeline.service.state import Caller, Opened, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.core.ports import SyncRun
    from sync_pipeline.core.remedy import Action

router = APIRouter(prefix="/api/sync", tags=["sync"])

MAX_SCOPES = 500
MAX_OFFSET = 10_000_000
Containing = Annotated[str, Query(max_length=128, description="A part of the scope key.")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]


@router.get("/status")
def status(
    service: Opened,
    principal: Caller,
    *,
    q: Containing = "",
    only_problems: bool = False,
    sort: ScopeOrder = ScopeOrder.PROBLEMS,
    descending: bool = True,
    limit: Annotated[int, Query(ge=1, le=MAX_SCOPES)] = 100,
    offset: Offset = 0,
    measured: bool = False,
) -> StatusAnswer:
    """How scopes stand: as the last syncs recorded it, or for operators also counted now.

    A tenant sees its own scope and the global one. Counting (`measured=true`) reads the source
    and the index of every scope.
    """
    if measured:
        principal.require(Role.WORKER)
    page = ScopePage(
        containing=q,
        only_problems=only_problems,
        order=sort,
        is_descending=descending,
        limit=limit,
        offset=offset,
    )
    recorded = recorded_status(service.sync, page=page, visible=visible_to(principal))
    answer = _answer(recorded, principal)
    environment = service.settings.environment
    answer.environment = None if environment is None else environment.name
    if measured:
        answer.measured = _measured(service, page)
    return answer


def visible_to(principal: Principal) -> list[Scope] | None:
    """The scopes that a caller may know of; None for all."""
    return None if principal.is_operator else [GLOBAL, principal.scope()]


def _measured(service: Service, page: ScopePage) -> list[MeasuredScope]:
    text = page.containing.lower()
    counted = [
        scope
        for scope in InstalledScopes(service.sync).scope_statuses()
        if text in scope.scope_key.lower()
    ]
    names = MeasuredScope.model_fields
    return [
        MeasuredScope(**{name: getattr(scope, name) for name in names})
        for scope in counted[page.offset : page.offset + page.limit]
    ]


def _answer(recorded: RecordedStatus, principal: Principal) -> StatusAnswer:
    remedies = {it.run.run_id: it.actions for it in failed_runs(recorded.runs)}
    return StatusAnswer(
        at=recorded.at,
        health_percent=recorded.health_percent,
        problems=all_problems(recorded),
        total_scopes=recorded.matching,
        scopes=[_scope(line) for line in recorded.lines],
        worker=WorkerModel(**asdict(recorded.worker)),
        runs=[
            _run(run, known_actions(remedies.get(run.run_id, ()), principal))
            for run in recorded.runs
        ],
        landings=[LandingModel.model_validate(asdict(age)) for age in recorded.landings],
    )


def _scope(line: ScopeLine) -> ScopeStatus:
    scope = line.scope
    blocked = None
    if scope.blocked_deletions is not None and scope.blocked_at is not None:
        blocked = BlockedModel(
            deletions=scope.blocked_deletions,
            points=scope.blocked_of or 0,
            since=scope.blocked_at,
        )
    return ScopeStatus(
        scope_key=scope.scope_key,
        rows=scope.rows,
        documents=scope.synced,
        coverage=scope.coverage,
        failed=scope.failed,
        quarantined=scope.quarantined,
        in_sync_to=scope.in_sync_to,
        last_success_at=scope.last_success_at,
        last_full_at=scope.last_full_at,
        is_running=scope.is_running,
        is_cut_off=scope.is_cut_off,
        blocked=blocked,
        views=[
            ViewStatus(
                entity=badge.entity_type,
                view=badge.view,
                state=badge.state.value,
                documents=badge.documents,
                failed=badge.failed,
                quarantined=badge.quarantined,
                error=badge.error,
            )
            for badge in line.badges
        ],
    )


def _run(run: SyncRun, actions: Sequence[Action]) -> RunModel:
    return RunModel(
        run_id=run.run_id,
        scope_key=run.scope_key,
        mode=run.mode,
        status=run.status,
        started_at=run.started_at,
        finished_at=run.finished_at,
        counts=run.counts.numbers(),
        seconds=asdict(run.seconds),
        error=run.error,
        remedy=[ActionModel(action=it.name, arguments=it.arguments) for it in actions],
    )
