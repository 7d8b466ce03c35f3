"""An origin in memory whose faults are set by hand; it keeps the promises of ``RecordOrigin``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sync_pipeline.core.landing.passes import Order, OriginTraits, Page, Position
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import ChangeHints, Sighting

KEYED = OriginTraits(order=Order.KEY, signals_end=True, resumes=True, looks_up=True)


@dataclass(slots=True)
class FakeOrigin:
    """Records by key, in the order of their keys.

    Attributes:
        records: What there is now.
        before_page: Called with the number of the page before it is cut; may change ``records``
            or raise.
        hidden: Keys that the list leaves out although they are there.
    """

    records: dict[str, Any] = field(default_factory=dict)
    traits: OriginTraits = KEYED
    page_size: int = 10
    states_total: bool = True
    before_page: Callable[[int], None] = lambda _: None
    hidden: set[str] = field(default_factory=set)
    hints: list[ChangeHints] = field(default_factory=list)
    pages_cut: int = 0
    asked_since: list[datetime | None] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    is_closed: bool = False

    @classmethod
    def of(cls, *rows: dict[str, Any], **options: Any) -> FakeOrigin:
        """An origin of these records, keyed by their field ``id``."""
        return cls(records={str(row["id"]): row for row in rows}, **options)

    def put(self, *rows: dict[str, Any]) -> None:
        """Insert or replace."""
        self.records |= {str(row["id"]): row for row in rows}

    def pages(self, *, since: datetime | None, start: Position | None) -> Generator[Page]:
        """Cut pages after the last key."""
        self.asked_since.append(since)
        last = "" if start is None else start["after"]
        number = 0
        while True:
            number += 1
            self.before_page(number)
            self.pages_cut += 1
            keys = sorted(key for key in self.records.keys() - self.hidden if key > last)
            if since is not None:
                keys = [key for key in keys if self._changed(key) >= since]
            some, rest = keys[: self.page_size], keys[self.page_size :]
            last = some[-1] if some else last
            yield Page(
                records=[self.records[key] for key in some],
                resume={"after": last} if self.traits.resumes else None,
                is_last=not rest,
                total=len(self.records) if self.states_total else None,
            )
            if not rest:
                return

    def _changed(self, key: str) -> datetime:
        return datetime.fromisoformat(self.records[key]["changed"])

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Say what is there."""
        for key in keys:
            self.looked_up.append(key)
            yield Sighting(key, self.records.get(key))

    @contextmanager
    def follow(self, token: Position | None, *, wait_seconds: float) -> Iterator[Any]:
        """Tell the hints that were set, from the token on."""
        del wait_seconds

        def tell() -> Iterator[ChangeHints]:
            place = len(self.hints) if token is None else token["place"]
            if token is None:
                yield ChangeHints(keys=frozenset(), token={"place": place})
            while True:
                told = self.hints[place:]
                place = len(self.hints)
                for number, hint in enumerate(told, start=place - len(told) + 1):
                    yield replace(hint, token={"place": number})
                yield ChangeHints(keys=frozenset(), token={"place": place})

        yield tell()

    def examine(self, landing: Landing) -> Iterator[str]:
        """Say how many there are."""
        yield f"{landing.name}: {len(self.records)} records"

    def close(self) -> None:
        """Note it."""
        self.is_closed = True
