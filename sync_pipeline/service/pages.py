"""Pages made of templates: everything that comes from outside is escaped, nothing stands inline."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sync_pipeline.core.remedy import Action
from sync_pipeline.core.spending import money
from sync_pipeline.operations.overview import age_in_words
from sync_pipeline.service.authentication import COOKIE, CSRF_FIELD
from sync_pipeline.service.buttons import approval_of, button_of, retry_of, sync_of
from sync_pipeline.service.principals import Principal
from sync_pipeline.service.problems import caller_of, problem_of, told_actions
from sync_pipeline.service.state import Service, service_of
from sync_pipeline.service.tokens import InvalidTokenError

PACKAGE: Final = "sync_pipeline.service"
SIGN_IN: Final = "/sign-in"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of ours that pages load; its address changes with its content."""

    content: bytes
    media_type: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """By name; the folder is read once."""
    found = {}
    for file in (files(PACKAGE) / "static").iterdir():
        content = file.read_bytes()
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        version = hashlib.sha256(content).hexdigest()[:12]
        found[file.name] = Asset(content, media_type, version)
    return found


class PageRoute(APIRoute):
    """A route for people: who is not known signs in, and an error is a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer as the route does, and turn its errors into pages."""
        answer = super().get_route_handler()

        async def answer_people(request: Request) -> Response:
            try:
                return await answer(request)
            except InvalidTokenError:
                return RedirectResponse(_sign_in_address(request), status_code=303)
            except Exception as error:
                refusal = problem_of(request, error)
                if refusal is None:
                    raise
                return problem_page(request, refusal, actions=told_actions(request, error))

        return answer_people


def problem_page(
    request: Request, refusal: JSONResponse, *, actions: Sequence[Action]
) -> HTMLResponse:
    """A problem document as a page, with what its reader can do."""
    told = json.loads(bytes(refusal.body))
    headers = {
        name: value
        for name, value in refusal.headers.items()
        if name not in ("content-length", "content-type")
    }
    page = show(
        "problem.html",
        request,
        caller_of(request),
        told=told,
        actions=actions,
        status=refusal.status_code,
    )
    page.headers.update(headers)
    return page


def show(
    template: str,
    request: Request,
    principal: Principal | None,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page, for a caller who is known or for one who is not yet."""
    service = service_of(request)
    html = (
        _environment()
        .get_template(template)
        .render(
            principal=principal,
            csrf_token=csrf_token(request, service),
            csrf_field=CSRF_FIELD,
            path=request.url.path,
            dagster_url=dagster_url(service, principal),
            is_open=service.authenticator.is_open,
            environment=service.settings.environment,
            now=service.sync.now(),
            **values,
        )
    )
    return HTMLResponse(html, status_code=status)


def csrf_token(request: Request, service: Service) -> str:
    """What this page's changes carry; nothing where nobody is signed in."""
    credential = request.cookies.get(COOKIE)
    return "" if credential is None else service.authenticator.csrf_token(credential)


def dagster_url(service: Service, principal: Principal | None) -> str | None:
    """Where the Dagster UI is, for operators."""
    url = service.settings.service.dagster_url
    return url.rstrip("/") if url and principal is not None and principal.is_operator else None


def local_path(wanted: str) -> str:
    """Where to go after signing in: a path of ours, whatever was asked for."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    has_breaks = any(character in wanted for character in "\r\n\t\\")
    return wanted if is_ours and not has_breaks else "/"


def _sign_in_address(request: Request) -> str:
    wanted = request.url.path
    if request.url.query:
        wanted += f"?{request.url.query}"
    is_page = request.method == "GET" and not wanted.startswith("/fragments/")
    return f"{SIGN_IN}?{urlencode({'next': wanted})}" if is_page and wanted != "/" else SIGN_IN


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "age": lambda since, now: age_in_words(since, now=now),
        "anchor": _anchor,
        "code": _code,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "moment": _moment,
        "money": money,
        "number": lambda value: f"{value:,}",
        "percent": _percent,
        "segment": lambda value: quote(str(value), safe=""),
        "query": lambda values: urlencode({k: v for k, v in values.items() if v not in ("", None)}),
    }
    environment.globals |= {
        "approval_of": approval_of,
        "asset": _asset_address,
        "button_of": button_of,
        "retry_of": retry_of,
        "sync_of": sync_of,
    }
    return environment


def _asset_address(name: str) -> str:
    return f"/static/{name}?{assets()[name].version}"


def _anchor(text: str) -> str:
    """An id for an element, whatever characters a text has."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _code(text: str) -> Markup:
    """Commands between backticks as code; everything else is escaped."""
    parts = (
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def _moment(moment: datetime | str | None) -> str:
    if isinstance(moment, str):
        try:
            return _moment(datetime.fromisoformat(moment))
        except ValueError:
            # Something else may have written the index: it is shown as it stands there.
            return moment
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _percent(share: float) -> str:
    """``100 %`` only where nothing is missing: ``share`` is rounded down already."""
    text = f"{int(share * 1_000) / 10:.1f}"
    return text.removesuffix(".0") + "\u202f%"
