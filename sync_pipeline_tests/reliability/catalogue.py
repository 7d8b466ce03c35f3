"""A small catalogue in a real database, changed at random, and what should be found of it."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

import psycopg

TENANTS: Final = ("acme", "globex")
SCOPES: Final = ("global", *TENANTS)

_CREATE: Final = """
CREATE TABLE materials (
    id text PRIMARY KEY, tenant_id text, is_global boolean NOT NULL DEFAULT false,
    name text, category text, supplier text, unit text, price numeric(14, 2),
    updated_at timestamptz DEFAULT now()
);
CREATE TABLE works (
    id text PRIMARY KEY, tenant_id text, is_global boolean NOT NULL DEFAULT false,
    name text, category text, unit text, price numeric(14, 2),
    updated_at timestamptz DEFAULT now()
);
"""
_EXPECTED: Final = """
SELECT CASE WHEN is_global THEN 'global' ELSE 'tenant' END || '-material-' || id,
       CASE WHEN is_global THEN 'global' ELSE tenant_id END,
       concat_ws(' ', name, category, supplier, unit), price::float8
FROM materials WHERE is_global OR tenant_id IS NOT NULL
"""


class Found(NamedTuple):
    """What is compared of a document."""

    document_id: str
    scope_key: str
    text: str
    price: float | None


class Catalogue:
    """Rows of ``materials``; the random choices come from a seed.

    Args:
        url: libpq URL of an empty database.
        rows: How many rows there are to begin with.
        seed: Of every choice.
    """

    def __init__(self, url: str, *, rows: int, seed: int) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._random = random.Random(seed)  # noqa: S311 - test data
        self._next_id = 0
        self._connection.execute(_CREATE)
        self.insert(rows)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def insert(self, count: int) -> None:
        """Add rows of random owners."""
        for _ in range(count):
            owner = self._random.choice([None, *TENANTS])
            self._connection.execute(
                "INSERT INTO materials (id, tenant_id, is_global, name, unit, price)"
                " VALUES (%s, %s, %s, %s, 'kg', 1)",
                [f"row-{self._next_id}", owner, owner is None, self._name()],
            )
            self._next_id += 1

    def change(self, share: float = 0.1) -> int:
        """Insert, delete, rename, reprice and move rows: each to this share of all rows.

        Returns:
            How many rows were written.
        """
        found = self._connection.execute("SELECT id FROM materials ORDER BY id").fetchall()
        ids = [name for (name,) in found]
        size = max(1, int(len(ids) * share))
        renamed, repriced, moved, freed, deleted = (
            self._random.sample(ids, size) for _ in range(5)
        )
        run = self._connection.execute
        for name in renamed:
            run("UPDATE materials SET name = %s WHERE id = %s", [self._name(), name])
        run("UPDATE materials SET price = price + 1 WHERE id = ANY(%s)", [repriced])
        for name in moved:
            run(
                "UPDATE materials SET is_global = false, tenant_id = %s WHERE id = %s",
                [self._random.choice(TENANTS), name],
            )
        run("UPDATE materials SET is_global = true WHERE id = ANY(%s)", [freed[: size // 2]])
        run("DELETE FROM materials WHERE id = ANY(%s)", [deleted])
        self.insert(size)
        return 5 * size + size // 2

    def rename_all(self, name: str) -> None:
        """Give every row a new text."""
        self._connection.execute("UPDATE materials SET name = %s || ' ' || id", [name])

    def expected(self) -> set[Found]:
        """Every document that the index should hold."""
        return {Found(*row) for row in self._connection.execute(_EXPECTED)}

    def _name(self) -> str:
        return f"cement number {self._random.randrange(10**9)}"
