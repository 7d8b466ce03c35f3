"""The products of a small ERP: any thread may insert, change and delete them."""

from __future__ import annotations

import copy
import json
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

Product = dict[str, Any]

FIRST_CHANGE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything was last changed that nobody has touched since."""
_FIRMS: Final = ("acme", "globex", "initech")
_WORDS: Final = ("Kladivo", "Pila", "Šroubovák", "Vrtačka", "Kleště", "Hoblík", "Дрель")


@dataclass(slots=True, order=True)
class _Entry:
    place: str
    """Where it stands; of what has an id, the id."""
    serial: int
    """Of those that stand in one place, which was there first."""
    changed_at: datetime = field(compare=False)
    product: Product = field(compare=False)
    encoded: bytes = field(compare=False)
    """As an answer has it; 109,000 records are encoded once."""


class Catalogue:
    """A list in the order of its ids, of which slices are cut.

    Changes are dated a second after each other, from ``FIRST_CHANGE`` on.
    """

    def __init__(self, products: Sequence[Product] = ()) -> None:
        self.lock: Final = threading.RLock()
        """Held while a page is cut."""
        self._changes = 0
        self._serial = 0
        self._entries: list[_Entry] = []
        for product in products:
            self._put(product, changed_at=FIRST_CHANGE)
        self._entries.sort()

    @classmethod
    def of(cls, count: int, *, first: int = 0, step: int = 1) -> Self:
        """Products with the ids ``00000000``, ``00000001`` and so on."""
        return cls([product_of(number) for number in range(first, first + count * step, step)])

    def __len__(self) -> int:
        with self.lock:
            return len(self._entries)

    def insert(self, product: Product) -> None:
        """Add a record where its id belongs; one that is there already stays beside it."""
        with self.lock:
            self._put(product, changed_at=self._next_moment(), keeps_order=True)

    def insert_without_id(self, product: Product, *, before: str) -> None:
        """Add a record that has no id, in the place before another one."""
        with self.lock:
            bare = {name: value for name, value in product.items() if name != "ID"}
            self._put(
                bare,
                changed_at=self._next_moment(),
                place=before,
                serial=-self._next_serial(),
                keeps_order=True,
            )

    def update(self, product_id: str, **fields: Any) -> None:
        """Change fields of a record; it keeps its place."""
        with self.lock:
            for entry in self._found(product_id):
                entry.product.update(fields)
                entry.changed_at = self._next_moment()
                self._encode(entry)

    def bury(self, product_id: str) -> None:
        """Mark a record as deleted and keep it."""
        self.update(product_id, Smazano=True)

    def delete(self, product_id: str) -> None:
        """Remove a record, and others with its id; none is no error."""
        with self.lock:
            gone = {id(entry) for entry in self._found(product_id)}
            low, high = self._bounds(product_id)
            self._entries[low:high] = [it for it in self._entries[low:high] if id(it) not in gone]

    def ids(self) -> list[str]:
        """Of all records that have one, in their order."""
        with self.lock:
            return [it.product["ID"] for it in self._entries if "ID" in it.product]

    def find(self, product_id: str) -> Product | None:
        """A copy of one record."""
        with self.lock:
            found = self._found(product_id)
            return copy.deepcopy(found[0].product) if found else None

    def products(self) -> list[Product]:
        """Copies of all records, in their order."""
        with self.lock:
            return [copy.deepcopy(it.product) for it in self._entries]

    @property
    def now(self) -> datetime:
        """When the last change was."""
        return FIRST_CHANGE + timedelta(seconds=self._changes)

    def select(self, since: datetime | None) -> Sequence[_Entry]:
        """Entries that changed since a moment; to be used while ``lock`` is held."""
        if since is None:
            return self._entries
        return [it for it in self._entries if it.changed_at >= since]

    def _put(
        self,
        product: Product,
        *,
        changed_at: datetime,
        place: str | None = None,
        serial: int | None = None,
        keeps_order: bool = False,
    ) -> None:
        entry = _Entry(
            place=str(product["ID"]) if place is None else place,
            serial=self._next_serial() if serial is None else serial,
            changed_at=changed_at,
            product=dict(product),
            encoded=b"",
        )
        self._encode(entry)
        if keeps_order:
            insort(self._entries, entry)
        else:
            self._entries.append(entry)

    def _encode(self, entry: _Entry) -> None:
        entry.product["last_modified"] = entry.changed_at.isoformat()
        entry.encoded = json.dumps(entry.product, ensure_ascii=False).encode()

    def _found(self, product_id: str) -> list[_Entry]:
        low, high = self._bounds(product_id)
        return [it for it in self._entries[low:high] if "ID" in it.product]

    def _bounds(self, place: str) -> tuple[int, int]:
        def key(entry: _Entry) -> str:
            return entry.place

        return (
            bisect_left(self._entries, place, key=key),
            bisect_right(self._entries, place, key=key),
        )

    def _next_moment(self) -> datetime:
        self._changes += 1
        return self.now

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial


Change = Callable[[Catalogue], None]
"""Something that is done to a catalogue, e.g. before a page is cut."""


def product_of(number: int, **fields: Any) -> Product:
    """One product, the same for the same number."""
    return {
        "ID": f"{number:08}",
        "Nazev": f"{_WORDS[number % len(_WORDS)]} {number}",
        "Popis": f"Popis výrobku {number}",
        "Cena": round(10 + number % 1000 + number % 100 / 100, 2),
        "Stitky": [f"stitek {number % 10}", f"řada {number % 7}"],
        "Sklad": {"praha": number % 50},
        "Firma": _FIRMS[number % len(_FIRMS)],
        "Smazano": False,
        **fields,
    }
