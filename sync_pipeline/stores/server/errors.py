"""The one place that knows what qdrant-client raises, and what each means.

====================================================  ==========================================
Qdrant or the network says                            we raise
====================================================  ==========================================
400, 409, 413, 422; qdrant-client refuses by itself   RefusedError (alone: RejectedPointError)
401, 403, a redirect, a bad URL, key or certificate   ConfigurationError
404 of Qdrant itself about a collection               CollectionMissingError
404 of anything else, such as a proxy                 ConfigurationError
429                                                   RateLimitedError
507                                                   OutOfSpaceError
408, 425, 5xx, no connection, timeout, broken answer  StoreUnavailableError
200 or 202 without a result                           UnconfirmedError
====================================================  ==========================================
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpx
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    OutOfSpaceError,
    RateLimitedError,
    StoreUnavailableError,
    SyncPipelineError,
)
from sync_pipeline.core.retrying import retry_after_seconds
from sync_pipeline.stores.checks import RefusedError, redacted

RETRY_AFTER: Final = "x-retry-after"
"""Header that ``keep_retry_after`` moves ``Retry-After`` to."""

_REFUSED: Final = frozenset({400, 409, 413, 422})
_FORBIDDEN: Final = frozenset({401, 403})
_PASSING: Final = frozenset({408, 425})
_CLIENT_ERRORS: Final = range(400, 500)
_REDIRECTS: Final = range(300, 400)
_MISUSED: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)
_NO_REASON: Final = "no reason given"
_LOCAL_MISSING: Final = re.compile(r"Collection (\S+) not found")


class UnconfirmedError(StoreUnavailableError):
    """Qdrant took a request without saying that it was carried out."""


def keep_retry_after(response: httpx.Response) -> None:
    """Move ``Retry-After`` out of sight of qdrant-client.

    Version 1.20 reads it as a whole number and fails on fractions and dates, with
    an error that no longer has the header.
    """
    value = response.headers.pop("Retry-After", None)
    if value is not None:
        response.headers[RETRY_AFTER] = value


@contextmanager
def server_errors(*, store: str, doing: str, collection: str | None = None) -> Iterator[None]:
    """Translate what qdrant-client raises.

    Args:
        store: The server for messages, without credentials.
        doing: What was asked of it.
        collection: Which collection a 404 is about.
    """
    try:
        yield
    except SyncPipelineError:
        raise
    except Exception as error:
        raise translate(
            error, store=store, doing=doing, collection=collection, now=datetime.now(UTC)
        ) from error


def translate(
    error: Exception, *, store: str, doing: str, collection: str | None, now: datetime
) -> SyncPipelineError:
    """Say what a foreign error means; see the table above."""
    if isinstance(error, UnexpectedResponse):
        return _of_status(error, store=store, doing=doing, collection=collection, now=now)
    if isinstance(error, ResourceExhaustedResponse):
        return _rate_limited(store, doing, float(error.retry_after_s))
    if isinstance(error, QdrantException):
        return _rate_limited(store, doing, None)
    if isinstance(error, ResponseHandlingException):
        return _of_transport(error.source, store=store, doing=doing)
    if isinstance(error, AssertionError):
        return UnconfirmedError(
            f"{store} took the request ({doing}) without confirming it; write it again"
        )
    if isinstance(error, json.JSONDecodeError):
        return _unavailable(store, doing, "the answer is not JSON, perhaps a proxy's page")
    missing = _LOCAL_MISSING.search(str(error))
    if missing is not None:
        return CollectionMissingError(collection=missing.group(1), store=store)
    reason = f"{type(error).__name__}: {redacted(str(error))}"
    return RefusedError(store=store, doing=doing, reason=reason)


def _of_status(
    error: UnexpectedResponse, *, store: str, doing: str, collection: str | None, now: datetime
) -> SyncPipelineError:
    status = error.status_code or 0
    reason = f"{status} {error.reason_phrase}: {_said(error.content)}"
    waiting = retry_after_seconds(error.headers.get(RETRY_AFTER), now=now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(store, doing, waiting)
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        return OutOfSpaceError(
            f"{store} has no room left ({doing}: {reason}).",
            remedy="Add disk space or raise its quota, "
            "then run the sync again; it continues where it stopped.",
        )
    if status in _FORBIDDEN:
        return ConfigurationError(
            f"{store} refuses these credentials ({doing}: {reason}).",
            remedy="Set `QDRANT_API_KEY` to a key that may read and write the collection.",
        )
    if status == HTTPStatus.NOT_FOUND and collection is not None and _NO_REASON not in reason:
        return CollectionMissingError(collection=collection, store=store)
    if status in _REDIRECTS or status == HTTPStatus.NOT_FOUND:
        return ConfigurationError(
            f"{store} is not a Qdrant server, or not at this address ({doing}: {reason}).",
            remedy="Correct `QDRANT_URL`.",
        )
    if status in _REFUSED or (status in _CLIENT_ERRORS and status not in _PASSING):
        return RefusedError(store=store, doing=doing, reason=reason)
    return _unavailable(store, doing, reason, waiting)


def _of_transport(source: Exception, *, store: str, doing: str) -> SyncPipelineError:
    reason = f"{type(source).__name__}: {redacted(str(source))}"
    if isinstance(source, _MISUSED) or _has_bad_certificate(source):
        return ConfigurationError(
            f"{store} cannot be talked to ({doing}: {reason}).",
            remedy="Correct `QDRANT_URL` or "
            "`QDRANT_API_KEY`, or install the server's certificate authority.",
        )
    if isinstance(source, ValidationError):
        return _unavailable(store, doing, "the answer is not one of Qdrant's, perhaps a proxy's")
    return _unavailable(store, doing, reason)


def _rate_limited(store: str, doing: str, waiting: float | None) -> RateLimitedError:
    asked = "" if waiting is None else f" and asks to wait {waiting:.0f} s"
    return RateLimitedError(
        f"{store} limits the rate of requests ({doing}){asked}.",
        remedy="Try again later, or raise the limit of the collection.",
        retry_after_seconds=waiting,
    )


def _unavailable(
    store: str, doing: str, reason: str, waiting: float | None = None
) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{store} did not do what was asked ({doing}: {reason}).",
        remedy="Check that it runs and can be "
        "reached, then run the sync again; what was confirmed is not repeated.",
        retry_after_seconds=waiting,
    )


def _said(content: bytes) -> str:
    """The reason in Qdrant's error body, shortened; a proxy's page has none."""
    try:
        status = json.loads(content)["status"]
        return redacted(str(status["error"] if isinstance(status, dict) else status))
    except (ValueError, KeyError, TypeError):
        return _NO_REASON


def _has_bad_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
