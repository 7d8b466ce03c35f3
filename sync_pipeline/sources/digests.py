"""Digests of whole scopes: one grouped query per entity tells which scopes changed.

A row's hash is taken over exactly what the reader yields of it (text cut where
the reader cuts it), written out as text, which works for every column type.
Hashes are joined by exclusive or, so the order of rows does not matter.

A digest tells accidents apart, not forgeries: anybody can compute its hash.
PostgreSQL may hash differently in another major version; then every scope
differs once from what was recorded, and is synced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.changes import EntityDigest, owner_key
from sync_pipeline.core.scope import GLOBAL_KEY, MAX_KEY_LENGTH
from sync_pipeline.sources.statements import TableStatements

NO_ROWS: Final = EntityDigest(rows=0, xor=0)

_PLAIN_OWNER: Final = f"^[A-Za-z0-9_-]{{1,{MAX_KEY_LENGTH}}}$"
"""Names that a tenant can have, by a rule that every server understands the same way."""


def digests_by_owner(
    statements: TableStatements, condition: sa.ColumnElement[bool], *, now: datetime
) -> sa.Select[Any]:
    """``(is_global, tenant, rows, xor)`` per owner; the tenant of global rows is NULL."""
    return _digests(statements, condition, now=now, hashes=lambda _: sa.true())


def digests_of_global(statements: TableStatements, *, now: datetime) -> sa.Select[Any]:
    """The same for every owner of the table, with a digest of what may come with global only.

    Which rows those are takes a look at all owners, so one scan does both. Rows are hashed
    that are global, have no owner, or have one whose name is not plain: a few too many.
    """

    def may_be_global(read: sa.Subquery) -> sa.ColumnElement[bool]:
        _, tenant, is_global, *_ = read.c
        is_plain = sa.and_(
            tenant.op("~")(sa.literal_column(f"'{_PLAIN_OWNER}'")),
            sa.func.lower(tenant) != sa.literal_column(f"'{GLOBAL_KEY}'"),
        )
        return sa.or_(is_global, tenant.is_(None), sa.not_(is_plain))

    return _digests(statements, sa.true(), now=now, hashes=may_be_global)


def _digests(
    statements: TableStatements,
    condition: sa.ColumnElement[bool],
    *,
    now: datetime,
    hashes: Callable[[sa.Subquery], sa.ColumnElement[bool]],
) -> sa.Select[Any]:
    read = statements.rows(condition, now=now).subquery()
    _, tenant, is_global, *_ = read.c
    written = sa.collate(sa.cast(sa.func.row(*read.c), sa.Text), "C")
    hashed = sa.case((hashes(read), sa.func.hashtextextended(written, 0)))
    owner = sa.case((is_global, sa.null()), else_=tenant)
    return sa.select(
        is_global.label("is_global"),
        owner.label("tenant"),
        sa.func.count().label("rows"),
        sa.func.bit_xor(hashed).label("xor"),
    ).group_by(sa.text("1"), sa.text("2"))


def unusable_owners(rows: Iterable[sa.Row[Any]]) -> list[str]:
    """The texts among the owners of rows that no tenant can be."""
    owners = (row.tenant for row in rows)
    return [tenant for tenant in owners if tenant is not None and owner_key(tenant) == GLOBAL_KEY]


def fold_digests(rows: Iterable[sa.Row[Any]]) -> dict[str, EntityDigest]:
    """Join the owners of each scope: those that no tenant can be belong to global.

    Owners whose rows were not hashed are left out.
    """
    digests: dict[str, EntityDigest] = {}
    for row in rows:
        if row.xor is None:
            continue
        is_ownerless = row.is_global or row.tenant is None
        key = GLOBAL_KEY if is_ownerless else owner_key(row.tenant)
        earlier = digests.get(key, NO_ROWS)
        digests[key] = EntityDigest(rows=earlier.rows + row.rows, xor=earlier.xor ^ row.xor)
    return digests
