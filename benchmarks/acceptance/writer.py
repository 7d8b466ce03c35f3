"""Somebody who writes all the time: inserts, changes, deletes and moves rows of both tables."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final, Self

import psycopg
from psycopg import sql

from benchmarks.acceptance.ledger import Key, Ledger, fact_of, key_of
from benchmarks.catalogue import SourceRow

WEIGHTS: Final = {
    "insert": 22,
    "rename": 20,
    "reprice": 18,
    "delete": 25,
    "move": 12,
    "return": 3,
}
"""How often each is done; as many rows come as go. ``return``: a deleted id comes back."""
MIN_ROWS: Final = 10
"""An entity of an owner that has so few rows gives none away: one that is emptied is refused."""
TABLES: Final = {"material": "materials", "work": "works"}


class Writer:
    """Writes until it is stopped.

    Args:
        url: libpq URL of the source.
        ledger: Told of every value.
        rows: Of the source.
        spared: Rows that are never touched.
        per_second: Most statements in a second.
        seed: Of every choice.
    """

    def __init__(
        self,
        url: str,
        *,
        ledger: Ledger,
        rows: Iterable[SourceRow],
        spared: AbstractSet[Key],
        per_second: float,
        seed: int,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._url = url
        self._ledger = ledger
        self._rows = [row for row in rows if key_of(row) not in spared]
        self._gone: list[SourceRow] = []
        self._of_owner = Counter((row.entity, row.tenant_id) for row in self._rows)
        self._owners: Sequence[str | None] = sorted({row.tenant_id for row in self._rows}, key=str)
        self._pause_seconds = 1 / per_second
        self._random = random.Random(seed)  # noqa: S311 - test data
        self._turn = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written for the length of the ``with``."""
        with self._turn:
            yield

    def _write(self) -> None:
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._is_over.wait(self._pause_seconds):
                (kind,) = self._random.choices(kinds, weights)
                with self._turn:
                    try:
                        self.done[kind] += getattr(self, f"_{kind}")(connection)
                    except psycopg.Error as error:
                        self.faults.append(f"{kind}: {type(error).__name__}")

    # Each returns how many rows it wrote.

    def _insert(self, connection: psycopg.Connection) -> int:
        row = self._random.choice(self._rows)
        new = row._replace(id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)))
        return self._add(connection, self._renamed(new))

    def _return(self, connection: psycopg.Connection) -> int:
        if not self._gone:
            return 0
        row = self._gone.pop(self._random.randrange(len(self._gone)))
        return self._add(connection, self._renamed(row))

    def _rename(self, connection: psycopg.Connection) -> int:
        place = self._random.randrange(len(self._rows))
        return self._change(connection, place, self._renamed(self._rows[place]))

    def _reprice(self, connection: psycopg.Connection) -> int:
        place = self._random.randrange(len(self._rows))
        price = f"{self._random.randrange(50, 5_000_000) / 100:.2f}"
        return self._change(connection, place, self._rows[place]._replace(price=price))

    def _move(self, connection: psycopg.Connection) -> int:
        """To another tenant, from what is shared to a tenant, or to what is shared."""
        place = self._random.randrange(len(self._rows))
        row = self._rows[place]
        others = [owner for owner in self._owners if owner != row.tenant_id]
        if self._of_owner[row.entity, row.tenant_id] <= MIN_ROWS or not others:
            return 0
        return self._change(connection, place, row._replace(tenant_id=self._random.choice(others)))

    def _delete(self, connection: psycopg.Connection) -> int:
        place = self._random.randrange(len(self._rows))
        row = self._rows[place]
        if self._of_owner[row.entity, row.tenant_id] <= MIN_ROWS:
            return 0
        statement = sql.SQL("DELETE FROM {} WHERE id = %s").format(_table(row))
        with self._ledger.writing(key_of(row), None):
            connection.execute(statement, [row.id])
        self._rows[place] = self._rows[-1]
        self._rows.pop()
        self._of_owner[row.entity, row.tenant_id] -= 1
        self._gone.append(row)
        return 1

    def _add(self, connection: psycopg.Connection, row: SourceRow) -> int:
        values = _values(row)
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            _table(row),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        )
        with self._ledger.writing(key_of(row), fact_of(row)):
            connection.execute(statement, list(values.values()))
        self._rows.append(row)
        self._of_owner[row.entity, row.tenant_id] += 1
        return 1

    def _change(self, connection: psycopg.Connection, place: int, row: SourceRow) -> int:
        before = self._rows[place]
        old, new = _values(before), _values(row)
        changed = {name: value for name, value in new.items() if value != old[name]}
        statement = sql.SQL("UPDATE {} SET {}, updated_at = now() WHERE id = %s").format(
            _table(row),
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(it)) for it in changed),
        )
        with self._ledger.writing(key_of(row), fact_of(row)):
            connection.execute(statement, [*changed.values(), row.id])
        self._rows[place] = row
        self._of_owner[before.entity, before.tenant_id] -= 1
        self._of_owner[row.entity, row.tenant_id] += 1
        return 1

    def _renamed(self, row: SourceRow) -> SourceRow:
        """With a text that nothing had before."""
        name = row.name.partition(" revision ")[0]
        return row._replace(name=f"{name} revision {time.monotonic_ns()}")


def _table(row: SourceRow) -> sql.Identifier:
    return sql.Identifier(TABLES[row.entity])


def _values(row: SourceRow) -> dict[str, object]:
    """Its columns."""
    values: dict[str, object] = {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "is_global": row.tenant_id is None,
        "name": row.name,
        "category": row.category,
        "unit": row.unit,
        "price": row.price,
    }
    return values | ({"supplier": row.supplier} if row.entity == "material" else {})
