"""Asking for syncs, following them, and the documents that they are about."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope
from sync_pipeline.core.spending import CostGroup
from sync_pipeline.operations import costing, requests
from sync_pipeline.operations.answers import explanation_answer
from sync_pipeline.operations.asking import explain_document, iter_plans, list_documents
from sync_pipeline.operations.plans import saved_plan
from sync_pipeline.operations.protection import require_named
from sync_pipeline.operations.scopes import InstalledScopes, known_tenant, tenant_named
from sync_pipeline.service.models import MAX_SCOPE, FieldName
from sync_pipeline.service.principals import ForbiddenError, Principal
from sync_pipeline.service.problems import BadRequestError, NotFoundError
from sync_pipeline.service.state import Admin, Caller, Opened, Operator, Service, operator
from sync_pipeline.service.sync_models import (
    MAX_DOCUMENT_ID,
    ApproveBody,
    CostAnswer,
    DocumentModel,
    DocumentsAnswer,
    ExplanationAnswer,
    FollowAnswer,
    PlanAnswer,
    RequestAnswer,
    RequestRun,
    RetryBody,
    RunBody,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sync_pipeline.core.ports import DocumentRecord, SyncRequest
    from sync_pipeline.operations.requests import FollowedRequest

router = APIRouter(prefix="/api/sync", tags=["sync"])

MAX_REASONS: Final = 100
MAX_GROUPS: Final = len(CostGroup)
MAX_DOCUMENTS: Final = 1_000
MAX_RUNS: Final = 1_000
MAX_OFFSET: Final = 10_000_000
NO_DOCUMENT: Final = "there is no such document"

ScopeQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_SCOPE,
        description="`global`, the id of a tenant, or `tenant:ID`; a tenant can name its own "
        "alone.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_DOCUMENTS)]


@router.post("/run", status_code=202)
def run(body: RunBody, service: Opened, principal: Operator, response: Response) -> RequestAnswer:
    """Ask for a sync; it begins within seconds, in the process that runs syncs.

    Made for a scheduler too: ask with a worker's token, then follow `Location`.
    """
    asked = requests.request_sync(
        service.sync,
        body.scopes,
        mode=body.mode,
        force=body.force,
        requested_by=principal.subject,
    )
    return _accepted(response, asked.request, left_out=asked.left_out)


@router.get("/requests/{request_id}")
def request(
    request_id: str,
    service: Opened,
    principal: Caller,
    limit: Annotated[int, Query(ge=1, le=MAX_RUNS)] = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> FollowAnswer:
    """Follow what was asked for to its runs. A tenant follows what is about its own scope alone."""
    followed = requests.follow_request(
        service.sync, request_id, scope=_only(principal), limit=limit, offset=offset
    )
    if followed is None:
        raise NotFoundError("there is no such request")
    return _follow_answer(followed, shows_who=principal.is_operator)


@router.post("/approve", status_code=202)
def approve(
    body: ApproveBody, service: Opened, principal: Admin, response: Response
) -> RequestAnswer:
    """Approve a deletion that was refused for its size, and have it done: exactly so many.

    In a protected environment `confirm_environment` has to be its name.
    """
    require_named(
        service.settings.environment,
        said=body.confirm_environment,
        doing=f"approving {body.deletions} deletions",
        how="Say the name of the environment as `confirm_environment`.",
    )
    asked = requests.approve_deletions(
        service.sync,
        scope=_scope_named(service, body.scope),
        deletions=body.deletions,
        requested_by=principal.subject,
    )
    return _accepted(response, asked)


@router.post("/batch", status_code=202)
def batch(body: RetryBody, service: Opened, principal: Caller, response: Response) -> RequestAnswer:
    """Have failed documents tried again, or scopes synced that are not in step."""
    scope = _named(service, principal, body.scope)
    if body.status == "failed":
        asked = requests.retry_failed_documents(
            service.sync, scope=scope, entity=body.entity, requested_by=principal.subject
        )
        return _accepted(response, asked)
    if not principal.is_operator:
        raise ForbiddenError("syncs are started by workers and admins")
    if body.entity is not None:
        raise BadRequestError("a sync is about all entities of a scope: leave entity out")
    pending = requests.request_sync(
        service.sync,
        ["all" if scope is None else scope.name],
        mode="full",
        force=False,
        requested_by=principal.subject,
    )
    return _accepted(response, pending.request, left_out=pending.left_out)


@router.get("/documents")
def documents(
    service: Opened,
    principal: Caller,
    *,
    status: Literal["synced", "failed", "pending"] | None = None,
    scope: ScopeQuery = None,
    entity: FieldName | None = None,
    view: FieldName | None = None,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(max_length=MAX_DOCUMENT_ID)] = None,
) -> DocumentsAnswer:
    """List documents as they are recorded, by id. A tenant sees its own.

    A page costs what it holds, or what its scope or status holds, however far on it is.
    """
    records, next_cursor = list_documents(
        service.sync,
        scope=_named(service, principal, scope),
        status=status,
        entity=entity,
        view=view,
        after=None if cursor is None else _text(cursor),
        limit=limit,
    )
    return DocumentsAnswer(
        documents=[_document(record) for record in records], next_cursor=next_cursor
    )


@router.get("/documents/{document_id:path}")
def document(document_id: str, service: Opened, principal: Caller) -> ExplanationAnswer:
    """Say why a document is searchable or not, and what to do. A tenant may ask of its own."""
    explanation = explain_document(service.sync, document_id, scope=_only(principal))
    if explanation is None:
        raise NotFoundError(NO_DOCUMENT)
    answer: dict[str, Any] = explanation_answer(explanation)
    found = [asdict(finding) for finding in explanation.documents]
    return ExplanationAnswer(**{**answer, "documents": found})


@router.post("/documents/{document_id:path}/retry", status_code=202)
def retry(
    document_id: str, service: Opened, principal: Caller, response: Response
) -> RequestAnswer:
    """Have a failed document tried again at once. A tenant may ask for its own."""
    asked = requests.retry_document(
        service.sync, document_id, scope=_only(principal), requested_by=principal.subject
    )
    if asked is None:
        raise NotFoundError(NO_DOCUMENT)
    return _accepted(response, asked)


@router.get("/plan", dependencies=[Depends(operator)])
def plan(
    service: Opened,
    scope: Annotated[str, Query(min_length=1, max_length=MAX_SCOPE)],
    mode: Literal["full", "incremental"] = "full",
) -> PlanAnswer:
    """Say what a sync of a scope would do; writes nothing, and costs the sync's comparison."""
    wanted = _scope_named(service, scope)
    if wanted.tenant_id is not None:
        wanted = known_tenant(wanted.tenant_id, among=InstalledScopes(service.sync))
    plans = list(iter_plans(service.sync, [wanted], mode=mode))
    answer: dict[str, Any] = saved_plan(service.sync, plans=plans)
    return PlanAnswer(**answer)


