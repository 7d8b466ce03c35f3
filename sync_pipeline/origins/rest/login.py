"""Tokens: got once, shown with every request, and got anew once they are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.fields import MISSING, told_field, value_at
from sync_pipeline.core.landing.origin_options import Login
from sync_pipeline.origins.rest.addresses import Addresses
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.transport import Ask

AskLogin = Callable[[Ask, Cost], object]
"""Sends the request of a login, as often as that helps; the JSON of its answer."""


@dataclass(slots=True, eq=False)
class Token:
    """One token; two with the same text are two."""

    text: str
    is_accepted: bool = False
    """Whether anything was ever answered to it."""


class Tokens:
    """The token of one connection, for all its threads.

    Args:
        landing: For messages.
        login: How it is got.
        addresses: Where.
        ask: Sends the request.
    """

    def __init__(self, landing: str, *, login: Login, addresses: Addresses, ask: AskLogin) -> None:
        self._landing = landing
        self._login = login
        self._ask = ask
        in_address = login.method == "GET"
        given = {**(login.json or {}), **(login.form or {})}
        self._request = Ask(
            url=addresses.at(login.path),
            method=login.method,
            params=given if in_address else None,
            json=None if in_address else login.json,
            form=None if in_address else login.form,
        )
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._refusal: OriginConfigurationError | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The token in use, to be kept out of what is stored."""
        token = self._token
        return () if token is None else (token.text,)

    def current(self, cost: Cost) -> Token:
        """The token in use; the first who needs one gets it for all.

        Raises:
            OriginConfigurationError: the login is refused; nobody tries it again.
            OriginUnavailableError: it is not answered.
        """
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._token is None:
                try:
                    self._token = self._new(cost)
                except OriginConfigurationError as error:
                    # Another thread would only add to the wrong attempts that an account may have.
                    self._refusal = error
                    raise
            return self._token

    def refuse(self, token: Token) -> None:
        """Have a token that is not accepted replaced, whoever of several says so.

        Raises:
            OriginConfigurationError: it was never accepted at all.
        """
        with self._lock:
            if token is not self._token:
                return
            if not token.is_accepted:
                raise self._wrong("the token that was just got is not accepted (401).")
            self._token = None

    def headers(self, token: Token) -> Mapping[str, str]:
        """How it is shown."""
        scheme = self._login.scheme
        return {self._login.header: f"{scheme} {token.text}" if scheme else token.text}

    def _new(self, cost: Cost) -> Token:
        document = self._ask(self._request, cost)
        found = value_at(document, self._login.token)
        place = f"`{told_field(self._login.token)}`" if self._login.token else "its top"
        if found is MISSING or isinstance(found, bool) or not isinstance(found, str | int):
            there = (
                f"; there are {', '.join(sorted(map(str, document)))}"
                if isinstance(document, Mapping)
                else ""
            )
            raise self._wrong(f"{self._request} answers without a token at {place}{there}.")
        text = str(found)
        if not text or not text.isascii() or not text.isprintable():
            raise self._wrong(f"{self._request} answers with a token that no header can hold.")
        return Token(text)

    def _wrong(self, what: str) -> OriginConfigurationError:
        return OriginConfigurationError(
            what,
            landing=self._landing,
            remedy="Correct `login` of the connection: its path, its values, where the token is in "
            "the answer, and the header and scheme that it is shown in.",
        )
