"""Rows that would be one document, because the id of their entity is not unique: which one is.

Document ids do not contain the tenant (docs/decisions/0011), so rows of two tenants
can collide as rows of one can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.core.scope import Scope


@dataclass(frozen=True, slots=True)
class Doubled:
    """How often an id stands in a table, among the rows that would be one document."""

    rows_by_scope: Mapping[str, int]
    """Per scope key the rows with this id; more than one row altogether."""

    def keeper(self, *, holder: str | None) -> str | None:
        """The scope whose row is the document; None where that cannot be told.

        A scope with two such rows cannot be it, for nobody can say which of them. Whose
        document the index holds already keeps it as long as its row is there, so that
        no tenant can take another's document over. Otherwise it is the first by key.

        Args:
            holder: The scope that the point carries; None where there is none.
        """
        able = sorted(key for key, rows in self.rows_by_scope.items() if rows == 1)
        if holder in able:
            return holder
        return able[0] if able else None

    def describe(self, *, scope: Scope) -> str:
        """What is wrong, for people; without naming other tenants."""
        own = self.rows_by_scope.get(scope.key, 0)
        others = sum(self.rows_by_scope.values()) - own
        shared = [f"{own} rows of this scope"] if own > 1 else []
        shared += [f"{others} of other tenants"] if others else []
        return f"the id is not unique: {' and '.join(shared)} have it"
