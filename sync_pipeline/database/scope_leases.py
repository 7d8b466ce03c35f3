"""Who may write which scope, table ``scope_lease``."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, case, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from sync_pipeline.core.errors import ScopeBusyError, SupersededError
from sync_pipeline.core.ports import MAX_LEASE_SECONDS, Fence, LeaseHolder
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table


class PostgresScopeLeases:
    """``ScopeLeases`` in PostgreSQL."""

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._lease = table(schema, "scope_lease")

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
        token = self._database.run_alone("taking a lease", lambda it: it.scalar(statement))
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
        token = self._database.run_alone("renewing a lease", lambda it: it.scalar(statement))
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
        self._database.run_alone("giving a lease back", lambda it: it.execute(statement))

    def release_dead(self, *, owner: str) -> int:
        """End the leases of an owner that is known to be dead; how many it held."""
        lease = self._lease.c
        now = func.clock_timestamp()
        statement = (
            update(self._lease)
            .where(lease.owner == owner, lease.expires_at > now)
            .values(expires_at=now)
        )
        return self._database.run_alone(
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
        holder = self._database.look_up(
            "looking at a lease", lambda it: it.execute(query).first(), nothing=None
        )
        return ("nobody", 0.0) if holder is None else (holder[0], float(holder[1]))


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + literal(timedelta(seconds=seconds))
