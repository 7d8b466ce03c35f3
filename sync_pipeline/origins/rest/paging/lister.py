"""What every walk through a list needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from sync_pipeline.core.errors import OriginConfigurationError, ShortAnswerError
from sync_pipeline.core.landing.origin_options import RestRequest, Scalar
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.origins.rest.addresses import Addresses
from sync_pipeline.origins.rest.answers import Listing, ListReader
from sync_pipeline.origins.rest.client import RestClient
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.run_ahead import K, RunAhead
from sync_pipeline.origins.rest.transport import Ask


class Lister:
    """Asks for pages of one list.

    Args:
        landing: Whose records they are.
        request: The list.
        client: Asks.
        reader: Reads.
        addresses: Of the system.
        params: Beside those of the list, e.g. from when on changes are wanted.
        most: Requests that may run ahead.
    """

    def __init__(
        self,
        landing: Landing,
        request: RestRequest,
        *,
        client: RestClient,
        reader: ListReader,
        addresses: Addresses,
        params: Mapping[str, Scalar],
        most: int,
    ) -> None:
        self.landing = landing
        self.addresses: Final = addresses
        self.most: Final = most
        self._request = request
        self._client = client
        self._reader = reader
        self._params = {**request.params, **params}
        self.url: Final = addresses.at(request.path)

    @property
    def told(self) -> str:
        """What is asked for, for messages."""
        return str(Ask(url=self.url, method=self._request.method))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be stored, beside what the settings know."""
        return self._client.token_texts

    def ask(
        self, params: Mapping[str, Scalar | None], cost: Cost, *, url: httpx.URL | None = None
    ) -> Listing:
        """One page.

        Args:
            params: That say which; None: not sent.
            cost: Gets what it takes.
            url: Of a link, which says everything by itself; None: that of the list.
        """
        stated = {name: value for name, value in params.items() if value is not None}
        by_link = url is not None
        is_post = self._request.method == "POST"
        given = {**self._params, **stated}
        ask = Ask(
            url=self.url if url is None else url,
            method=self._request.method,
            params=None if by_link or is_post else given,
            json=given if is_post else None,
        )
        found = self._client.ask(ask, cost)
        return self._reader.listing(found.document, found.headers, told=str(ask))

    def short(self, *, came: int, total: int) -> ShortAnswerError:
        """The error of a list that ends too early."""
        return ShortAnswerError(landing=self.landing.name, where=self.told, came=came, total=total)

    def misfit(self, what: str, *, remedy: str) -> OriginConfigurationError:
        """The error of a list that is not as the settings say."""
        return OriginConfigurationError(what, landing=self.landing.name, remedy=remedy)

    def ignored(self, param: str) -> OriginConfigurationError:
        """The error of a list that gives the same page for ever."""
        return self.misfit(
            f"{self.told} answers with the same records whatever {param!r} says; the parameter "
            "seems to be ignored.",
            remedy="Correct `pages` of the landing. Where the list takes no such parameter and is "
            "always whole, write `pages: {by: link}`.",
        )


def sure(ahead: RunAhead[K], key: K) -> Listing:
    """A page; an empty one is asked for a second time, for it may be a failure."""
    listing = ahead.take(key)
    if listing.records:
        return listing
    again = ahead.ask_again(key)
    again.cost.add(listing.cost)
    return again


def page_of(
    listing: Listing,
    *,
    resume: Position | None,
    is_last: bool,
    overlapping: int = 0,
    mended_seams: int = 0,
) -> Page:
    """What a pass gets of an answer."""
    return Page(
        records=listing.records,
        resume=resume,
        is_last=is_last,
        total=listing.total,
        overlapping=overlapping,
        mended_seams=mended_seams,
        requests=listing.cost.requests,
        waited_seconds=listing.cost.waited_seconds,
    )


def position_number(position: Position, name: str) -> int:
    """A number of a position."""
    return int(position.get(name, 0))


def position_texts(position: Position, name: str) -> tuple[str, ...]:
    """Texts of a position."""
    found: Any = position.get(name, ())
    return tuple(str(it) for it in found) if isinstance(found, Sequence) else ()
