"""Errors as problem documents (RFC 9457), which say nothing about other tenants."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sync_pipeline.core.errors import (
    ConfigurationError,
    NothingSyncedError,
    RateLimitedError,
    SyncPipelineError,
    TransientError,
    UnknownScopeError,
)
from sync_pipeline.core.remedy import Action
from sync_pipeline.operations.answers import action_answer
from sync_pipeline.service.buttons import known_actions
from sync_pipeline.service.principals import ForbiddenError, Principal
from sync_pipeline.service.tokens import InvalidTokenError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2
"""What a caller is told to wait where nobody knows better."""

_log: Final = logging.getLogger(__name__)


class BusyError(Exception):
    """More is asked than can be answered now.

    Attributes:
        what: What there is too much of, for people.
        status: 429 where it is the caller's own doing, else 503.
        retry_after: Seconds.
    """

    def __init__(self, what: str, *, status: int = 503, retry_after: int = RETRY_SECONDS) -> None:
        super().__init__(what)
        self.what = what
        self.status = status
        self.retry_after = retry_after


class NotFoundError(Exception):
    """What was asked about is not there, or is not for this caller."""


class BadRequestError(Exception):
    """A request that cannot be answered; the message says why."""


FORESEEN: Final[tuple[type[Exception], ...]] = (
    InvalidTokenError,
    ForbiddenError,
    NotFoundError,
    BadRequestError,
    BusyError,
    RequestValidationError,
    SyncPipelineError,
)
"""The errors that ``problem_of`` has an answer to."""


def problem(
    request: Request, status: int, title: str, *, detail: str = "", **more: Any
) -> JSONResponse:
    """A problem document; ``more`` are extension members."""
    headers = more.pop("headers", None)
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        **({"detail": detail} if detail else {}),
        "request_id": request.scope.get("request_id", ""),
        **more,
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def unauthorized(request: Request) -> JSONResponse:
    """The one answer to every credential that is missing or no good."""
    return problem(
        request,
        401,
        "Unauthorized",
        detail="a valid bearer token is needed",
        headers={"WWW-Authenticate": 'Bearer realm="sync-pipeline"'},
    )


def busy(request: Request, error: BusyError, **more: Any) -> JSONResponse:
    """Too much at once, with how long to wait."""
    title = "Too Many Requests" if error.status == 429 else "Service Unavailable"  # noqa: PLR2004
    headers = {"Retry-After": str(error.retry_after)}
    return problem(request, error.status, title, detail=error.what, headers=headers, **more)


def problem_of(request: Request, error: Exception) -> JSONResponse | None:
    """What a caller is told of an error; None for one that is not foreseen."""
    match error:
        case InvalidTokenError():
            return unauthorized(request)
        case ForbiddenError():
            return problem(request, 403, "Forbidden", detail=str(error))
        case NotFoundError():
            return problem(request, 404, "Not Found", detail=str(error))
        case BadRequestError():
            return problem(request, 400, "Bad Request", detail=str(error))
        case BusyError():
            return busy(request, error)
        case RequestValidationError():
            return problem(request, 422, "Unprocessable Content", errors=_mistakes(error))
        case SyncPipelineError():
            return _of_pipeline(request, error)
    return None


def install_handlers(app: FastAPI) -> None:
    """Have every error of a request end as a problem document."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        return problem(request, error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        _log.error("not foreseen: %s", type(error).__name__, exc_info=error)
        return problem(request, 500, "Internal Server Error")

    async def _foreseen(request: Request, error: Exception) -> JSONResponse:
        return problem_of(request, error) or await _bug(request, error)

    for kind in FORESEEN:
        app.add_exception_handler(kind, _foreseen)


def _mistakes(error: RequestValidationError) -> list[dict[str, str]]:
    """Where a request is not of its form, and how; never what stood there."""
    return [
        {"at": "/".join(map(str, mistake["loc"])), "message": mistake["msg"]}
        for mistake in error.errors()
    ]


def _of_pipeline(request: Request, error: SyncPipelineError) -> JSONResponse:
    """What a caller may know of an error of the engine: its own mistakes, and when to come back."""
    more = _remedy(told_actions(request, error))
    match error:
        case UnknownScopeError():
            return problem(request, 404, "Not Found", detail="there is no such tenant", **more)
        case NothingSyncedError():
            return busy(request, BusyError("nothing has been synced yet", retry_after=10), **more)
        case ConfigurationError():
            return problem(request, 400, "Bad Request", detail=str(error), **more)
        case RateLimitedError() | TransientError():
            wait = int(getattr(error, "retry_after_seconds", None) or RETRY_SECONDS)
            _log.warning("%s: %s", type(error).__name__, error)
            late = BusyError("this cannot be answered now", retry_after=wait)
            return busy(request, late, **more)
    _log.error("%s: %s", type(error).__name__, error)
    return problem(request, 500, "Internal Server Error", **more)


def told_actions(request: Request, error: Exception) -> list[Action]:
    """What the caller of a request is told that can be done about an error."""
    if not isinstance(error, SyncPipelineError):
        return []
    return known_actions(error.remedy.actions, caller_of(request))


def caller_of(request: Request) -> Principal | None:
    """Whose request it is; None where they are not known, or not yet."""
    principal: Principal | None = getattr(request.state, "principal", None)
    return principal


def _remedy(actions: Sequence[Action]) -> dict[str, Any]:
    """The extension member; there only where something can be done."""
    return {"remedy": [action_answer(action) for action in actions]} if actions else {}
