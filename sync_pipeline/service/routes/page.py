"""The operations page: pages and their parts, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sync_pipeline.core.ports import ScopeOrder, ScopePage
from sync_pipeline.operations.asking import explain_as, search_request
from sync_pipeline.operations.costing import unasked_providers, watched_budgets
from sync_pipeline.operations.overview import (
    all_problems,
    failed_runs,
    first_failed,
    recorded_status,
)
from sync_pipeline.service.authentication import COOKIE, CSRF_FIELD
from sync_pipeline.service.charts import HEIGHT, WIDTH, run_charts
from sync_pipeline.service.models import MAX_TENANT, MAX_TEXT
from sync_pipeline.service.pages import SIGN_IN, PageRoute, assets, local_path, show
from sync_pipeline.service.principals import Principal, Role
from sync_pipeline.service.problems import BadRequestError, NotFoundError
from sync_pipeline.service.routes.search import scope_of
from sync_pipeline.service.routes.status import Containing, Offset, visible_to
from sync_pipeline.service.state import Caller, Opened, Service
from sync_pipeline.service.tokens import InvalidTokenError

if TYPE_CHECKING:
    from sync_pipeline.core.ports import DocumentRecord
    from sync_pipeline.engine.questions.search import SearchResult

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SCOPES_ON_A_PAGE: Final = 25
SHOWN_FAILED: Final = 10
SHOWN_HITS: Final = 10
MAX_FIELDS: Final = 16
MAX_COOKIE_CHARACTERS: Final = 4_000
YEAR_SECONDS: Final = 31_536_000


class Listing:
    """What a link or a form asked of the table of scopes."""

    def __init__(
        self,
        *,
        q: Containing = "",
        problems: bool = False,
        sort: ScopeOrder = ScopeOrder.PROBLEMS,
        up: bool = False,
        offset: Offset = 0,
    ) -> None:
        self.page = ScopePage(
            containing=q,
            only_problems=problems,
            order=sort,
            is_descending=not up,
            limit=SCOPES_ON_A_PAGE,
            offset=offset,
        )

    def link(self, **changes: Any) -> dict[str, Any]:
        """The query of the same listing with changes; what is as usual is left out."""
        page = self.page
        values = {
            "q": page.containing,
            "problems": page.only_problems,
            "sort": page.order.value,
            "up": not page.is_descending,
            "offset": page.offset,
        } | changes
        usual = {"q": "", "problems": False, "sort": "problems", "up": False, "offset": 0}
        return {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in values.items()
            if value != usual[name]
        }


@router.get("/")
def overview(
    request: Request, service: Opened, principal: Caller, listing: Annotated[Listing, Depends()]
) -> HTMLResponse:
    """How everything stands."""
    return show("overview.html", request, principal, **_overview(service, principal, listing))


@router.get("/fragments/overview")
def overview_fragment(
    request: Request, service: Opened, principal: Caller, listing: Annotated[Listing, Depends()]
) -> HTMLResponse:
    """The part of that page which changes by itself."""
    return show("_overview.html", request, principal, **_overview(service, principal, listing))


@router.get("/search")
async def search_page(
    request: Request,
    service: Opened,
    principal: Caller,
    *,
    q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    tenant: Annotated[str, Query(max_length=MAX_TENANT)] = "",
) -> HTMLResponse:
    """A search as a tenant, with both rankings beside what they come to together."""
    return await service.threads.run(_search_page, request, service, principal, q, tenant=tenant)


def _search_page(
    request: Request, service: Service, principal: Principal, text: str, *, tenant: str
) -> HTMLResponse:
    scope = scope_of(principal, tenant or None)
    results: list[tuple[str, str, SearchResult]] = []
    if text.strip():
        requests = [
            search_request(
                service.sync,
                text,
                limit=SHOWN_HITS,
                mode=mode,
                explain=mode == "hybrid",
                passages=True,
            )
            for mode in ("hybrid", "dense", "text")
        ]
        titles = (
            ("Together", "what an application gets"),
            ("By meaning", "the embedding's ranking"),
            ("By words", "the ranking of BM25"),
        )
        answers = service.search(requests, scope=scope)
        results = [(*title, it) for title, it in zip(titles, answers, strict=True)]
    return show(
        "search.html",
        request,
        principal,
        query=text,
        tenant=tenant,
        scope=scope,
        results=results,
        max_text=MAX_TEXT,
        max_tenant=MAX_TENANT,
    )


@router.get("/documents/{document_id:path}")
def document_page(
    request: Request, service: Opened, principal: Caller, document_id: str
) -> HTMLResponse:
    """Why one row is searchable or not, and what to do."""
    scope = None if principal.is_operator else principal.scope()
    explanation = explain_as(service.sync, document_id, scope=scope)
    if explanation is None:
        raise NotFoundError("there is no such document")
    return show("document.html", request, principal, explanation=explanation)


@router.get(SIGN_IN)
def sign_in_page(
    request: Request,
    service: Opened,
    next: Annotated[str, Query(max_length=2_000)] = "/",  # noqa: A002 - the name in the address
) -> Response:
    """Ask for a token."""
    if service.authenticator.is_open:
        return RedirectResponse("/", status_code=303)
    return show("sign_in.html", request, None, next=local_path(next), is_refused=False)


@router.post(SIGN_IN)
async def sign_in(request: Request, service: Opened) -> Response:
    """Keep a valid token in a cookie that no script can read."""
    service.authenticator.require_own_page(request)
    form = await _form(request)
    token, wanted = form.get("token", "").strip(), local_path(form.get("next", "/"))
    try:
        service.authenticator.verify(token)
        if len(token) > MAX_COOKIE_CHARACTERS:
            # Browsers would drop the cookie without a word, and ask to sign in again.
            raise BadRequestError("this token is too long to be kept in a cookie")
    except InvalidTokenError:
        return show("sign_in.html", request, None, status=401, next=wanted, is_refused=True)
    answer = RedirectResponse(wanted, status_code=303)
    answer.set_cookie(
        COOKIE, token, httponly=True, samesite="strict", secure=_is_https(request), path="/"
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, service: Opened) -> Response:
    """Forget the token."""
    service.authenticator.require_own_page(request)
    credential = request.cookies.get(COOKIE)
    if credential is not None:
        form = await _form(request)
        service.authenticator.require_csrf(credential, form.get(CSRF_FIELD, ""))
    answer = RedirectResponse(SIGN_IN, status_code=303)
    answer.delete_cookie(
        COOKIE, httponly=True, samesite="strict", secure=_is_https(request), path="/"
    )
    return answer


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A style sheet or a script of ours."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError("there is no such file")
    headers = {"cache-control": f"public, max-age={YEAR_SECONDS}, immutable"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def _overview(service: Service, principal: Principal, listing: Listing) -> dict[str, Any]:
    visible = visible_to(principal)
    recorded = recorded_status(service.sync, page=listing.page, visible=visible)
    failed: list[DocumentRecord] = []
    if recorded.totals.failed:
        failed = first_failed(service.sync, visible=visible, limit=SHOWN_FAILED)
    waiting = {scope.scope_key for scope in recorded.blocked}
    is_admin = principal.role is Role.ADMIN
    return {
        "recorded": recorded,
        "broken": [it for it in failed_runs(recorded.runs) if it.run.scope_key not in waiting],
        "generations": [it for it in recorded.generations if it.action] if is_admin else [],
        "totals": recorded.totals,
        "budgets": watched_budgets(service.sync) if principal.is_operator else [],
        "problems": all_problems(recorded),
        "failed": failed,
        "providers": unasked_providers(service.sync) if principal.is_operator else [],
        "charts": run_charts(recorded.runs),
        "chart_width": WIDTH,
        "chart_height": HEIGHT,
        "listing": listing,
        "orders": ScopeOrder,
    }


async def _form(request: Request) -> dict[str, str]:
    """Fields of a form, each once; the guards bound its length."""
    text = (await request.body()).decode(errors="replace")
    try:
        fields = parse_qs(text, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadRequestError(f"a form here has at most {MAX_FIELDS} fields") from error
    return {name: values[-1] for name, values in fields.items()}


def _is_https(request: Request) -> bool:
    """Whether the browser came by https, be it to a proxy: who forges that harms their cookie."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return request.url.scheme == "https" or forwarded == "https"
