"""OpenAI's embeddings interface: what an address, an answer and a refusal mean."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.addresses import is_readable_on_the_way
from sync_pipeline.core.errors import (
    ConfigurationError,
    PermanentError,
    RateLimitedError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.embedding.stated_limits import asked_to_wait

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_MISCONFIGURED: Final = {
    401: ("it does not accept the key.", "Set `OPENAI_API_KEY` to one that is valid there."),
    403: ("the key may not use this model.", "Choose another model or key."),
    404: ("no such model or address.", "Check `embedding.model` and `embedding.base_url`."),
    405: ("that address takes no embeddings.", "Check `embedding.base_url`."),
}
"""What a status says, and what to do."""

_MAY_BE_DONE: Final = {httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT}
"""Said by what stands before a service that may have done what was asked."""

_TOKENS_AROUND: Final = 16
"""Most that a model puts around a text."""


def checked_url(base_url: str, *, has_key: bool, allows_plain_http: bool) -> str:
    """The address to post to, if it is a safe one.

    Args:
        base_url: Up to and without ``/embeddings``.
        has_key: Whether a key will be sent there.
        allows_plain_http: Whether it may cross a network in the clear.

    Raises:
        ConfigurationError: the address is unusable or unsafe.
    """
    try:
        url = httpx.URL(base_url.rstrip("/") + "/embeddings")
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"`embedding.base_url` is not an address: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            f"`embedding.base_url` must be http(s)://HOST/..., not {url.scheme or 'nothing'}://"
        )
    if url.userinfo:
        raise ConfigurationError(
            f"`embedding.base_url` holds a user name or password for {url.host}; give the key as "
            "`OPENAI_API_KEY` instead"
        )
    if _is_link_local(url.host):
        raise ConfigurationError(
            f"`embedding.base_url` leads to {url.host}, where clouds keep machine credentials"
        )
    if has_key and not allows_plain_http and is_readable_on_the_way(str(url)):
        raise ConfigurationError(
            f"the key would go to {url.host} unencrypted.",
            remedy="Use https, or no key for a service that "
            "needs none; where the network itself is private, set `embedding.allow_plain_http`.",
        )
    return str(url)


def read_vectors(answer: object, *, count: int, is_base64: bool = False) -> NDArray[np.float32]:
    """Vectors of an answer in the order of the request.

    Args:
        answer: ``{"data": [{"index": 0, "embedding": [...]}, ...]}``, in any order.
        count: Texts in the request.
        is_base64: Whether little-endian floats in base64 were asked for instead of lists; a
            service that does not know them answers with lists.

    Raises:
        PermanentError: not exactly one vector per text, or not numbers.
    """
    try:
        items = answer["data"]  # type: ignore[index]  # a TypeError is as good as a check
        by_index = {item["index"]: item["embedding"] for item in items}
        vector_count = len(items)
        read = _decoded if is_base64 else list
        rows = [read(by_index[index]) for index in range(count) if vector_count == count]
        vectors = np.array(rows, dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise PermanentError(
            "the embedding service's answer is not one list of numbers per text, each with its "
            "index.",
            remedy="It may not speak OpenAI's embeddings interface; check `embedding.base_url`.",
        ) from error
    if vector_count != count:
        raise PermanentError(
            f"the embedding service returned {vector_count} vectors for {count} texts; none was "
            "used, because nobody can tell which belongs to which"
        )
    return vectors


def _decoded(embedding: Any) -> Any:
    if not isinstance(embedding, str):
        return list(embedding)
    return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")


def read_tokens(answer: object, *, texts: Sequence[str]) -> int | None:
    """What an answer says that it took; None where it says nothing, or nonsense.

    Every text takes a token, and no token is less than a byte but those that a model puts
    around a text.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return None
    most = sum(len(text.encode()) + _TOKENS_AROUND for text in texts)
    stated = (usage.get("total_tokens"), usage.get("prompt_tokens"))
    return next((it for it in stated if type(it) is int and len(texts) <= it <= most), None)


def read_json(body: bytes, *, url: str) -> object:
    """An answer's body.

    Raises:
        TransientError: it breaks off.
        ConfigurationError: it is something else.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        if body.lstrip()[:1] in {b"{", b"["}:
            raise TransientError(
                f"{url} answered with a JSON that breaks off after {len(body)} bytes.",
                remedy="Something on the way may cut answers; run it again later.",
                unanswered_calls=1,
            ) from error
        raise ConfigurationError(
            f"{url} answered 200 without JSON: no embeddings service is there.",
            remedy="Check `embedding.base_url`; it usually ends in /v1.",
        ) from error


def refusal(response: Any, *, url: str, model: str) -> SyncPipelineError:
    """The error that an answer other than 200 stands for.

    Args:
        response: Of httpx, or of the like of it that the client uses.
        url: That was asked.
        model: That was asked for.
    """
    status, code = response.status_code, _error_code(response)
    said = f"{url} answered {status}{f' ({code})' if code else ''} for {model!r}"
    asked = asked_to_wait(response.headers)
    if code == "insufficient_quota":
        return ConfigurationError(
            f"{said}: the account has no credit left.",
            remedy="Top it up.",
        )
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimitedError(
            f"{said}: it asks to wait.",
            remedy="Run it again later, or lower `embedding.batch_size`; "
            "what was embedded is kept.",
            retry_after_seconds=asked,
        )
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
        return TransientError(
            f"{said}.",
            remedy="It has trouble of its own; run it again later.",
            retry_after_seconds=asked,
            unanswered_calls=int(status in _MAY_BE_DONE),
        )
    if status in _MISCONFIGURED:
        what, remedy = _MISCONFIGURED[status]
        return ConfigurationError(f"{said}: {what}", remedy=remedy)
    if httpx.codes.is_redirect(status):
        return ConfigurationError(
            f"{said}, a redirect, which is not followed: a key could go to another host.",
            remedy="Set `embedding.base_url` to the final address.",
        )
    return PermanentError(
        f"{said}: it refuses a text, or that many at once.",
        remedy="If this concerns all texts, lower "
        "`embedding.batch_size` or check `embedding.model`.",
    )


def _error_code(response: Any) -> str:
    """The service's short error code; never its message, which can quote a text."""
    try:
        error = response.json()["error"]
        code = error.get("code") or error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _is_link_local(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_link_local


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
