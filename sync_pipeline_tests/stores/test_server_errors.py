"""Each foreign error and what it means, entry by entry."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import BaseModel, ValidationError
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
from sync_pipeline.stores.checks import RefusedError
from sync_pipeline.stores.server.errors import (
    UnconfirmedError,
    keep_retry_after,
    server_errors,
    translate,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = "Штукатурка гипсовая Ротбанд"


def _status(
    status: int, *, said: str | None = "reason", retry_after: str | None = None
) -> Exception:
    content = b"<html></html>" if said is None else json.dumps({"status": {"error": said}}).encode()
    headers = httpx.Headers({} if retry_after is None else {"x-retry-after": retry_after})
    return UnexpectedResponse(status, "Phrase", content, headers)


def _transport(error: Exception) -> Exception:
    return ResponseHandlingException(error)


def _bad_certificate() -> Exception:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    return _transport(error)


def _validation_error() -> Exception:
    class Answer(BaseModel):
        status: str

    try:
        Answer.model_validate({})
    except ValidationError as error:
        return _transport(error)
    raise AssertionError("it must not be valid")


def _translate(error: Exception, *, collection: str | None = "documents") -> SyncPipelineError:
    return translate(
        error, store="https://q:6333", doing="5 points", collection=collection, now=NOW
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(_status(400), RefusedError, id="400"),
        pytest.param(_status(401), ConfigurationError, id="401"),
        pytest.param(_status(403), ConfigurationError, id="403"),
        pytest.param(_status(404), CollectionMissingError, id="404 of Qdrant"),
        pytest.param(_status(404, said=None), ConfigurationError, id="404 of a proxy"),
        pytest.param(_status(408), StoreUnavailableError, id="408"),
        pytest.param(_status(409), RefusedError, id="409"),
        pytest.param(_status(413, said=None), RefusedError, id="413"),
        pytest.param(_status(418), RefusedError, id="any other 4xx"),
        pytest.param(_status(422), RefusedError, id="422"),
        pytest.param(_status(425), StoreUnavailableError, id="425"),
        pytest.param(_status(429), RateLimitedError, id="429"),
        pytest.param(_status(301, said=None), ConfigurationError, id="redirect"),
        pytest.param(_status(500), StoreUnavailableError, id="500"),
        pytest.param(_status(502, said=None), StoreUnavailableError, id="502"),
        pytest.param(_status(503), StoreUnavailableError, id="503"),
        pytest.param(_status(504), StoreUnavailableError, id="504"),
        pytest.param(_status(507), OutOfSpaceError, id="507"),
        pytest.param(
            ResourceExhaustedResponse("slow down", 3), RateLimitedError, id="client's 429"
        ),
        pytest.param(
            QdrantException("not a valid integer"), RateLimitedError, id="bad Retry-After"
        ),
        pytest.param(
            _transport(httpx.ConnectError("refused")), StoreUnavailableError, id="no connection"
        ),
        pytest.param(
            _transport(httpx.ConnectTimeout("slow")), StoreUnavailableError, id="connect timeout"
        ),
        pytest.param(
            _transport(httpx.ReadTimeout("slow")), StoreUnavailableError, id="read timeout"
        ),
        pytest.param(_transport(httpx.ReadError("reset")), StoreUnavailableError, id="reset"),
        pytest.param(
            _transport(httpx.RemoteProtocolError("cut")), StoreUnavailableError, id="cut short"
        ),
        pytest.param(_transport(OSError("gone")), StoreUnavailableError, id="broken pipe"),
        pytest.param(
            _transport(httpx.UnsupportedProtocol("ftp")), ConfigurationError, id="bad scheme"
        ),
        pytest.param(
            _transport(httpx.LocalProtocolError("header")), ConfigurationError, id="bad key"
        ),
        pytest.param(_bad_certificate(), ConfigurationError, id="bad certificate"),
        pytest.param(_validation_error(), StoreUnavailableError, id="strange answer"),
        pytest.param(AssertionError("None result"), UnconfirmedError, id="202"),
        pytest.param(json.JSONDecodeError("no", "<html>", 0), StoreUnavailableError, id="HTML"),
        pytest.param(
            ValueError("Collection documents not found"), CollectionMissingError, id="local 404"
        ),
        pytest.param(ValueError("Empty update request"), RefusedError, id="client refuses"),
        pytest.param(RuntimeError("closed"), RefusedError, id="anything else"),
    ],
)
def test_a_foreign_error_has_one_meaning(
    error: Exception, expected: type[SyncPipelineError]
) -> None:
    translated = _translate(error)

    assert type(translated) is expected
    assert "https://q:6333" in str(translated)


def test_a_404_about_no_collection_is_a_wrong_address() -> None:
    assert type(_translate(_status(404), collection=None)) is ConfigurationError


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        pytest.param(_status(429, retry_after="2.5"), 2.5, id="fraction"),
        pytest.param(_status(503, retry_after="4"), 4.0, id="also of 503"),
        pytest.param(_status(429), None, id="no header"),
        pytest.param(ResourceExhaustedResponse("", 3), 3.0, id="read by the client"),
    ],
)
def test_the_wait_that_was_asked_for_is_kept(error: Exception, seconds: float | None) -> None:
    translated = _translate(error)

    assert isinstance(translated, RateLimitedError | StoreUnavailableError)
    assert translated.retry_after_seconds == seconds


def test_retry_after_is_moved_out_of_the_clients_sight() -> None:
    response = httpx.Response(429, headers={"Retry-After": "1.5"})

    keep_retry_after(response)

    assert "Retry-After" not in response.headers
    assert response.headers["x-retry-after"] == "1.5"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: _status(400, said=f'invalid value "{SECRET}" at 3'), id="server"),
        pytest.param(lambda: ValueError(f'bad value "{SECRET}"'), id="client"),
        pytest.param(lambda: _transport(OSError(f'bad "{SECRET}"')), id="transport"),
    ],
)
def test_what_a_message_quotes_is_left_out(make: Callable[[], Exception]) -> None:
    assert SECRET not in str(_translate(make()))


def test_the_cause_is_kept_and_our_own_errors_pass() -> None:
    cause = ValueError("no")

    with (
        pytest.raises(RefusedError, match="ValueError: no") as caught,
        server_errors(store="q", doing="x"),
    ):
        raise cause
    with (
        pytest.raises(OutOfSpaceError, match="full"),
        server_errors(store="q", doing="x"),
    ):
        raise OutOfSpaceError("full")

    assert caught.value.__cause__ is cause
