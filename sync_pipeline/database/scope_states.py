"""Leases and the last successful syncs, tables ``scope_lease`` and ``scope_state``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Engine,
    Text,
    any_,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipeline.core.errors import ScopeBusyError, SupersededError
from sync_pipeline.core.ports import MAX_LEASE_SECONDS, Fence, LeaseHolder, ScopeSnapshot
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, Retries
from sync_pipeline.database.tables import table


class PostgresScopeStates:
    """``ScopeStates`` in PostgreSQL.

    ``last_success_at`` is when a sync was recorded, by the database's clock;
    ``last_full_at`` is the snapshot of the last full one: what it left unchanged
    was last seen then.
    """

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._state = table(schema, "scope_state")
        self._lease = table(schema, "scope_lease")

    def get(self, *, collection: str, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""
        found = self._select(collection, self._state.c.scope_key == scope.key)
        return found[0] if found else None

    def list_all(self, *, collection: str) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""
        return self._select(collection)

    def record_success(
        self,
        *,
        collection: str,
        scope: Scope,
        rows: int,
        documents: int,
        quarantined: int,
        failed: int,
        snapshot_at: datetime,
        is_full: bool,
        digest: str | None = None,
    ) -> None:
        """Record that the index was measured to equal the snapshot.

        A later snapshot that is recorded already stays. Without a digest the old
        one is forgotten: it described another content.
        """
        values = {
            "rows": rows,
            "documents": documents,
            "quarantined": quarantined,
            "failed": failed,
            "digest": digest,
            "source_snapshot_at": snapshot_at,
            "last_success_at": func.now(),
            "updated_at": func.now(),
        } | ({"last_full_at": snapshot_at} if is_full else {})
        known = self._state.c
        statement = (
            insert(self._state)
            .values(collection=collection, scope_key=scope.key, **values)
            .on_conflict_do_update(
                index_elements=["collection", "scope_key"],
                set_=values,
                where=or_(
                    known.source_snapshot_at.is_(None), known.source_snapshot_at <= snapshot_at
                ),
            )
        )
        self._database.run("recording a successful sync", lambda it: it.execute(statement))

    def mark_vanished(self, *, collection: str, scope_keys: Sequence[str]) -> list[ScopeSnapshot]:
        """Note which recorded scopes have no rows any more; return them, with since when."""
        known = self._state.c
        is_gone = known.scope_key == any_(literal(list(scope_keys), ARRAY(Text)))
        is_marked = known.vanished_at.is_not(None)
        statement = (
            update(self._state)
            .where(known.collection == collection, is_gone != is_marked)
            .values(vanished_at=case((is_gone, func.now()), else_=null()), updated_at=func.now())
        )
        self._database.run("noting vanished scopes", lambda it: it.execute(statement))
        return self._select(collection, is_marked)

    def forget(self, *, collection: str, scope: Scope) -> None:
        """Remove the record of a scope that was cleaned up; its lease keeps its token."""
        known = self._state.c
        statement = delete(self._state).where(
            known.collection == collection, known.scope_key == scope.key
        )
        self._database.run("forgetting a scope", lambda it: it.execute(statement))

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        """Who holds the lease of a scope now, by the database's clock."""
        owner, seconds_left = self._holder(scope.key)
        return LeaseHolder(owner, seconds_left) if seconds_left else None

    def acquire(self, *, scope: Scope, owner: str, ttl_seconds: float) -> Fence:
        """Take or renew the lease of a scope, by the database's clock."""
        lease = self._lease.c
        expires_at = _after(ttl_seconds)
        statement = (
            insert(self._lease)
            .values(scope_key=scope.key, owner=owner, token=1, expires_at=expires_at)
            .on_conflict_do_update(
                index_elements=["scope_key"],
                set_={
                    "owner": owner,
                    "token": lease.token + case((lease.owner == owner, 0), else_=1),
                    "expires_at": expires_at,
                },
                where=or_(
                    lease.owner == owner,
                    lease.expires_at <= func.clock_timestamp(),
                    lease.expires_at > _after(MAX_LEASE_SECONDS),
                ),
            )
            .returning(lease.token)
        )
        token = self._database.run("taking a lease", lambda it: it.scalar(statement))
        if token is None:
            holder, seconds_left = self._holder(scope.key)
            raise ScopeBusyError(scope_key=scope.key, owner=holder, seconds_left=seconds_left)
        return Fence(scope_key=scope.key, owner=owner, token=token)

    def check(self, fence: Fence, *, ttl_seconds: float) -> None:
        """Renew a lease before a write."""
        statement = (
            update(self._lease)
            .where(self._is_held(fence))
            .values(expires_at=_after(ttl_seconds))
            .returning(self._lease.c.token)
        )
        token = self._database.run("renewing a lease", lambda it: it.scalar(statement))
        if token is None:
            holder, _ = self._holder(fence.scope_key)
            raise SupersededError(
                scope_key=fence.scope_key, detail=f"its lease went from {fence.owner} to {holder}"
            )

    def release(self, fence: Fence) -> None:
        """Give a lease back; the row stays, so that the token can only rise."""
        statement = (
            update(self._lease)
            .where(self._is_held(fence))
            .values(expires_at=func.clock_timestamp())
        )
        self._database.run("giving a lease back", lambda it: it.execute(statement))

    def release_dead(self, *, owner: str) -> int:
        """End the leases of an owner that is known to be dead; how many it held."""
        lease = self._lease.c
        now = func.clock_timestamp()
        statement = (
            update(self._lease)
            .where(lease.owner == owner, lease.expires_at > now)
            .values(expires_at=now)
        )
        return self._database.run(
            "ending the lease of a dead run", lambda it: it.execute(statement).rowcount
        )

    def _is_held(self, fence: Fence) -> ColumnElement[bool]:
        lease = self._lease.c
        return (
            (lease.scope_key == fence.scope_key)
            & (lease.owner == fence.owner)
            & (lease.token == fence.token)
        )

    def _holder(self, scope_key: str) -> tuple[str, float]:
        """Who has a lease, and for how many seconds more."""
        lease = self._lease.c
        left = func.extract("epoch", lease.expires_at - func.clock_timestamp())
        shown = case((left > MAX_LEASE_SECONDS, 0), else_=func.greatest(left, 0))
        query = select(lease.owner, shown).where(lease.scope_key == scope_key)
        found = self._database.run("looking at a lease", lambda it: it.execute(query).first())
        return ("nobody", 0.0) if found is None else (found[0], float(found[1]))

    def _select(self, collection: str, *conditions: ColumnElement[bool]) -> list[ScopeSnapshot]:
        known = self._state.c
        query = (
            select(
                known.scope_key,
                known.rows,
                known.documents,
                known.quarantined,
                known.failed,
                known.digest,
                known.source_snapshot_at,
                known.last_success_at,
                known.last_full_at,
                known.vanished_at,
            )
            .where(known.collection == collection, *conditions)
            .order_by(known.scope_key)
        )
        rows = self._database.run(
            "reading recorded scopes", lambda it: it.execute(query).mappings().all()
        )
        return [ScopeSnapshot(**row) for row in rows]


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + literal(timedelta(seconds=seconds))