@router.get("/cost", dependencies=[Depends(operator)])
def cost(
    service: Opened,
    month: Annotated[
        str | None, Query(max_length=7, description="Such as 2026-11, or all; this one by default.")
    ] = None,
    by: Annotated[list[CostGroup] | None, Query(max_length=MAX_GROUPS)] = None,
) -> CostAnswer:
    """Say what embedding took, line by line, and how much of each budget is spent."""
    report = costing.cost(service.sync, month=month, by=by or costing.GROUPS)
    answer: dict[str, Any] = costing.cost_answer(report)
    return CostAnswer(**answer)


def _only(principal: Principal) -> Scope | None:
    """The scope that a caller is confined to; None for operators."""
    return None if principal.is_operator else principal.scope()


def _named(service: Service, principal: Principal, name: str | None) -> Scope | None:
    """The scope that a request is about; None for all.

    Raises:
        ForbiddenError: a tenant names another than its own.
        BadRequestError: it can be none.
    """
    if not principal.is_operator:
        own = principal.scope()
        return own if name == own.name else principal.scope(name)
    return None if name is None else _scope_named(service, name)


def _scope_named(service: Service, name: str) -> Scope:
    """A scope by its key or name.

    Raises:
        BadRequestError: it can be none.
    """
    if name == GLOBAL_KEY:
        return GLOBAL
    try:
        return Scope(tenant_named(name, among=InstalledScopes(service.sync)))
    except ValueError as error:
        raise BadRequestError(str(error)) from error


def _text(cursor: str) -> str:
    """A cursor that can stand in a question to the database.

    Raises:
        BadRequestError: it is none of ours.
    """
    if "\0" in cursor:
        raise BadRequestError("cursor is a next_cursor of an earlier answer")
    return cursor


def _accepted(
    response: Response, request: SyncRequest, *, left_out: Mapping[str, str] | None = None
) -> RequestAnswer:
    response.headers["location"] = f"{router.prefix}/requests/{request.request_id}"
    reasons = left_out or {}
    return RequestAnswer(
        id=request.request_id,
        status=request.status,
        scopes=len(request.scope_keys),
        left_out=len(reasons),
        reasons=dict(islice(reasons.items(), MAX_REASONS)),
    )


def _follow_answer(followed: FollowedRequest, *, shows_who: bool) -> FollowAnswer:
    request = followed.request
    return FollowAnswer(
        id=request.request_id,
        status=request.status,
        requested_at=request.requested_at,
        requested_by=request.requested_by if shows_who else None,
        mode=request.mode,
        force=request.force,
        approve_deletions=request.approve_deletions,
        updated_at=request.updated_at,
        error=request.error,
        scopes=len(request.scope_keys),
        started=len(request.run_ids),
        runs=[_run(followed, key) for key in followed.scope_keys],
    )


def _run(followed: FollowedRequest, scope_key: str) -> RequestRun:
    run_id = followed.request.run_ids.get(scope_key)
    if run_id is None:
        return RequestRun(scope_key=scope_key, run_id=None, status="waiting")
    ended = followed.runs.get((run_id, scope_key))
    if ended is None:
        return RequestRun(scope_key=scope_key, run_id=run_id, status="running")
    return RequestRun(
        scope_key=scope_key,
        run_id=run_id,
        status=ended.status,
        finished_at=ended.finished_at,
        counts=ended.counts.numbers(),
        error=ended.error,
    )


def _document(record: DocumentRecord) -> DocumentModel:
    return DocumentModel(
        document_id=record.document_id,
        scope_key=record.scope_key,
        entity=record.entity_type,
        db_id=record.db_id,
        status=record.status,
        views=sorted(record.embed_hashes),
        failed_views=list(record.failed_views),
        error_code=record.error_code,
        error=record.error,
        attempts=record.attempts,
        next_retry_at=record.next_retry_at,
        last_synced_at=record.last_synced_at,
        last_attempt_at=record.last_attempt_at,
    )
