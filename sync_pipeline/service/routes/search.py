"""Search, alone and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from sync_pipeline.core.json_path import parse_path
from sync_pipeline.operations.asking import search_many, search_request
from sync_pipeline.service.models import (
    BatchAnswer,
    BatchBody,
    HitModel,
    SearchAnswer,
    SearchBody,
    read_filters,
)
from sync_pipeline.service.principals import Principal
from sync_pipeline.service.problems import BadRequestError
from sync_pipeline.service.state import Caller, Opened, Service

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.search import SearchRequest, SearchResult

router = APIRouter(prefix="/api", tags=["search"])


@router.post("/search")
def search(
    body: SearchBody, service: Opened, principal: Caller, response: Response
) -> SearchAnswer:
    """Search one's own documents together with the global ones, by meaning and by words.

    Operators are told in `Server-Timing` where the time went.
    """
    scope = scope_of(principal, body.tenant_id)
    with service.metrics.search() as spent:
        (result,) = search_many(service.sync, scope=scope, requests=[request_of(service, body)])
    if principal.is_operator:
        response.headers["Server-Timing"] = spent.server_timing()
    return answer_of(result)


@router.post("/search/batch")
def search_batch(body: BatchBody, service: Opened, principal: Caller) -> BatchAnswer:
    """Up to 100 searches at once: one pass of the model, one request to the index."""
    named = {search.tenant_id for search in body.searches} - {None}
    if named - {body.tenant_id}:
        raise BadRequestError("tenant_id stands beside searches, once for all of them")
    scope = scope_of(principal, body.tenant_id)
    requests = [request_of(service, search) for search in body.searches]
    with service.metrics.search():
        results = search_many(service.sync, scope=scope, requests=requests)
    return BatchAnswer(results=[answer_of(result) for result in results])


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
            )
            for hit in result.hits
        ],
        in_sync_to=dict(result.in_sync_by_scope),
    )
