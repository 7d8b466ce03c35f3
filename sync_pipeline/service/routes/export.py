"""Documents as the source has them now, a page at a time or as a stream."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from sync_pipeline.core.errors import ConfigurationError, SyncPipelineError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.operations.exporting import (
    DEFAULT_BATCH,
    Line,
    Page,
    Place,
    choose_entities,
    iter_lines,
    read_page,
)
from sync_pipeline.operations.scopes import InstalledScopes, known_tenant, tenant_ids
from sync_pipeline.service.export_models import ExportAnswer, ExportDocument, TenantsAnswer
from sync_pipeline.service.models import MAX_TENANT
from sync_pipeline.service.principals import Principal
from sync_pipeline.service.problems import BadRequestError, BusyError, NotFoundError
from sync_pipeline.service.state import Caller, Opened, Service, operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.core.entity import Entity

router = APIRouter(prefix="/api", tags=["export"])

NDJSON: Final = "application/x-ndjson"
DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 5_000
MAX_OFFSET: Final = 100_000
"""A cursor goes further, and costs less."""
MAX_CURSOR: Final = 2_048
MAX_STREAMS: Final = 4
"""Exports that are streamed at once: each holds a snapshot of the source, and a connection."""
STREAM_SECONDS: Final = 900.0
"""Longest that one may hold it."""
SEND_SECONDS: Final = 30.0
"""How long a reader may leave a piece of it unread."""
ALWAYS: Final = (
    "tenantId",
    "type",
    "dbId",
    "categoryId",
    "supplierId",
    "unit",
    "isGlobal",
    "scope",
)
"""Metadata that every document has, be it null."""

ScopeWord = Literal["global", "tenant", "all"]

_streams: Final = threading.BoundedSemaphore(MAX_STREAMS)
_log: Final = logging.getLogger(__name__)


@router.get("/tenants", dependencies=[Depends(operator)])
def tenants(service: Opened) -> TenantsAnswer:
    """Name every tenant that has rows."""
    ids = tenant_ids(service.sync)
    return TenantsAnswer(success=True, count=len(ids), tenantIds=ids)


@router.get(
    "/export/{plural}",
    response_model=ExportAnswer,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def export(
    plural: str,
    request: Request,
    service: Opened,
    principal: Caller,
    *,
    scope: Annotated[
        ScopeWord, Query(description="The tenant's own documents, the shared ones, or both.")
    ] = "tenant",
    tenant_id: Annotated[
        str | None,
        Query(
            alias="tenantId",
            min_length=1,
            max_length=MAX_TENANT,
            description="Whose; a tenant can name itself alone. Without it workers and admins get "
            "those of every tenant.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=MAX_LIMIT, description="Most documents; 500, and of a stream all."),
    ] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR)] = None,
    batch_size: Annotated[
        int, Query(alias="batchSize", ge=1, le=MAX_LIMIT, description="Rows read at once.")
    ] = DEFAULT_BATCH,
) -> Response:
    """Give out documents of an entity by its plural, or of `all`, rendered from the source now.

    They come by scope, entity and id. A page after a `cursor` costs a look at the ids of its
    scope and the rows of the page; an `offset` costs the rows before it too. With
    `Accept: application/x-ndjson` they are streamed, one a line, from one snapshot; a line with
    `error` says that a stream has ended early.
    """
    entities = _entities(service, plural)
    scopes = _scopes(service, principal, scope, tenant_id)
    own = tenant_id or principal.tenant_id
    after = None if cursor is None else Place.from_text(cursor)
    is_streamed = NDJSON in request.headers.get("accept", "")
    if is_streamed and limit is None and not offset and after is None:
        lines = iter_lines(service.sync, entities=entities, scopes=scopes)
        return _stream(lines, batch_size)
    page = read_page(
        service.sync,
        entities=entities,
        scopes=scopes,
        limit=limit or DEFAULT_LIMIT,
        offset=offset,
        after=after,
        batch_size=batch_size,
    )
    if is_streamed:
        return _stream((line for line in page.lines), batch_size)
    about = {
        "success": True,
        "scope": scope,
        "tenantId": None if scope == "global" else own,
        "count": len(page.lines),
        **(_counts(page, entities) if plural == "all" else {}),
        "limit": limit or DEFAULT_LIMIT,
        "offset": offset,
        "nextCursor": None if page.end is None else page.end.as_text(),
    }
    return JSONResponse({**about, "documents": [_document(line) for line in page.lines]})


def _entities(service: Service, plural: str) -> list[Entity]:
    """Tables by the plural of their entity.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return choose_entities(plural, among=service.sync.entities)
    except ConfigurationError as error:
        raise NotFoundError(str(error)) from error


