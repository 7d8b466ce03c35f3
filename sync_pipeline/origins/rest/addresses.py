"""Where requests go: below one address, and never to another host."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import httpx

from sync_pipeline.core.addresses import is_readable_on_the_way
from sync_pipeline.core.errors import OriginConfigurationError
from sync_pipeline.core.landing.origin_options import RestConnection

SHORTEST_SECRET: Final = 5
"""Shorter values are found everywhere, and hide nothing."""


class Addresses:
    """The addresses of one system.

    Args:
        landing: For messages.
        connection: With the address that all others are below of.

    Raises:
        OriginConfigurationError: it is none, or secrets would cross a network unencrypted.
    """

    def __init__(self, landing: str, connection: RestConnection) -> None:
        self._landing = landing
        self._connection = connection
        self.base: Final = self._checked(connection.base_url)

    def at(self, path: str) -> httpx.URL:
        """The address of a path below the base."""
        try:
            return self.base.join(f"{self.base.path.rstrip('/')}/{path.lstrip('/')}")
        except (httpx.InvalidURL, ValueError):
            raise self._wrong(f"{path!r} is no path.") from None

    def of_record(self, template: str, key: str) -> httpx.URL:
        """The address of one record; its key stays one segment of the path, whatever it holds."""
        told = quote(key, safe="")
        if not told.strip("."):
            told = told.replace(".", "%2E")
        return self.at(template.replace("{id}", told))

    def of_link(self, link: str, *, asked: httpx.URL) -> httpx.URL:
        """Where a link of an answer leads.

        Raises:
            OriginConfigurationError: to another host, which must see no credentials, or nowhere.
        """
        try:
            url = asked.join(link).copy_with(fragment=None)
        except (httpx.InvalidURL, ValueError):
            raise self._wrong("the link to the next page is no address.") from None
        if not self.is_own(url):
            raise self._foreign("the link to the next page leads to", url)
        return url

    def stored(self, url: httpx.URL) -> str:
        """A link as it may be kept: without what every request is sent with."""
        kept = [pair for pair in url.params.multi_items() if pair[0] not in self._connection.params]
        bare = url.copy_with(query=None)
        return str((bare.copy_with(params=kept) if kept else bare).raw_path, "ascii")

    def of_stored(self, link: str) -> httpx.URL:
        """The address of a link that was kept."""
        return self.of_link(link, asked=self.base)

    def has_secret(self, text: str, *, others: tuple[str, ...] = ()) -> bool:
        """Whether a text shows a value that nobody but this system may see."""
        connection = self._connection
        login = connection.login
        values = [*connection.headers.values(), *connection.params.values(), *others]
        values += connection.basic or ()
        values += [] if login is None else [*(login.json or {}).values()]
        values += [] if login is None else [*(login.form or {}).values()]
        told = (str(value) for value in values)
        return any(
            value in text or quote(value, safe="") in text
            for value in told
            if len(value) >= SHORTEST_SECRET
        )

    def after_redirect(self, url: httpx.URL, *, told: str) -> httpx.URL:
        """Where a redirect leads.

        Raises:
            OriginConfigurationError: to another host or scheme.
        """
        if not self.is_own(url):
            raise self._foreign(f"{told} redirects to", url)
        return url

    def is_own(self, url: httpx.URL) -> bool:
        """Whether an address has the scheme, host and port of this system."""
        return _origin(url) == _origin(self.base)

    def _checked(self, base_url: str) -> httpx.URL:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            raise self._wrong("`base_url` is no address.") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise self._wrong("`base_url` is no http:// or https:// address.")
        if url.userinfo:
            raise self._wrong(f"`base_url` holds a user name or password for {url.host}.")
        if url.query or url.fragment:
            raise self._wrong(f"`base_url` of {url.host} has a ? or # part.")
        connection = self._connection
        sends_secrets = bool(
            connection.headers or connection.params or connection.basic or connection.login
        )
        if sends_secrets and not connection.allows_plain_http and is_readable_on_the_way(base_url):
            raise OriginConfigurationError(
                f"credentials would go to {url.host} unencrypted.",
                landing=self._landing,
                remedy="Use https://; where the network itself is private, set "
                f"`allow_plain_http` of the connection {connection.name!r}.",
            )
        return url

    def _wrong(self, what: str) -> OriginConfigurationError:
        return OriginConfigurationError(
            what,
            landing=self._landing,
            remedy=f"Correct the connection {self._connection.name!r}, or `request` of the "
            "landing: an address like https://erp.example.com/api/v1, and a path below it; "
            "credentials go into `basic`, `headers`, `params` or `login`.",
        )

    def _foreign(self, what: str, url: httpx.URL) -> OriginConfigurationError:
        return OriginConfigurationError(
            f"{what} {url.scheme}://{url.netloc.decode('ascii', 'replace')}, which is not the "
            f"system that credentials belong to; it was not asked.",
            landing=self._landing,
            remedy=f"If that is where the records are, write it as `base_url` of the connection "
            f"{self._connection.name!r}.",
        )


def shown(url: httpx.URL) -> str:
    """An address for messages: what stands behind ``?`` may be a secret."""
    return str(url.copy_with(query=None, fragment=None))


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    usual = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or usual
