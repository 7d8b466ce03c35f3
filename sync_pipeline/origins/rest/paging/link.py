"""Pages of which each says where the next one is."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from sync_pipeline.core.hashing import digest
from sync_pipeline.core.landing.fields import told_field
from sync_pipeline.core.landing.origin_options import ByLink, Scalar
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.origins.rest.answers import Listing
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.paging.lister import Lister, page_of, position_number, sure
from sync_pipeline.origins.rest.run_ahead import RunAhead


class LinkedPages:
    """Walks through a list by the links, or cursors, of its answers.

    Args:
        paging: Where the links are.
        lister: Asks for the list.
        start: Where to go on; None: at the beginning.
    """

    def __init__(self, paging: ByLink, lister: Lister, *, start: Position | None) -> None:
        self._paging = paging
        self._lister = lister
        at = start or {}
        self._next: str | None = at.get("next")
        self._came = position_number(at, "came")

    def __iter__(self) -> Iterator[Page]:
        before: tuple[str, ...] = ()
        seen: set[str] = set()
        # The next link is known only with its page: one is fetched while this one is worked on.
        with RunAhead(self._ask, most=min(self._lister.most, 1)) as ahead:
            while True:
                asked = self._next
                listing = sure(ahead, asked)
                if listing.keys and listing.keys == before:
                    raise self._lister.ignored(self._paging.cursor_param or "the link")
                before = listing.keys
                following = self._following(listing, asked=asked)
                self._check_the_end(listing, following=following, is_first=asked is None)
                self._came += len(listing.records)
                if following is not None:
                    if (known := digest(following)) in seen:
                        raise self._circle()
                    seen.add(known)
                    self._next = following
                    ahead.expect([following])
                yield page_of(listing, resume=self._resume(), is_last=following is None)
                if following is None:
                    return

    def _ask(self, link: str | None, cost: Cost) -> Listing:
        paging = self._paging
        params: dict[str, Scalar | None] = {}
        if paging.size_param is not None:
            params[paging.size_param] = paging.size
        if link is not None and paging.cursor_param is not None:
            params[paging.cursor_param] = link
        return self._lister.ask(params, cost, url=self._url(link))

    def _url(self, link: str | None) -> httpx.URL | None:
        """The address that a link is; None where there is none, or where it is a cursor."""
        if link is None or self._paging.cursor_param is not None:
            return None
        return self._lister.addresses.of_stored(link)

    def _following(self, listing: Listing, *, asked: str | None) -> str | None:
        """The next link as it is kept: resolved, and without credentials."""
        found = listing.following
        if found is None or self._paging.cursor_param is not None:
            return found
        addresses = self._lister.addresses
        return addresses.stored(
            addresses.of_link(found, asked=self._url(asked) or self._lister.url)
        )

    def _resume(self) -> Position | None:
        addresses = self._lister.addresses
        if self._next is not None and addresses.has_secret(self._next, others=self._lister.secrets):
            return None
        return {"next": self._next, "came": self._came}

    def _check_the_end(self, listing: Listing, *, following: str | None, is_first: bool) -> None:
        """A list that says how many records it has does not end at none, or at its first page."""
        total, came = listing.total, self._came + len(listing.records)
        if following is not None or total is None or came >= total:
            return
        if not listing.records:
            raise self._lister.short(came=came, total=total)
        if is_first:
            paging = self._paging
            place = "its header Link" if paging.next is None else f"`{told_field(paging.next)}`"
            raise self._lister.misfit(
                f"{self._lister.told} says that there are {total:,} records, gives {came:,}, and "
                f"has no link to the next page in {place}.",
                remedy="Correct `pages` of the landing.",
            )

    def _circle(self) -> Exception:
        return self._lister.misfit(
            f"the links of {self._lister.told} lead in a circle.",
            remedy="Correct `pages` of the landing: where the link to the next page is.",
        )
