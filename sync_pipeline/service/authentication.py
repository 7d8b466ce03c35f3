"""From a request to its caller: a bearer token, or the cookie of somebody who signed in."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from fastapi import Request

from sync_pipeline.service.principals import LOCAL_OPERATOR, ForbiddenError, Principal
from sync_pipeline.service.tokens import InvalidTokenError, TokenVerifier
from sync_pipeline.settings import ServiceSettings

COOKIE: Final = "sync_pipeline_token"
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Authenticator:
    """Knows callers by their tokens; where none are asked for, all are the local operator."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._verifier = TokenVerifier(settings) if settings.asks_for_tokens else None
        # Of this process: after a restart a page is loaded anew.
        self._csrf_key = secrets.token_bytes(32)

    @property
    def is_open(self) -> bool:
        """Whether nobody has to sign in."""
        return self._verifier is None

    def verify(self, token: str) -> Principal:
        """Whose token it is.

        Raises:
            InvalidTokenError: nobody's.
        """
        if self._verifier is None:
            return LOCAL_OPERATOR
        return self._verifier.verify(token)

    def authenticate(self, request: Request) -> Principal:
        """Who is asking.

        A request that changes something and is known by its cookie alone has to carry the CSRF
        token of its page; so has every such request where nobody signs in, for any page that a
        browser shows could send it.

        Raises:
            InvalidTokenError: no credential, or one that is no good.
            ForbiddenError: no CSRF token where one is needed.
        """
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise InvalidTokenError
            return self.verify(token.strip())
        if self._verifier is None:
            self.require_own_page(request)
            return LOCAL_OPERATOR
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise InvalidTokenError
        principal = self.verify(cookie)
        if request.method not in SAFE_METHODS:
            self.require_csrf(cookie, request.headers.get(CSRF_HEADER, ""))
        return principal

    def csrf_token(self, credential: str) -> str:
        """What a page sends back with every change, for the credential in its cookie."""
        return hmac.new(self._csrf_key, credential.encode(), "sha256").hexdigest()

    def require_csrf(self, credential: str, token: str) -> None:
        """Refuse a change that does not come from a page of ours.

        Raises:
            ForbiddenError: it does not.
        """
        if not hmac.compare_digest(self.csrf_token(credential).encode(), token.encode()):
            raise ForbiddenError("load the page again: this request does not come from it")

    def require_own_page(self, request: Request) -> None:
        """Refuse a change that a page of somebody else made a browser send.

        Raises:
            ForbiddenError: it did.
        """
        if request.method in SAFE_METHODS:
            return
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            raise ForbiddenError("pages of other hosts may change nothing here")
