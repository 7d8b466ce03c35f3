"""One request over httpx, and what came of it."""

from __future__ import annotations

import base64
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    UnusableProxyError,
)
from sync_pipeline.core.landing.origin_options import RestConnection, Scalar
from sync_pipeline.core.retrying import retry_after_seconds
from sync_pipeline.origins.rest.addresses import Addresses, shown
from sync_pipeline.origins.rest.costs import Cost, check_wanted

_MAX_REDIRECTS: Final = 5
_WHOLE_WITHIN: Final = 2.0
"""An answer begins, and goes on, within the time limit; all of it comes within so many of them."""
_CONNECT_SECONDS: Final = 10.0
_MAX_REFUSAL_BYTES: Final = 65_536
"""How much of the body of a refusal is read, so that the connection can be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for."""

    url: httpx.URL
    method: str = "GET"
    params: Mapping[str, Scalar] | None = None
    """In the address."""
    json: Mapping[str, Any] | None = None
    form: Mapping[str, Scalar] | None = None
    told: str = ""
    """For messages, where the address itself says too much."""

    def __str__(self) -> str:
        return f"{self.method} {self.told or shown(self.url)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came, unread."""

    status: int
    headers: httpx.Headers
    body: bytes
    asked_seconds: float | None = None
    """For how long it asks to wait."""


class Transport:
    """Sends a request once; connections are kept for the next.

    Proxies are those of the environment, but not on the way to this machine. Redirects are
    followed as long as they stay with the same system.

    Args:
        landing: For messages.
        connection: Says what is sent with every request.
        addresses: Where it may be sent.
        now: The present.
    """

    def __init__(
        self,
        landing: str,
        *,
        connection: RestConnection,
        addresses: Addresses,
        now: Callable[[], datetime],
    ) -> None:
        self._landing = landing
        self._connection = connection
        self._addresses = addresses
        self._now = now
        self._lock = threading.Lock()
        self._opened: httpx.Client | None = None
        self._headers = self._own_headers()

    def send(self, ask: Ask, *, headers: Mapping[str, str], cost: Cost) -> Answer:
        """Send it once.

        Args:
            ask: What is asked for.
            headers: Beside those of the connection.
            cost: Gets the requests that this takes.

        Raises:
            OriginUnavailableError: no answer, or not all of one.
            OriginConfigurationError: nothing can be asked so, or what came must not be followed.
        """
        client = self._client()
        url = self._with_own_params(
            ask.url.copy_merge_params(ask.params) if ask.params else ask.url
        )
        try:
            request = client.build_request(
                ask.method,
                url,
                headers={**self._headers, **headers},
                json=ask.json,
                data=None if ask.form is None else dict(ask.form),
            )
            for _ in range(_MAX_REDIRECTS + 1):
                answer = self._sent(client, request, ask=ask, cost=cost)
                if isinstance(answer, Answer):
                    return answer
                request = answer
        except httpx.TimeoutException as error:
            raise self._unavailable(
                f"{ask} got no answer within {self._connection.timeout_seconds:g} s "
                f"({type(error).__name__})."
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            # Such an error may quote the header that it is about.
            raise self._wrong(
                f"{ask} cannot be sent: its address or one of its headers is not possible."
            ) from None
        except httpx.HTTPError as error:
            if _is_untrusted(error):
                raise self._wrong(f"the certificate of {self._host} is not trusted.") from error
            raise self._unavailable(f"{ask} got no answer ({type(error).__name__}).") from error
        raise self._wrong(f"{ask} is redirected in a circle.")

    def close(self) -> None:
        """End connections; twice is no error."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def _host(self) -> str:
        return self._addresses.base.host

    def _sent(
        self, client: httpx.Client, request: httpx.Request, *, ask: Ask, cost: Cost
    ) -> Answer | httpx.Request:
        """The answer, or where it says to ask instead."""
        check_wanted()
        deadline = time.monotonic() + _WHOLE_WITHIN * self._connection.timeout_seconds
        cost.requests += 1
        response = client.send(request, stream=True)
        try:
            following = response.next_request
            if following is not None:
                url = self._addresses.after_redirect(following.url, told=str(ask))
                following.url = self._with_own_params(url)
                return following
            return Answer(
                status=response.status_code,
                headers=response.headers,
                body=self._body(response, ask=ask, deadline=deadline),
                asked_seconds=retry_after_seconds(
                    response.headers.get("retry-after"),
                    # A date is seen from the answer's own, whose clock wrote both.
                    now=_moment(response.headers.get("date")) or self._now(),
                ),
            )
        finally:
            response.close()

    def _body(self, response: httpx.Response, *, ask: Ask, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            check_wanted()
            body += chunk
            if time.monotonic() > deadline:
                raise self._unavailable(
                    f"{ask} was still being answered after "
                    f"{_WHOLE_WITHIN * self._connection.timeout_seconds:g} s."
                )
            if response.is_error and len(body) > _MAX_REFUSAL_BYTES:
                break
            if len(body) > self._connection.max_answer_bytes:
                raise OriginConfigurationError(
                    f"{ask} answers with more than {self._connection.max_answer_bytes:,} bytes; "
                    "the rest was not read.",
                    landing=self._landing,
                    remedy="Ask for smaller pages (`pages.size`), or raise `max_answer_bytes` of "
                    "the connection.",
                )
        return bytes(body)

    def _with_own_params(self, url: httpx.URL) -> httpx.URL:
        own = {name: it for name, it in self._connection.params.items() if name not in url.params}
        return url.copy_merge_params(own) if own else url

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._opened is None:
                self._opened = self._new_client()
            return self._opened

    def _new_client(self) -> httpx.Client:
        # At INFO httpx logs whole addresses, whose parameters may be keys.
        for name, level in (("httpx", logging.WARNING), ("httpcore", logging.INFO)):
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, level))
        connection = self._connection
        is_local = is_this_machine(self._host)
        is_plain = self._addresses.base.scheme == "http"
        timeout = connection.timeout_seconds
        try:
            return httpx.Client(
                headers={"User-Agent": "sync-pipeline", "Accept": "application/json"},
                timeout=httpx.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
                limits=httpx.Limits(
                    max_connections=connection.concurrent_requests,
                    max_keepalive_connections=connection.concurrent_requests,
                ),
                follow_redirects=False,
                # A proxy named in the environment must not see what is sent to this machine.
                trust_env=not is_local,
                # Reading the system's certificates takes 40 ms, and nothing here needs them.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_local and is_plain else True,
            )
        except (ImportError, ValueError) as error:
            if is_local:
                raise
            raise UnusableProxyError(host=self._host) from error

    def _own_headers(self) -> dict[str, str]:
        headers = dict(self._connection.headers)
        if self._connection.basic is not None:
            user, password = self._connection.basic
            told = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            headers["Authorization"] = f"Basic {told}"
        for name, value in headers.items():
            if not value.isascii() or not value.isprintable():
                raise self._wrong(f"the value of the header {name!r} cannot be sent.")
        return headers

    def _unavailable(self, what: str) -> OriginUnavailableError:
        return OriginUnavailableError(what, landing=self._landing)

    def _wrong(self, what: str) -> OriginConfigurationError:
        return OriginConfigurationError(
            what,
            landing=self._landing,
            remedy=f"Correct the connection {self._connection.name!r}.",
        )


def _is_untrusted(error: BaseException) -> bool:
    """Whether a connection was refused by us, for its certificate."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return True
        found = found.__cause__ or found.__context__
    return False


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