def _scopes(
    service: Service, principal: Principal, word: ScopeWord, tenant_id: str | None
) -> list[Scope]:
    """Whose documents a caller gets.

    Raises:
        ForbiddenError: a tenant names another.
        BadRequestError: what is named can be no tenant, or none goes with global documents.
        UnknownScopeError: an operator names a tenant that there is not.
    """
    own: list[Scope]
    if not principal.is_operator:
        own = [principal.scope(tenant_id)]
    elif word == "global":
        own = []
    else:
        own = _tenants(service, tenant_id or principal.tenant_id)
    if word == "global":
        if tenant_id is not None and principal.is_operator:
            raise BadRequestError("scope=global and tenantId exclude each other")
        return [GLOBAL]
    return own if word == "tenant" else [GLOBAL, *own]


def _tenants(service: Service, tenant_id: str | None) -> list[Scope]:
    if tenant_id is None:
        return [Scope(name) for name in tenant_ids(service.sync)]
    return [known_tenant(tenant_id, among=InstalledScopes(service.sync))]


def _counts(page: Page, entities: Sequence[Entity]) -> dict[str, int]:
    types = [_payload(line)["type"] for line in page.lines]
    return {
        "total": len(types),
        **{f"{entity.name}sCount": types.count(entity.name) for entity in entities},
    }


def _document(line: Line) -> dict[str, Any]:
    payload = _payload(line)
    metadata = {
        **dict.fromkeys(ALWAYS),
        **{name: value for name, value in payload.items() if name not in ("document_id", "text")},
    }
    return ExportDocument(
        id=str(line["document_id"]), text=str(line["text"]), metadata=metadata
    ).model_dump()


def _payload(line: Line) -> dict[str, Any]:
    payload = line["payload"]
    return payload if isinstance(payload, dict) else {}


class _Export(StreamingResponse):
    """Sends pieces in time, and gives everything back, whatever becomes of the reader."""

    def __init__(self, pieces: Generator[str]) -> None:
        super().__init__(iterate_in_threadpool(pieces), media_type=NDJSON)
        self._pieces = pieces

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer; the snapshot of the source is closed at the end, and never later."""
        try:
            await super().__call__(scope, receive, send)
        except (ClientDisconnect, TimeoutError):
            # The server closes a connection whose answer is incomplete; the reader sees that it is.
            _log.info("the reader of an export has gone")
        finally:
            try:
                await run_in_threadpool(self._pieces.close)
            finally:
                _streams.release()

    async def stream_response(self, send: Send) -> None:
        """Send what there is; a reader that does not read ends it."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        await super().stream_response(in_time)


def _stream(lines: Generator[Line], batch_size: int) -> Response:
    """One document a line, with as many lines held as a batch has.

    Raises:
        BusyError: too many are streamed already.
    """
    if not _streams.acquire(blocking=False):
        raise BusyError(f"{MAX_STREAMS} exports are streamed already", retry_after=10)
    return _Export(_iter_pieces(lines, batch_size))


def _iter_pieces(lines: Generator[Line], batch_size: int) -> Generator[str]:
    until = time.monotonic() + STREAM_SECONDS
    piece: list[str] = []
    with closing(lines):
        try:
            for line in lines:
                piece.append(json.dumps(_document(line), ensure_ascii=False))
                if len(piece) == batch_size:
                    yield _joined(piece)
                    piece = []
                    if time.monotonic() > until:
                        piece.append(_error_line("it took too long: use pages with a cursor"))
                        break
        except SyncPipelineError as error:
            _log.warning("an export ended early: %s: %s", type(error).__name__, error)
            piece.append(_error_line("the source could not be read to the end: ask again"))
        except Exception as error:  # noqa: BLE001 - the answer has begun: a line has to say it
            _log.error("an export ended early: %s", type(error).__name__, exc_info=error)
            piece.append(_error_line("ask again"))
    if piece:
        yield _joined(piece)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _error_line(detail: str) -> str:
    """What stands in the place of the documents that are missing."""
    return json.dumps({"error": {"title": "the export is incomplete", "detail": detail}})
