"""What every request passes before it is read: limits, an id, and the headers of its answer.

Written for ASGI itself, for Starlette's middleware class costs a task per request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.ports import Span, Tracer
from sync_pipeline.engine.telling import span_facts
from sync_pipeline.service.problems import MEDIA_TYPE

BODY_SECONDS: Final = 10.0
"""How long a caller may take to send a body."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_access: Final = logging.getLogger("sync_pipeline.service.access")


class _BodyError(Exception):
    """The body is not read to its end; the answer says why."""


class Guards:
    """The outermost layer of the service."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        is_open: bool,
        request_seconds: float,
        on_answer: Callable[[Scope, int, float], str],
        tracer: Tracer,
    ) -> None:
        """Wrap ``app``.

        Args:
            app: Answers what passes.
            max_body_bytes: Longest body.
            is_open: Whether nobody has to sign in: then only names of this machine are
                answered to, so that no page from elsewhere can make a browser ask.
            request_seconds: Longest time until an answer begins.
            on_answer: Told of every answer: what was asked, the status, the seconds; says which
                route that was.
            tracer: Measures every request.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._is_open = is_open
        self._request_seconds = request_seconds
        self._on_answer = on_answer
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = uuid.uuid4().hex
        traceparent = Headers(scope=scope).get("traceparent")
        with self._tracer.request(method_of(scope) or "HTTP", traceparent=traceparent) as span:
            await self._answered(scope, receive, _Answer(scope, send), span)

    async def _answered(self, scope: Scope, receive: Receive, answer: _Answer, span: Span) -> None:
        began = time.perf_counter()
        is_broken = False
        try:
            refusal = self._why_refused(Headers(scope=scope))
            if refusal is None:
                async with asyncio.timeout(self._request_seconds) as limit:
                    # An answer that has begun may take its time: exports have no end.
                    answer.on_start = lambda: limit.reschedule(None)
                    try:
                        await self._app(scope, self._bounded(receive, answer), answer.send)
                    finally:
                        answer.on_start = _do_nothing
            else:
                await answer.refuse(*refusal)
        except _BodyError:
            pass
        except TimeoutError:
            await answer.refuse(
                503, f"there was no answer within {self._request_seconds:g} seconds", retry_after=5
            )
        except Exception:
            is_broken = True
            raise
        finally:
            await answer.close()
            seconds = time.perf_counter() - began
            # Starlette answers what breaks outside of here.
            status = answer.status or (HTTPStatus.INTERNAL_SERVER_ERROR.value if is_broken else 0)
            route = self._on_answer(scope, status, seconds)
            _describe(span, scope, route=route, status=status)
            # No query string and no body: they can hold texts of customers.
            _access.info(
                "%s %s %s %.1f ms %s",
                scope["method"],
                scope["path"],
                status,
                seconds * 1000,
                scope["request_id"],
                extra={
                    "event": "request_answered",
                    "fields": {
                        "request_id": scope["request_id"],
                        "method": method_of(scope),
                        "route": route,
                        "status": status,
                        "seconds": seconds,
                    },
                },
            )

    def _why_refused(self, headers: Headers) -> tuple[int, str] | None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > self._max_body_bytes:
            return 413, f"a body has at most {self._max_body_bytes} bytes"
        if self._is_open:
            host, origin = headers.get("host", ""), headers.get("origin")
            if not is_this_machine(_host_of(f"//{host}")):
                return 421, "without sign-in this service answers to this machine's own names only"
            if origin is not None and not is_this_machine(_host_of(origin)):
                return 403, "without sign-in pages of other hosts are not answered"
        return None

    def _bounded(self, receive: Receive, answer: _Answer) -> Receive:
        """The body, up to its limits in bytes and seconds."""
        received = 0
        until = time.monotonic() + BODY_SECONDS
        is_complete = False

        async def bounded() -> Message:
            nonlocal received, is_complete
            if is_complete:
                return await receive()
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError as error:
                answer.insist(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds")
                raise _BodyError from error
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if received > self._max_body_bytes:
                    answer.insist(413, f"a body has at most {self._max_body_bytes} bytes")
                    raise _BodyError
            return message

        return bounded


def method_of(scope: Scope) -> str | None:
    """The method of a request; None for one that a caller made up."""
    method: str = scope["method"]
    return method if method in _METHODS else None


def _describe(span: Span, scope: Scope, *, route: str, status: int) -> None:
    """Say what a request was, in the words of OpenTelemetry; no path, which a caller makes up."""
    method = method_of(scope)
    span.rename(f"{method or 'HTTP'} {route}")
    span.note(
        {
            "http.request.method": method or "_OTHER",
            "http.route": route,
            "http.response.status_code": status,
            **span_facts(request_id=scope["request_id"]),
        }
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))


class _Answer:
    """Adds the headers that every answer has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status = 0
        self.on_start: Callable[[], None] = _do_nothing
        """Called when the answer begins."""
        self._scope = scope
        self._send = send
        self._insisted: tuple[int, str] | None = None

    def insist(self, status: int, detail: str) -> None:
        """Have this be the answer, whatever the application makes of its body's end."""
        if not self.status:
            self._insisted = status, detail

    async def close(self) -> None:
        """Send what was insisted on."""
        if self._insisted is not None:
            (status, detail), self._insisted = self._insisted, None
            await self.refuse(status, detail)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._insisted is not None:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.on_start()
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            headers["x-request-id"] = self._scope["request_id"]
        await self._send(message)

    async def refuse(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        if self.status:
            return
        body = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "request_id": self._scope["request_id"],
        }
        content = json.dumps(body).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(content)).encode()),
            (b"connection", b"close"),
        ]
        if retry_after is not None:
            headers.append((b"retry-after", str(retry_after).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


def _do_nothing() -> None:
    pass


def _host_of(address: str) -> str:
    """The host of a URL, without its port and the brackets of IPv6; empty where it is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
