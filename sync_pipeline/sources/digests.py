"""Digests of whole scopes: one grouped query per entity tells which scopes changed.

A row's hash is taken over exactly what the reader yields of it (text cut where
the reader cuts it), written out as text, which works for every column type.
Hashes are joined by exclusive or, so the order of rows does not matter.

A digest tells accidents apart, not forgeries: anybody can compute its hash.
PostgreSQL may hash differently in another major version; then every scope
differs once from what was recorded, and is synced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.changes import EntityDigest, owner_key
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.sources.statements import TableStatements

NO_ROWS: Final = EntityDigest(rows=0, xor=0)


def digests_by_owner(
    statements: TableStatements, condition: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """``(is_global, tenant, rows, xor)`` per owner; the tenant of global rows is NULL."""
    read = statements.rows(condition).subquery()
    _, tenant, is_global, *_ = read.c
    written = sa.collate(sa.cast(sa.func.row(*read.c), sa.Text), "C")
    owner = sa.case((is_global, sa.null()), else_=tenant)
    return sa.select(
        is_global.label("is_global"),
        owner.label("tenant"),
        sa.func.count().label("rows"),
        sa.func.bit_xor(sa.func.hashtextextended(written, 0)).label("xor"),
    ).group_by(sa.text("1"), sa.text("2"))


def fold_digests(rows: Iterable[sa.Row[Any]]) -> dict[str, EntityDigest]:
    """Join the owners of each scope: those that no tenant can be belong to global."""
    found: dict[str, EntityDigest] = {}
    for row in rows:
        is_ownerless = row.is_global or row.tenant is None
        key = GLOBAL_KEY if is_ownerless else owner_key(row.tenant)
        known = found.get(key, NO_ROWS)
        found[key] = EntityDigest(rows=known.rows + row.rows, xor=known.xor ^ row.xor)
    return found
