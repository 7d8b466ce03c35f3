"""Pages by their number."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.core.landing.origin_options import ByPage
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.origins.rest.answers import Listing
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.paging.lister import Lister, page_of, position_number, sure
from sync_pipeline.origins.rest.run_ahead import RunAhead


class NumberedPages:
    """Walks through a list by the numbers of its pages.

    Args:
        paging: How the list is cut.
        lister: Asks for it.
        start: Where to go on; None: at the beginning.
    """

    def __init__(self, paging: ByPage, lister: Lister, *, start: Position | None) -> None:
        self._paging = paging
        self._lister = lister
        at = {"page": paging.first, **(start or {})}
        self._number = position_number(at, "page")
        self._came = position_number(at, "came")
        self._longest = position_number(at, "longest")

    def __iter__(self) -> Iterator[Page]:
        before: tuple[str, ...] = ()
        with RunAhead(self._ask, most=self._lister.most) as ahead:
            while True:
                listing = sure(ahead, self._number)
                total = listing.total
                if not listing.records and total is not None and self._came < total:
                    raise self._lister.short(came=self._came, total=total)
                if listing.keys and listing.keys == before:
                    self._refuse_a_standstill(listing, ahead=ahead)
                before = listing.keys
                self._came += len(listing.records)
                self._number += 1
                self._longest = max(self._longest, len(listing.records))
                is_last = not listing.records if total is None else self._came >= total
                if not is_last:
                    ahead.expect(self._numbers_ahead(listing))
                yield page_of(listing, resume=self._resume(), is_last=is_last)
                if is_last:
                    return

    def _ask(self, number: int, cost: Cost) -> Listing:
        paging = self._paging
        params = {paging.page_param: number}
        if paging.size_param is not None:
            params[paging.size_param] = paging.size
        return self._lister.ask(params, cost)

    def _resume(self) -> Position:
        return {"page": self._number, "came": self._came, "longest": self._longest}

    def _refuse_a_standstill(self, listing: Listing, *, ahead: RunAhead[int]) -> None:
        """Tell a number that is ignored from a list that moved by exactly a page."""
        first = ahead.ask_again(self._paging.first)
        listing.cost.add(first.cost)
        if first.keys == listing.keys:
            raise self._lister.ignored(self._paging.page_param)

    def _numbers_ahead(self, listing: Listing) -> Iterator[int]:
        """The next pages, as long as they are as long as the longest so far."""
        number, begins = self._number, self._came
        yield number
        if listing.total is None and len(listing.records) < self._longest:
            return
        while True:
            number, begins = number + 1, begins + self._longest
            if listing.total is not None and begins >= listing.total:
                return
            yield number
