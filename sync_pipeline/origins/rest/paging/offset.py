"""Pages by offset, whose seams are compared where they overlap; see ``core.landing.walking``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sync_pipeline.core.errors import OriginUnavailableError
from sync_pipeline.core.landing.origin_options import ByOffset
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline.core.landing.walking import OffsetWalk, UnorderedListError
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

_MOST_KEPT: Final = 200
"""Keys of the last records that a position remembers; with them it is some kilobytes."""
_MOST_OFTEN_EMPTY: Final = 10
"""So often may a list that shrinks end before a page that was expected."""


class OffsetPages:
    """Walks through a list by offset.

    Args:
        paging: How the list is cut.
        lister: Asks for it.
        start: Where to go on; None: at the beginning.
    """

    def __init__(self, paging: ByOffset, lister: Lister, *, start: Position | None) -> None:
        self._paging = paging
        self._lister = lister
        at = start or {}
        self._walk = OffsetWalk(
            size=paging.size,
            overlap=paging.overlap,
            offset=position_number(at, "offset"),
            tail=position_texts(at, "tail"),
            steps_back=position_number(at, "steps_back"),
            kept=min(paging.size, _MOST_KEPT),
        )
        self._longest = position_number(at, "longest")
        """Records of the longest page so far: what a page has that is not the last."""
        self._mended = 0
        self._empty_at: Counter[int] = Counter()
        """Offsets at which there was nothing, where there should have been a seam."""
        self._before: tuple[int, tuple[str, ...]] | None = None
        """Offset and keys of the page before."""

    def __iter__(self) -> Iterator[Page]:
        with RunAhead(self._ask, most=self._lister.most) as ahead:
            passed_over = Cost()
            while True:
                offset = self._walk.offset
                listing = sure(ahead, offset)
                if not listing.records and offset < (listing.total or 0):
                    raise self._lister.short(came=offset, total=listing.total or 0)
                if not self._walk.is_anchored(listing.keys):
                    passed_over.add(listing.cost)
                    self._go_back(empty_at=None if listing.records else offset)
                    continue
                self._refuse_a_standstill(listing, offset=offset, ahead=ahead)
                is_last = self._is_last(listing, offset=offset, ahead=ahead)
                listing.cost.add(passed_over)
                passed_over = Cost()
                page = self._taken(listing, is_last=is_last)
                if not is_last:
                    ahead.expect(self._offsets_ahead(listing))
                yield page
                if is_last:
                    return

    def _ask(self, offset: int, cost: Cost) -> Listing:
        paging = self._paging
        params = {paging.offset_param: offset, paging.size_param: paging.size}
        return self._lister.ask(params, cost)

    def _go_back(self, *, empty_at: int | None) -> None:
        self._mended += 1
        if empty_at is not None:
            self._empty_at[empty_at] += 1
            if self._empty_at[empty_at] > _MOST_OFTEN_EMPTY:
                raise OriginUnavailableError(
                    f"{self._lister.told} has nothing at offset {empty_at:,} again and again, "
                    "though the page before it is full: it may not give more than so many records "
                    "by offset.",
                    landing=self._lister.landing.name,
                )
        try:
            self._walk = self._walk.back()
        except UnorderedListError as error:
            raise self._lister.misfit(
                f"the pages of {self._lister.told} do not join, even after going back "
                f"{error.steps_back:,} times: the list is in no fixed order.",
                remedy="Have it sorted by something that never changes (`request.params`), or take "
                "`pages: {by: key}`.",
            ) from error

    def _refuse_a_standstill(self, listing: Listing, *, offset: int, ahead: RunAhead[int]) -> None:
        """Tell an offset that is ignored from a list that moved by exactly a page."""
        before, self._before = self._before, (offset, listing.keys)
        if not offset or before is None or before[0] == offset or before[1] != listing.keys:
            return
        first = ahead.ask_again(0)
        listing.cost.add(first.cost)
        if listing.keys and first.keys == listing.keys:
            raise self._lister.ignored(self._paging.offset_param)

    def _is_last(self, listing: Listing, *, offset: int, ahead: RunAhead[int]) -> bool:
        """Whether nothing stands behind a page that joins those before."""
        end = offset + len(listing.records)
        if listing.total is not None:
            return end >= listing.total
        if not listing.records:
            return True
        overlap, length = self._paging.overlap, len(listing.records)
        if not overlap or overlap < length >= (self._longest or self._paging.size):
            return False
        # Shorter than others, and nothing behind it: together that is the end.
        behind = ahead.ask_again(end)
        again = behind if behind.records else ahead.ask_again(end)
        listing.cost.add(behind.cost)
        if again is not behind:
            listing.cost.add(again.cost)
        return not again.records

    def _taken(self, listing: Listing, *, is_last: bool) -> Page:
        known = set(self._walk.tail)
        self._walk = self._walk.on(listing.keys)
        self._longest = max(self._longest, len(listing.records))
        mended, self._mended = self._mended, 0
        return page_of(
            listing,
            resume={
                "offset": self._walk.offset,
                "tail": list(self._walk.tail),
                "steps_back": self._walk.steps_back,
                "longest": self._longest,
            },
            is_last=is_last,
            overlapping=sum(key in known for key in listing.keys),
            mended_seams=mended,
        )

    def _offsets_ahead(self, listing: Listing) -> Iterator[int]:
        """Where the next pages begin, as long as pages are as long as the longest so far."""
        offset, step = self._walk.offset, max(self._longest - self._paging.overlap, 1)
        yield offset
        if listing.total is None and len(listing.records) < self._longest:
            return
        while True:
            # What is behind the seam of a page that reaches the end is nothing.
            offset += step
            if listing.total is not None and offset + self._paging.overlap >= listing.total:
                return
            yield offset
