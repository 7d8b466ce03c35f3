"""What should be searchable while somebody writes: every value that was written, and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from benchmarks.catalogue import SourceRow

GLOBAL: Final = "global"
NEVER: Final = float("inf")


class Key(NamedTuple):
    """A row of one of the tables."""

    entity: str
    row_id: str


class Fact(NamedTuple):
    """What a search may show of a row."""

    scope_key: str
    text: str
    price: float | None
    """Of a work none is shown."""


def key_of(row: SourceRow) -> Key:
    """Which row it is."""
    return Key(row.entity, row.id)


def fact_of(row: SourceRow) -> Fact:
    """What is searchable of a row once it is synced."""
    price = float(row.price) if row.entity == "material" else None
    return Fact(row.tenant_id or GLOBAL, row.text, price)


def read_payload(payload: Mapping[str, Any]) -> tuple[Key, Fact]:
    """The same of a document of the index."""
    price = payload.get("price")
    return (
        Key(str(payload["type"]), str(payload["dbId"])),
        Fact(
            str(payload["scope_key"]),
            str(payload["text"]),
            None if price is None else float(price),
        ),
    )


class Ledger:
    """The rows as they were last written; safe between threads.

    Args:
        rows: Of the source before anybody writes.
    """

    def __init__(self, rows: Iterable[SourceRow]) -> None:
        self._facts = {key_of(row): fact_of(row) for row in rows}
        self._written: dict[Key, float] = {}
        self._settled = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def writing(self, key: Key, fact: Fact | None) -> Iterator[None]:
        """Around the statement that makes a row so; None where it goes.

        Nothing is expected of the row from before the statement until after its commit.
        """
        with self._lock:
            self._written[key] = NEVER
        yield
        with self._lock:
            if fact is None:
                self._facts.pop(key, None)
            else:
                self._facts[key] = fact
            self._written[key] = time.monotonic()

    def settle(self, began: float) -> None:
        """A sync of everything that began at this moment has ended well."""
        with self._lock:
            self._settled = began

    @property
    def settled(self) -> float:
        """What was written before has to be in the index, in every generation that serves."""
        with self._lock:
            return self._settled

    def why_wrong(self, key: Key, fact: Fact, *, settled: float) -> str | None:
        """What is wrong with a document that was found; None where nothing is known to be.

        Args:
            key: Its row.
            fact: As it was found.
            settled: As it was before the search.
        """
        with self._lock:
            if self._written.get(key, 0.0) > settled:
                return None
            expected = self._facts.get(key)
        if expected is None:
            return "resurrected"
        return None if expected == fact else "outdated"

    def expected(self) -> dict[Key, Fact]:
        """What has to be searchable once everything is synced."""
        with self._lock:
            return dict(self._facts)


@dataclass(slots=True)
class Difference:
    """How an index differs from what is expected of it."""

    documents: int
    counts: Counter[str] = field(default_factory=Counter)
    """``lost``, ``resurrected``, ``twice`` and ``wrong`` documents."""
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()

    def note(self, kind: str, key: Key) -> None:
        """Count one."""
        self.counts[kind] += 1
        if self.counts[kind] <= 3:
            self.examples.append(f"{kind}: {key.entity} {key.row_id}")


def compare(expected: Mapping[Key, Fact], found: Iterable[tuple[Key, Fact]]) -> Difference:
    """Compare what was found, document by document, with what is expected."""
    difference = Difference(documents=0)
    seen: set[Key] = set()
    for key, fact in found:
        difference.documents += 1
        if key in seen:
            difference.note("twice", key)
        elif key not in expected:
            difference.note("resurrected", key)
        elif expected[key] != fact:
            difference.note("wrong", key)
        seen.add(key)
    for key in expected.keys() - seen:
        difference.note("lost", key)
    return difference
