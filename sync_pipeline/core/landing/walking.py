"""Pages by offset kept together while records come and go before them.

A list that is asked for by offset moves under the reader: one record deleted before the next page
is cut, and the record on the seam is in neither page, though counts agree. So pages overlap by
some records: where the next page has none of the last ones of the page before, something may
have been missed and the walk goes back. The list has to be in a fixed order.

Whatever lived throughout the walk is in it: the last record known that is found in the next page
is an anchor, behind which nothing is missed, and what stood before it was in the pages before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

MAX_STEPS_BACK: Final = 1_000
"""After so many steps back in one walk the list is not in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetWalk:
    """Where a walk through pages by offset is.

    Attributes:
        size: Records that are asked for at once.
        overlap: How many of them are asked for twice; 0: nothing is noticed.
        offset: Of the page that is wanted next.
        tail: Keys of the last records that were taken, as many as overlap or are kept.
        steps_back: How often the walk had to go back.
        kept: Keys of the tail where that is more than overlap: records that are deleted together
            on a seam leave others behind, by which it is found one page back. Without them it is
            looked for up to the beginning of the list.
    """

    size: int
    overlap: int
    offset: int = 0
    tail: tuple[str, ...] = ()
    steps_back: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ValueError("the overlap lies between 0 and one less than the size of a page")

    @property
    def step(self) -> int:
        """From one offset to the next, while pages are full."""
        return self.size - self.overlap

    def is_anchored(self, keys: Sequence[str | None]) -> bool:
        """Whether a page at ``offset`` joins what was taken: nothing between them is missed.

        One of the last records, as many as overlap, is enough; of those before them it takes two,
        for an id that is in the list twice is found far from where it was taken.
        """
        if not self.overlap or self.offset == 0 or not self.tail:
            return True
        found = set(self.tail).intersection(key for key in keys if key is not None)
        return len(found) > 1 or not found.isdisjoint(self.tail[-self.overlap :])

    def back(self) -> OffsetWalk:
        """Where to look for the seam: one page earlier.

        Raises:
            UnorderedListError: the walk has gone back too often.
        """
        if self.steps_back >= MAX_STEPS_BACK:
            raise UnorderedListError(self.steps_back)
        return replace(self, offset=max(0, self.offset - self.step), steps_back=self.steps_back + 1)

    def on(self, keys: Sequence[str | None]) -> OffsetWalk:
        """Where the next page begins, after one of these keys was taken."""
        named = [key for key in keys if key is not None]
        length = max(self.overlap, self.kept) if self.overlap else 0
        tail = (*self.tail, *named)[-length:] if length else ()
        # A page of hardly anything still leads on, and its last record is in the next one.
        return replace(self, offset=self.offset + max(len(keys) - self.overlap, 1), tail=tail)


class UnorderedListError(Exception):
    """A list by offset whose pages do not join: it is in no fixed order."""

    def __init__(self, steps_back: int) -> None:
        self.steps_back = steps_back
        super().__init__(f"went back {steps_back} times")
