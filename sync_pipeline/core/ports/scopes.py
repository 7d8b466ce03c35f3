"""What we remember of scopes, and who may write them (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

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
class EntityResult:
    """What a sync of a scope found of one entity."""

    entity_type: str
    rows: int
    documents: int
    quarantined: int
    failed: int
    digest: str | None = None
    """Of its rows and settings, see ``core.changes.scope_digest``; None where it is not known."""
    feed_epoch: str | None = None
    """What ``FeedStatus.epoch`` was before a full sync read anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySnapshot:
    """What ``scope_entity_state`` records of one entity of one scope in one collection."""

    scope_key: str
    entity_type: str
    rows: int
    documents: int
    quarantined: int
    failed: int
    digest: str | None
    feed_epoch: str | None
    """Of the last full sync."""
    source_snapshot_at: datetime | None
    last_success_at: datetime | None
    last_full_at: datetime | None
    vanished_at: datetime | None
    writing_token: int | None
    """Lease token of a run that began to write the index and has not succeeded since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSnapshot:
    """What ``scope_state`` records of one scope in one collection, whoever synced what of it.

    Counts are sums over the recorded entities, times those of the entity that is furthest
    behind. What a run decides is decided per entity; this is for people and programs
    outside.
    """

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


class ScopeStatesReader(Protocol):
    """When each scope and entity was last in step in one collection, to be read."""

    def get(self, *, scope: Scope) -> ScopeSnapshot | None:
        """What is recorded of one scope."""

    def list_all(self) -> list[ScopeSnapshot]:
        """What is recorded of every scope, by key."""

    def list_entities(self, *, scopes: Sequence[Scope] | None = None) -> list[EntitySnapshot]:
        """What is recorded of each entity, of these scopes or of all, by scope key and name."""


class ScopeStates(ScopeStatesReader, Protocol):
    """When each scope and entity was last in step in one collection."""

    def note_writing(self, fence: Fence, *, entity_types: Sequence[str], over_others: bool) -> None:
        """Note that a run writes the index: until it succeeds, our record may be wrong about it.

        Of entities that were ever synced in this scope; the others have no record to be wrong.

        Args:
            fence: Of the run.
            entity_types: Of what it writes.
            over_others: Whether the note of another run gives way; otherwise it stays, and
                with it the doubt.
        """

    def record_success(
        self,
        fence: Fence,
        *,
        entities: Sequence[EntityResult],
        snapshot_at: datetime,
        is_full: bool,
    ) -> None:
        """Record that the index was measured to equal the snapshot, of these entities.

        The note of this run's writing goes, another run's stays. What is recorded of other
        entities stays, and so does a record of a later snapshot.
        Without a digest the old one is forgotten: it described another content. The feed's
        epoch is that of the last full sync.
        """

    def mark_vanished(
        self, *, scope_keys: Sequence[str], entity_types: Sequence[str]
    ) -> list[EntitySnapshot]:
        """Note which recorded scopes have no rows of these entities any more.

        These entities of scopes that are not in ``scope_keys`` lose their mark; other
        entities keep theirs.

        Returns:
            Those of these entities that are marked, with since when.
        """

    def clear(self) -> None:
        """Remove the record of every scope of the collection, which was dropped."""

    def forget(self, *, scope: Scope, entity_types: Sequence[str] | None = None) -> None:
        """Remove the record of a scope that was cleaned up, or of these entities of it."""


class LeasesReader(Protocol):
    """Who may write which scope, to be read."""

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        """Who holds the lease of a scope now, None where nobody does."""


class ScopeLeases(LeasesReader, Protocol):
    """Who may write which scope: one writer at a time, in all collections together."""

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
