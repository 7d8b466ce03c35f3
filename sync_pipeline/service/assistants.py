"""The tools for AI assistants over the Model Context Protocol, by HTTP or by standard streams.

Nothing is remembered between two requests: each carries its credential and is answered as
whoever that belongs to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ListedTool
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from sync_pipeline import __version__
from sync_pipeline.core.errors import ConfigurationError, TransientError, UnknownScopeError
from sync_pipeline.service.principals import ForbiddenError
from sync_pipeline.service.problems import BadRequestError, BusyError, NotFoundError
from sync_pipeline.service.state import Service, known_caller
from sync_pipeline.service.tools import TOOLS, UNTRUSTED, Asker, Tool

PATH: Final = "/mcp"
_ASKER: Final = "sync_pipeline.asker"
"""Where a request carries on whose behalf it is, once its credential was checked."""
INSTRUCTIONS: Final = (
    "Search one tenant's catalogue, together with the documents that all tenants share. Start "
    f"with search_catalogue; read whole documents with get_document. {UNTRUSTED}"
)

_log: Final = logging.getLogger(__name__)


class AssistantEndpoint:
    """The protocol over streamable HTTP, as an ASGI application for one path."""

    def __init__(self, service: Service) -> None:
        self._server = make_server(service, asker_of=_asker_of)
        self._sessions: StreamableHTTPSessionManager | None = None
        self._max_body_bytes = service.settings.service.max_body_bytes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests for the length of the ``with``."""
        self._sessions = StreamableHTTPSessionManager(
            self._server,
            json_response=True,
            stateless=True,
            max_request_body_size=self._max_body_bytes,
        )
        async with self._sessions.run():
            yield
        self._sessions = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            InvalidTokenError: of nobody that we know.
            BusyError: the caller asks too often, or the service is starting or ending.
        """
        request = Request(scope, receive)
        principal = known_caller(request)
        if self._sessions is None:
            raise BusyError("the service is starting")
        scope[_ASKER] = Asker.of(principal)
        # Read here, for the limits on a body are errors that the protocol's server would swallow.
        body = await request.body()
        await self._sessions.handle_request(scope, _replayed(body, receive), send)


async def serve_streams(service: Service, *, asker: Asker) -> None:
    """Answer one assistant on standard input and output until it closes them.

    Meanwhile standard output is the protocol's alone: what anything else prints there goes to
    standard error.
    """
    server = make_server(service, asker_of=lambda _: asker)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def make_server(service: Service, *, asker_of: Callable[[Any], Asker]) -> Server[Any]:
    """The protocol's server.

    Args:
        service: Answers.
        asker_of: On whose behalf a request is; given what the transport has of it.
    """

    async def list_tools(context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        del params
        asker = asker_of(context.request)
        tools = [_listed(tool, asker) for tool in TOOLS if tool.may(asker)]
        # The list is the caller's own: nobody on the way may keep it for others.
        return ListToolsResult(tools=tools, cache_scope="private", ttl_ms=0)

    async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
        asker = asker_of(context.request)
        return await service.threads.run(
            call, service, asker, name=params.name, arguments=params.arguments or {}
        )

    return Server(
        "sync-pipeline",
        version=__version__,
        title="sync-pipeline catalogue search",
        instructions=INSTRUCTIONS,
        # Of no caller in particular; it serves to read headers, not to tell what there is.
        get_tool_input_schema=_SCHEMAS.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def call(service: Service, asker: Asker, *, name: str, arguments: dict[str, Any]) -> CallToolResult:
    """What a tool answers, or in words why it does not; raises nothing.

    Tools that the caller may not use are as unknown as those that do not exist.
    """
    tools = {tool.name: tool for tool in TOOLS if tool.may(asker)}
    if name not in tools:
        return _refused(f"there is no tool {name[:100]!r}; there are: {', '.join(tools)}")
    tool = tools[name]
    try:
        answer = tool.run(service, asker, tool.arguments.model_validate(arguments))
    except Exception as error:  # noqa: BLE001 - a model reads what went wrong, and goes on
        return _refused(why_not(error))
    content = answer.model_dump(mode="json", exclude_none=True)
    text = json.dumps(content, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)


def why_not(error: Exception) -> str:
    """What a caller may know of an error; the same as over the rest of HTTP."""
    match error:
        case ValidationError():
            return "; ".join(
                f"{'/'.join(map(str, mistake['loc']))}: {mistake['msg']}"
                for mistake in error.errors(include_url=False, include_input=False)
            )
        case UnknownScopeError():
            return "there is no such tenant"
        case ConfigurationError() | BadRequestError() | NotFoundError() | ForbiddenError():
            return str(error)
        case BusyError() | TransientError():
            _log.warning("%s: %s", type(error).__name__, error)
            return "this cannot be answered now; try again in some seconds"
    _log.error("not foreseen: %s", type(error).__name__, exc_info=error)
    return "this could not be answered, by a fault of the service"


def run_streams(service: Service, *, asker: Asker) -> None:
    """The same as ``serve_streams`` for callers without an event loop."""

    async def serve() -> None:
        await serve_streams(service, asker=asker)

    anyio.run(serve)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then whatever else comes."""
    is_told = False

    async def replayed() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _asker_of(request: Request) -> Asker:
    asker: Asker = request.scope[_ASKER]
    return asker


def _listed(tool: Tool, asker: Asker) -> ListedTool:
    return ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(asker),
        output_schema=tool.answer.model_json_schema(mode="serialization"),
        annotations=ToolAnnotations(
            read_only_hint=not tool.changes_something,
            destructive_hint=False,
            idempotent_hint=not tool.changes_something,
            open_world_hint=False,
        ),
    )


def _refused(reason: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=reason)], is_error=True)


_SCHEMAS: Final = {tool.name: tool.arguments.model_json_schema() for tool in TOOLS}
