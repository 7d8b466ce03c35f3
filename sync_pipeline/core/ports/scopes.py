"""What we remember of scopes and collections, and who may write (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.scope import Scope

MAX_LEASE_SECONDS: Final = 3600
"""Longest that a lease can be taken or renewed for."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who is writing a scope."""

    owner: str
    seconds_left: float
    """Until the lease ends, unless it is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSnapshot:
    """What ``scope_state`` records of one scope in one collection."""

    scope_key: str
    rows: int
    documents: int
    quarantined: int
    failed: int
    digest: str | None
    source_snapshot_at: datetime | None
    last_success_at: datetime | None
    last_full_at: datetime | None
    vanished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write one scope: valid while no other run has a higher token."""

    scope_key: str
    owner: str
    token: int


class ScopeStates(Protocol):
    """Per scope: leases and when it was last in step."""

    def get(self, *, collection: str, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""

    def list_all(self, *, collection: str) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""

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
        """Record that the index was measured to equal the snapshot."""

    def mark_vanished(self, *, collection: str, scope_keys: Sequence[str]) -> list[ScopeSnapshot]:
        """Note which recorded scopes have no rows any more; return them, with since when.

        Scopes that are not in ``scope_keys`` lose their mark.
        """

    def forget(self, *, collection: str, scope: Scope) -> None:
        """Remove the record of a scope that was cleaned up."""

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        """Who holds the lease of a scope now, None where nobody does."""

    def acquire(self, *, scope: Scope, owner: str, ttl_seconds: float) -> Fence:
        """Take or renew the lease of a scope, by the database's clock.

        The token rises when the owner changes, and only then. A lease that ends later than
        ``MAX_LEASE_SECONDS`` from now has ended: the clock was set back since it was written.

        Raises:
            ScopeBusyError: another owner holds it.
        """

    def check(self, fence: Fence, *, ttl_seconds: float) -> None:
        """Renew a lease before a write.

        Raises:
            SupersededError: another owner has it now.
        """

    def release(self, fence: Fence) -> None:
        """Give a lease back; one that is lost already is not an error."""

    def release_dead(self, *, owner: str) -> int:
        """End the leases of an owner that is known to be dead; how many it held.

        Its token stays used up: should it be alive after all, it stops at its next check,
        as soon as another run has taken the scope.
        """


class Generations(Protocol):
    """Physical collections, what each was built with, and which one the alias serves."""

    def record(self, spec: CollectionSpec, *, is_active: bool) -> None:
        """Note a collection; an active one makes the others of its alias inactive."""

    def describe(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` says it, if known."""
