"""Pages that each begin after the last key of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sync_pipeline.core.landing.fields import MISSING, told_field, value_at
from sync_pipeline.core.landing.origin_options import ByKey
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.origins.rest.answers import Listing
from sync_pipeline.origins.rest.costs import Cost
from sync_pipeline.origins.rest.paging.lister import (
    Lister,
    page_of,
    position_number,
    position_texts,
    sure,
)
from sync_pipeline.origins.rest.run_ahead import RunAhead

_PAGES_LOOKED_BACK: Final = 8
"""Pages before the last one whose records may all be gone, when the end is looked at again."""
_MISSING_RECORDS: Final = 20
_MISSING_SHARE: Final = 0.1
"""So many records, or such a share of them, may have come before the key during a pass."""


class KeyPages:
    """Walks through a list by key; what lives throughout is in one of its pages.

    How many records there are says little about its end: those that were taken may be gone since,
    and others may have come before the key. So it ends where nothing is behind a key; and where
    fewer came than there are, only after a page before that was read again.

    Args:
        paging: How the list is cut.
        lister: Asks for it.
        start: Where to go on; None: at the beginning.
    """

    def __init__(self, paging: ByKey, lister: Lister, *, start: Position | None) -> None:
        self._paging = paging
        self._lister = lister
        at = start or {}
        self._after: str | None = at.get("after")
        self._earlier = position_texts(at, "earlier")
        """Of the pages before a key that is not the last one, of the last page last."""
        self._came = position_number(at, "came")
        self._first_total: int | None = at.get("first_total")
        self._is_end_confirmed = False

    def __iter__(self) -> Iterator[Page]:
        before: tuple[str, ...] = ()
        # The next key is known only with its page: one is fetched while this one is worked on.
        with RunAhead(self._ask, most=min(self._lister.most, 1)) as ahead:
            while True:
                listing = sure(ahead, self._after)
                if len(listing.keys) > 1 and listing.keys == before:
                    raise self._lister.ignored(self._paging.after_param)
                before = listing.keys
                if self._first_total is None:
                    self._first_total = listing.total
                keys = self._keys_of(listing)
                is_last = self._is_nothing_new(keys)
                if is_last and self._is_short(listing):
                    listing = self._earlier_page(listing, ahead=ahead)
                    keys = self._keys_of(listing)
                    is_last = self._is_nothing_new(keys[-1:])
                if not is_last:
                    self._go_on(keys, came=len(listing.records))
                    ahead.expect([self._after])
                yield page_of(listing, resume=self._resume(), is_last=is_last)
                if is_last:
                    return

    def _is_nothing_new(self, keys: list[str]) -> bool:
        """A list that gives what begins with a key, and not after it, ends with that."""
        return all(key == self._after for key in keys)

    def _go_on(self, keys: list[str], *, came: int) -> None:
        begun = "" if self._after is None else self._after
        # From the middle of a page on: what is behind its end comes too, however long pages are.
        middle = keys[(len(keys) - 2) // 2] if len(keys) > 1 else begun
        self._earlier = (*self._earlier, middle)[-_PAGES_LOOKED_BACK:]
        self._after = keys[-1]
        self._came += came

    def _ask(self, after: str | None, cost: Cost) -> Listing:
        paging = self._paging
        params: dict[str, str | int | None] = {paging.after_param: after}
        if paging.size_param is not None:
            params[paging.size_param] = paging.size
        if paging.sort_param is not None:
            params[paging.sort_param] = paging.sort
        return self._lister.ask(params, cost)

    def _resume(self) -> Position:
        return {
            "after": self._after,
            "earlier": list(self._earlier),
            "came": self._came,
            "first_total": self._first_total,
        }

    def _keys_of(self, listing: Listing) -> list[str]:
        found = [self._key_of(record) for record in listing.records]
        keys = [key for key in found if key is not None]
        if listing.records and not keys:
            raise self._lister.misfit(
                f"none of {len(listing.records):,} records of {self._lister.told} has the field "
                f"{told_field(self._paging.key)} that their pages are cut by.",
                remedy="Correct `pages.key` of the landing: the field that the list is sorted by.",
            )
        return keys

    def _key_of(self, record: Any) -> str | None:
        value = value_at(record, self._paging.key)
        usable = value is not MISSING and value is not None and not isinstance(value, bool)
        return str(value) if usable and not isinstance(value, list | dict) else None

    def _is_short(self, listing: Listing) -> bool:
        """Whether fewer came than there are, and nobody has looked yet why.

        Raises:
            ShortAnswerError: so many are missing that they cannot all have come meanwhile.
        """
        total = listing.total
        if total is None or self._came >= total or self._is_end_confirmed:
            return False
        expected = total if self._first_total is None else min(total, self._first_total)
        if expected - self._came > max(_MISSING_RECORDS, expected * _MISSING_SHARE):
            raise self._lister.short(came=self._came, total=total)
        return True

    def _earlier_page(self, listing: Listing, *, ahead: RunAhead[str | None]) -> Listing:
        """A page before the end, read again: what is behind it is there, and the end is one.

        Where records of none of the last pages are left, that is the first page of all.

        Raises:
            ShortAnswerError: nothing comes any more where there were records.
        """
        self._is_end_confirmed = True
        for key in (*reversed(self._earlier), ""):
            earlier = ahead.ask_again(key or None)
            earlier.cost.add(listing.cost)
            listing = earlier
            if not self._is_nothing_new(self._keys_of(listing)):
                return listing
        if listing.total:
            raise self._lister.short(came=self._came, total=listing.total)
        return listing
