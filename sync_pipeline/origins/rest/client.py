"""One question to a REST system, asked as often as that helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

import httpx

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    RateLimitedError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.landing.origin_options import RestConnection
from sync_pipeline.core.ports import RateLimiter
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.waiting import wait
from sync_pipeline.origins.rest.addresses import Addresses
from sync_pipeline.origins.rest.answers import Unreadable, read_json
from sync_pipeline.origins.rest.costs import Cost, while_wanted
from sync_pipeline.origins.rest.login import Token, Tokens
from sync_pipeline.origins.rest.pacing import Pacing
from sync_pipeline.origins.rest.transport import Answer, Ask, Transport

_ATTEMPTS_PER_ASKED_WAIT: Final = 4
"""Who asks to wait and is obeyed may do so this much more often than others may fail."""
_TOKENS_PER_REQUEST: Final = 3
"""A request that is refused with so many tokens, each good for others, may not be sent at all."""
_TRY_AGAIN: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_ASKS_TO_WAIT: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_WHAT_TO_DO: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "Correct the credentials of the connection.",
    HTTPStatus.FORBIDDEN: "Let the account of the connection read there, or use another one.",
    HTTPStatus.NOT_FOUND: "Correct `base_url` of the connection, or the path that is asked for.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer that can be used."""

    status: int
    headers: httpx.Headers
    document: object
    """Its JSON; of a status that says that there is nothing, None."""


class RestClient:
    """Asks, logs in, waits and tries again.

    Args:
        landing: For messages.
        connection: To what.
        addresses: Of it.
        limiter: Gives turns among all who use the same account; None: there is no limit.
        sleep: Waits a little.
        now: The present.
        clock: Seconds.
    """

    def __init__(
        self,
        landing: str,
        *,
        connection: RestConnection,
        addresses: Addresses,
        limiter: RateLimiter | None,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._landing = landing
        self._connection = connection
        self._sleep = while_wanted(sleep)
        self._transport = Transport(landing, connection=connection, addresses=addresses, now=now)
        self._pacing = Pacing(
            landing,
            limiter=limiter,
            longest_wait_seconds=connection.longest_wait_seconds,
            sleep=self._sleep,
            clock=clock,
        )
        self._tokens = (
            None
            if connection.login is None
            else Tokens(
                landing, login=connection.login, addresses=addresses, ask=self._answer_to_login
            )
        )

    @property
    def token_texts(self) -> tuple[str, ...]:
        """Tokens in use."""
        return () if self._tokens is None else self._tokens.texts

    def ask(self, ask: Ask, cost: Cost, *, absent: AbstractSet[int] = frozenset()) -> Found:
        """Ask until there is an answer that can be used, or none can be had.

        Args:
            ask: What is asked for.
            cost: Gets what it takes.
            absent: Statuses that say that there is nothing.

        Raises:
            RateLimitedError: asked to wait for longer than the connection allows.
            OriginUnavailableError: no answer, or no usable one, after several attempts.
            OriginConfigurationError: no attempt can help.
        """
        tokens = self._tokens
        if tokens is None:
            return self._as_often_as_it_helps(partial(self._attempt, ask, cost, absent), cost)
        for _ in range(_TOKENS_PER_REQUEST):
            token = tokens.current(cost)
            found = self._as_often_as_it_helps(
                partial(self._attempt, ask, cost, absent | {HTTPStatus.UNAUTHORIZED}, token), cost
            )
            if found.status != HTTPStatus.UNAUTHORIZED:
                token.is_accepted = True
                return found
            tokens.refuse(token)
        raise self._refused(ask, HTTPStatus.UNAUTHORIZED)

    def log_in(self, cost: Cost) -> bool:
        """Get a token where one is needed; whether one is.

        Raises:
            SyncPipelineError: as ``ask``.
        """
        if self._tokens is None:
            return False
        self._tokens.current(cost)
        return True

    def close(self) -> None:
        """End connections; twice is no error."""
        self._transport.close()

    def _answer_to_login(self, ask: Ask, cost: Cost) -> object:
        found = self._as_often_as_it_helps(partial(self._attempt, ask, cost, frozenset()), cost)
        return found.document

    def _as_often_as_it_helps(self, attempt: Callable[[], Found], cost: Cost) -> Found:
        """Failures are given some attempts, and waits that were asked for more."""

        def wait_as_asked(seconds: float) -> None:
            wait(seconds, sleep=self._sleep)
            cost.waited_seconds += seconds

        connection = self._connection
        failing = Retries(
            attempts=connection.attempts,
            longest_wait_seconds=connection.longest_wait_seconds,
            sleep=partial(wait, sleep=self._sleep),
        )
        waiting = Retries(
            attempts=connection.attempts * _ATTEMPTS_PER_ASKED_WAIT,
            longest_wait_seconds=connection.longest_wait_seconds,
            sleep=wait_as_asked,
        )

        def unless_asked_to_wait() -> Found | RateLimitedError:
            try:
                return attempt()
            except RateLimitedError as error:
                if error.retry_after_seconds is None:
                    raise
                return error

        def patient() -> Found | TransientError:
            try:
                found = failing.call(unless_asked_to_wait)
            except TransientError as error:
                return error
            if isinstance(found, RateLimitedError):
                raise found
            return found

        answer = waiting.call(patient)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    def _attempt(
        self, ask: Ask, cost: Cost, absent: AbstractSet[int], token: Token | None = None
    ) -> Found:
        self._pacing.await_turn(cost)
        headers = {} if token is None or self._tokens is None else self._tokens.headers(token)
        answer = self._transport.send(ask, headers=headers, cost=cost)
        if answer.status in absent:
            return Found(status=answer.status, headers=answer.headers, document=None)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._failure(ask, answer)
        try:
            document = read_json(answer)
        except Unreadable as error:
            raise self._unavailable(ask, answer, str(error)) from error
        return Found(status=answer.status, headers=answer.headers, document=document)

    def _failure(self, ask: Ask, answer: Answer) -> SyncPipelineError:
        """What a status other than success stands for."""
        status, asked = answer.status, answer.asked_seconds
        is_limited = status == HTTPStatus.TOO_MANY_REQUESTS
        if is_limited or (status in _ASKS_TO_WAIT and asked is not None):
            self._pacing.close(asked)
            told = "without saying for how long" if asked is None else f"for {asked:.0f} s"
            return RateLimitedError(
                f"landing {self._landing!r}: {ask} answered {status}: it asks to wait {told}.",
                remedy="What was fetched is kept, and nothing was landed or deleted: the next run "
                "goes on there.",
                retry_after_seconds=asked,
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
            return OriginUnavailableError(
                f"{ask} answered {status}.", landing=self._landing, retry_after_seconds=asked
            )
        return self._refused(ask, status)

    def _refused(self, ask: Ask, status: int) -> OriginConfigurationError:
        return OriginConfigurationError(
            f"{ask} answered {status}.",
            landing=self._landing,
            remedy=_WHAT_TO_DO.get(
                status, "Correct path, method and parameters of the landing's `request`."
            ),
        )

    def _unavailable(self, ask: Ask, answer: Answer, why: str) -> OriginUnavailableError:
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        shown = (
            kind if kind.replace("/", "").replace("+", "").replace("-", "").isalnum() else "none"
        )
        return OriginUnavailableError(
            f"{ask} answered {answer.status} with {why} (content type: {shown}).",
            landing=self._landing,
        )
