"""Search, alone and in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from sync_pipeline.core.json_path import parse_path
from sync_pipeline.operations.asking import search_request, suggest_as
from sync_pipeline.operations.following import wait_until_searchable
from sync_pipeline.service.models import (
    BatchAnswer,
    BatchBody,
    HitModel,
    PassageModel,
    SearchAnswer,
    SearchBody,
    SuggestAnswer,
    TenantName,
    read_filters,
)
from sync_pipeline.service.principals import Principal
from sync_pipeline.service.problems import BadRequestError, BusyError
from sync_pipeline.service.state import Caller, Opened, Service

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.search import SearchRequest, SearchResult

WAIT_SECONDS: Final = 5.0
"""Longest wait for a change that a caller wants to find."""
MAX_TYPED: Final = 200

router = APIRouter(prefix="/api", tags=["search"])


@router.post("/search", response_model=SearchAnswer)
async def search(body: SearchBody, service: Opened, principal: Caller) -> Response:
    """Search one's own documents together with the global ones, by meaning and by words.

    Operators are told in `Server-Timing` where the time went.
    """
    return await service.threads.run(_search, body, service, principal)


def _search(body: SearchBody, service: Service, principal: Principal) -> Response:
    scope = scope_of(principal, body.tenant_id)
    _wait(service, scope, body.min_change_id)
    with service.metrics.search() as spent:
        (result,) = service.search([request_of(service, body)], scope=scope)
    timing = {"Server-Timing": spent.server_timing()} if principal.is_operator else {}
    return _as_json(answer_of(result), headers=timing)


@router.post("/search/batch", response_model=BatchAnswer)
async def search_batch(body: BatchBody, service: Opened, principal: Caller) -> Response:
    """Up to 100 searches at once: one pass of the model, one request to the index."""
    return await service.threads.run(_search_batch, body, service, principal)


def _search_batch(body: BatchBody, service: Service, principal: Principal) -> Response:
    named = {search.tenant_id for search in body.searches} - {None}
    if named - {body.tenant_id}:
        raise BadRequestError("tenant_id stands beside searches, once for all of them")
    scope = scope_of(principal, body.tenant_id)
    requests = [request_of(service, search) for search in body.searches]
    wanted = [it.min_change_id for it in body.searches if it.min_change_id is not None]
    _wait(service, scope, max(wanted, default=None))
    with service.metrics.search():
        results = service.search(requests, scope=scope)
    return _as_json(BatchAnswer(results=[answer_of(result) for result in results]))


@router.get("/suggest")
async def suggest(
    service: Opened,
    principal: Caller,
    q: Annotated[str, Query(max_length=MAX_TYPED, description="What was typed so far.")],
    limit: Annotated[int, Query(ge=1, le=20)] = 8,
    tenant_id: Annotated[TenantName | None, Query()] = None,
) -> SuggestAnswer:
    """Complete what somebody types with texts of documents, by words alone."""
    scope = scope_of(principal, tenant_id)
    completed = partial(suggest_as, service.sync, q, scope=scope, limit=limit)
    return SuggestAnswer(suggestions=await service.threads.run(completed))


def _as_json(answer: BaseModel, *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is not validated once more: it is made of its model."""
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


def _wait(service: Service, scope: Scope, change_id: int | None) -> None:
    """Read your writes: wait until a change can be found.

    Raises:
        BusyError: it cannot yet.
    """
    if change_id is None:
        return
    if not wait_until_searchable(
        service.sync, scope, change_id=change_id, most_seconds=WAIT_SECONDS
    ):
        raise BusyError(f"change {change_id} is not searchable yet")


def scope_of(principal: Principal, tenant_id: str | None) -> Scope:
    """As whom to search.

    Raises:
        ForbiddenError: as somebody that the caller is not.
        BadRequestError: as what can be no tenant.
    """
    try:
        return principal.scope(tenant_id)
    except ValueError as error:
        raise BadRequestError(str(error)) from error


def request_of(service: Service, body: SearchBody) -> SearchRequest:
    """What a body asks for, checked.

    Raises:
        BadRequestError: filters that are none, or that the settings do not open.
        ConfigurationError: it asks for what there is not.
    """
    views: Sequence[str] = [body.view] if isinstance(body.view, str) else body.view or ()
    _check_fields(service, body)
    return search_request(
        service.sync,
        body.query,
        limit=body.limit,
        entity=body.entity,
        views=tuple(views),
        filters=read_filters(body.filters),
        mode=body.mode,
        score_threshold=body.score_threshold,
        explain=body.explain,
        passages=body.passages,
    )


def _check_fields(service: Service, body: SearchBody) -> None:
    """Refuse filters on fields that the settings do not open.

    Raises:
        BadRequestError: naming those that are open.
    """
    allowed = service.settings.service.filter_fields
    if allowed is None:
        return
    try:
        fields = {str(parse_path(path)[0]) for path in body.filters}
    except ValueError as error:
        raise BadRequestError(f"filters: {error}") from error
    if fields - set(allowed):
        raise BadRequestError(
            f"filters: {', '.join(sorted(fields - set(allowed)))} cannot be filtered on; "
            f"these can: {', '.join(allowed)}"
        )


def answer_of(result: SearchResult) -> SearchAnswer:
    """Hits as they are sent."""
    rankings = result.rankings
    return SearchAnswer(
        hits=[
            HitModel(
                document_id=hit.document_id,
                score=hit.score,
                text=hit.text,
                payload=dict(hit.payload),
                rankings=None if rankings is None else dict(rankings.get(hit.document_id, {})),
                passages=None
                if hit.passages is None
                else [PassageModel(**asdict(passage)) for passage in hit.passages],
            )
            for hit in result.hits
        ],
        in_sync_to=dict(result.in_sync_by_scope),
        degraded=result.degraded,
    )
