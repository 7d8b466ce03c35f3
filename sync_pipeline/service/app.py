"""The application: routes over one installation."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from fastapi import Depends, FastAPI
from starlette.routing import Route
from starlette.types import Scope

from sync_pipeline import __version__
from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.service.assistants import PATH, AssistantEndpoint
from sync_pipeline.service.guards import Guards, method_of
from sync_pipeline.service.models import Problem
from sync_pipeline.service.problems import MEDIA_TYPE, install_handlers
from sync_pipeline.service.routes import export, health, index, metrics, page, search, status, sync
from sync_pipeline.service.state import Service, admin, caller
from sync_pipeline.settings import ServiceSettings
from sync_pipeline.wiring import Installation

_PROBLEM: Final[dict[str, Any]] = {
    "model": Problem,
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {**_PROBLEM, "description": description}
    for status, description in {
        400: "The request cannot be answered as it is.",
        401: "No valid token.",
        403: "Not for this caller.",
        404: "There is no such thing.",
        413: "The body is too long.",
        422: "The request is not of the form described here.",
        429: "Too many requests.",
        503: "Not now; see Retry-After.",
    }.items()
}


def make_app(installation: Installation) -> FastAPI:
    """The service of an installation; the model is loaded when it starts.

    Raises:
        ConfigurationError: keys of the settings cannot be read.
    """
    service = Service.open(installation)
    settings = service.settings.service
    assistants = AssistantEndpoint(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.threads.start()
        threading.Thread(target=service.warm_up, name="warm up", daemon=True).start()
        async with assistants.running():
            yield
        service.close()

    app = FastAPI(
        title="sync-pipeline",
        version=__version__,
        summary="Search a catalogue by meaning and by words; see and run its synchronisation.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        responses=RESPONSES,
    )
    app.state.service = service
    install_handlers(app)
    for module in (export, health, index, metrics, page, search, status, sync):
        app.include_router(module.router)
    app.router.routes.append(Route(PATH, assistants, methods=["POST"]))
    _describe(app, settings)
    app.add_middleware(
        Guards,
        max_body_bytes=settings.max_body_bytes,
        is_open=service.authenticator.is_open,
        request_seconds=settings.request_seconds,
        on_answer=partial(_count, service, app),
        tracer=service.sync.tracer,
    )
    return app


def require_safe_address(settings: ServiceSettings, *, host: str) -> None:
    """Refuse to serve others without asking who they are.

    Raises:
        ConfigurationError: the address is not this machine's own, and no token is asked for.
    """
    if settings.asks_for_tokens or is_this_machine(host):
        return
    raise ConfigurationError(
        f"the service would answer everybody who reaches {host}: set service.secret or "
        "service.key_file, so that callers have to show a token, or listen on 127.0.0.1"
    )


def _count(service: Service, app: FastAPI, scope: Scope, status: int, seconds: float) -> str:
    """Count an answer under the template of its route, never under what a caller made up.

    Returns:
        That template.
    """
    route = getattr(scope.get("route"), "path", None)
    if route is None and any(getattr(it, "path", None) == scope["path"] for it in app.routes):
        route = scope["path"]
    route = route or "other"
    service.metrics.count_request(
        method=method_of(scope) or "other", route=route, status=status, seconds=seconds
    )
    return route


def _describe(app: FastAPI, settings: ServiceSettings) -> None:
    """Let those read the OpenAPI description who may."""
    if settings.docs == "nobody":
        return
    guard = caller if settings.docs == "everybody" else admin
    needed = [] if settings.docs == "everybody" else [Depends(guard)]

    @app.get("/openapi.json", include_in_schema=False, dependencies=needed)
    def description() -> dict[str, Any]:
        return app.openapi()
