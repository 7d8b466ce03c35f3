"""What changed in the source: the change feed's port, and digests of whole scopes.

Both only decide which scopes are worth a run. What such a run does is decided by
comparing rows with points, as in every run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import GLOBAL_KEY, Scope, why_not_a_tenant_id


class Operation(StrEnum):
    """What a statement did."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    """Anything of the entity may have changed, in every scope."""


class FeedState(StrEnum):
    """How the feed of one entity stands."""

    INSTALLED = "installed"
    ABSENT = "absent"
    OUTDATED = "outdated"
    """It misses changes or reports too many; installing again mends it."""
    FOREIGN = "foreign"
    """Something with the name of our trigger or function is not ours."""
    LEFTOVER = "leftover"
    """It belongs to an entity that the settings do not name (any more)."""
    UNABLE = "unable"
    """Its table cannot have one, as a view cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """The feed of one entity."""

    entity_type: str
    state: FeedState
    detail: str
    """Why it is in that state and what to do, for people; empty where all is well."""
    pending: int
    """Events that some scope has not consumed yet."""
    oldest_seconds: float | None
    """Age of the oldest of them, None where there is none."""
    epoch: str | None = None
    """Names the time since which nothing can have got past the feed unseen: equal epochs at two
    moments say that every change between them left an event, or, where its transaction had not
    ended at the second, will have left one when it has. None where there is no such time: not
    installed, outdated, somebody who lost an event may still commit, or changes can get past it
    at any time."""
    blind_spots: tuple[str, ...] = ()
    """What the feed cannot see although it is installed, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingChanges:
    """What waits for one scope."""

    events: int
    oldest_at: datetime
    """When the oldest event's transaction began, by the database's clock, with time zone."""
    has_truncate: bool
    """Whether a whole table was emptied: rows alone do not say what to do."""


class ChangedRow(NamedTuple):
    """A row that was inserted, updated or deleted."""

    entity_type: str
    db_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBatch:
    """Events of one scope, to be consumed as one when the scope is in step.

    Plain values: a batch may be kept and consumed by another process.
    """

    scope: Scope
    keys: tuple[str, ...]
    """How events spell this scope: its key and, for global, owners that no tenant can be."""
    event_ids: tuple[int, ...]
    rows: frozenset[ChangedRow]
    """Without rows whose id is NULL, which are no documents."""
    truncated: frozenset[str]
    """Entity types of which anything may have changed."""
    has_more: bool
    """Whether the limit left events out."""

    @property
    def has_truncate(self) -> bool:
        """Whether only a full sync can follow what happened."""
        return bool(self.truncated)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """One event that scopes have not processed yet."""

    id: int
    """Of two events of one row the later one has the larger id: the row's lock orders them."""
    entity_type: str
    db_id: str | None
    """None for a truncate, which is of every row."""
    old_scope_key: str | None
    new_scope_key: str | None


class Departures(Protocol):
    """What had left somebody's sight by the moment at which this was opened."""

    def among(self, rows: Collection[ChangedRow]) -> set[ChangedRow]:
        """Those of these rows that had left, though an index may still show them."""


class ChangeListener(Protocol):
    """Hears that something was committed."""

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until there may be new events; False after ``timeout_seconds`` without.

        True also after a lost connection was mended, and once more a moment after each
        notification: of transactions that commit at the same time only one notifies.
        A False is no promise that nothing is pending. So look at ``pending`` after a
        while in any case; a server that allows prepared transactions
        (``max_prepared_transactions``) is never notified.

        Raises:
            SourceUnavailableError: the connection was lost and cannot be had again now;
                a later call tries anew.
        """


class ChangeFeed(Protocol):
    """Which rows were changed by committed transactions, until each scope has processed them.

    An event is a hint that a row, in one scope or two, may differ from what was
    synced. Hints may come twice or for nothing; none gets lost. To process them:

    1. ``read`` a batch, *before* the snapshot is opened, so that the snapshot
       contains every change the batch names;
    2. bring the scope in step;
    3. ``consume`` exactly that batch.

    A crash in between repeats the work. Events are never taken by "id greater than
    the last", because ids do not commit in order.

    Events tell of every change only while the feed is there. Whether it was tells
    ``FeedStatus.epoch``: look at ``status`` first, then ``read``, then open the
    snapshot; a sync that looks at every row of an entity keeps the epoch of that
    first look, and a later one relies on events of the entity only if its own first
    look finds the same (``covered_entities``). In that order a change that got past
    the feed

    - before the look is in the snapshot, and both looks differ or the second is after it;
    - between look and snapshot is in the snapshot or not, and the next look differs
      from the one that was kept, so that the next sync looks at every row.

    Were the epoch looked at after the snapshot was opened, a table that was replaced
    in between, with its feed installed anew, would pass for one whose rows were all
    looked at. A transaction that loses an event before the look and commits after the
    snapshot is seen by the look: there is no epoch until it has ended.

    Where nothing is installed, there are no events.
    """

    def install(self, entities: Sequence[Entity]) -> list[str]:
        """Make changes of these entities leave events; all of them, or none on an error.

        Entities whose table cannot have a feed are left out, and lose one they had;
        ``status`` says which and why. Installing again changes nothing where all is well,
        and mends what is outdated. Changes made before are not noticed: no epoch from
        before is the same afterwards.

        Returns:
            What was made, for people; empty where nothing had to be.

        Raises:
            SourceSchemaError: tables or columns do not exist, or no table at all can have
                a feed.
            ConfigurationError: rights are missing, or a name is taken by something that
                is not ours.
            TransientError: a table is in use by a long transaction.
        """

    def remove(self, entities: Sequence[Entity] | None = None) -> list[str]:
        """Undo ``install`` and forget pending events of these entities.

        Args:
            entities: None removes every feed, also of entities no longer configured.

        Returns:
            What was removed, for people. What is not ours stays.
        """

    def status(self, entities: Sequence[Entity]) -> list[FeedStatus]:
        """Look at the feed of each entity, in order, and then at left over ones."""

    def pending(
        self, *, limit_scopes: int | None = None, entity_types: Collection[str] | None = None
    ) -> dict[str, PendingChanges]:
        """What waits, by scope key, the scope with the oldest event first.

        A truncate that has not been spread is listed with the global scope.

        Args:
            limit_scopes: Most scopes to return.
            entity_types: Only events of these entities; None for all.
        """

    def spread_truncates(
        self, scopes: Collection[Scope], *, entity_types: Collection[str] | None = None
    ) -> int:
        """Turn each truncate into one event per scope, so that each consumes its own.

        A truncate concerns every scope, and the database does not know which there
        are. Until it is spread, every ``read`` names it and no ``consume`` ends it.

        Args:
            scopes: Every scope that has rows or documents; with none nothing is done.
            entity_types: Only truncates of these entities, to which ``scopes`` refers; None
                for all.

        Returns:
            How many truncates were spread.
        """

    def read(
        self,
        scope: Scope,
        *,
        limit: int | None = 100_000,
        entity_types: Collection[str] | None = None,
    ) -> ChangeBatch:
        """Events that concern a scope, oldest first.

        The global scope has also the events of rows that nobody can own, as in
        ``SourceSnapshot.iter_rows``.

        Args:
            scope: Where a row was, is, or both.
            limit: Most events; None for all.
            entity_types: Only events of these entities: those of others stay for whoever
                syncs them. None for all.
        """

    def consume(self, batch: ChangeBatch) -> int:
        """Forget the events of a batch for its scope; how many there still were.

        The event of a row that moved stays for the other scope until that has
        consumed it too. Consuming twice is not an error.
        """

    def listen(self) -> AbstractContextManager[ChangeListener]:
        """Open a listener: it hears of everything committed after it was opened."""

    def has_departures(self, visible_keys: Collection[str]) -> bool:
        """Whether ``departures`` may have anything to say; costs less than to open it.

        What is committed after this was called need not be known. False where no feed is
        installed.
        """

    def departures(self, visible_keys: Collection[str]) -> AbstractContextManager[Departures]:
        """Look at what has left the sight of whoever sees these scopes: moved away or deleted.

        To be opened before an index is searched and asked after it. An event that was
        consumed before the moment of opening is in the index already, and of every other
        one this knows, though it be consumed meanwhile. So nothing is shown that left
        before the opening. Where no feed is installed, nothing is known to have left.
        """

    def has_pending(self, visible_keys: Collection[str], *, up_to: int) -> bool:
        """Whether events with an id up to this one wait for any of these scopes."""


def covered_entities(
    statuses: Collection[FeedStatus], recorded_epochs: Mapping[str, str]
) -> set[str]:
    """Name the entities of which every change since a recorded moment left an event.

    Args:
        statuses: As they are now, looked at before events and snapshot are read.
        recorded_epochs: By entity, the epoch that was looked at before the snapshot of the
            last sync that looked at every row.
    """
    return {
        status.entity_type
        for status in statuses
        if why_not_covered(status, recorded=recorded_epochs.get(status.entity_type)) is None
    }


def why_not_covered(status: FeedStatus, *, recorded: str | None) -> str | None:
    """Say why events do not tell of every change of an entity, for people; None where they do.

    Args:
        status: As in ``covered_entities``.
        recorded: The epoch that was kept; None where none was.
    """
    name = status.entity_type
    if status.state is FeedState.ABSENT:
        gone = f"the feed of {name} was removed since the last full sync"
        return f"no feed of {name} is installed" if recorded is None else gone
    if status.state is FeedState.UNABLE:
        return f"{name} cannot have a feed: {status.detail}"
    if status.state is not FeedState.INSTALLED:
        return f"the feed of {name} does not see every change: {status.detail or status.state}"
    if status.epoch is None and status.blind_spots:
        return f"the feed of {name} does not see every change: {status.blind_spots[0]}"
    if status.epoch is None:
        return f"a transaction that still runs changed rows of {name} and could leave no event"
    if recorded is None:
        return f"the feed of {name} was not there at the last full sync"
    if recorded != status.epoch:
        return f"the feed of {name} was replaced or switched off since the last full sync"
    return None


def departed_rows(
    events: Iterable[PendingEvent],
    *,
    rows: Collection[ChangedRow],
    visible_keys: Collection[str],
) -> set[ChangedRow]:
    """Name the rows whose last event says that whoever sees these scopes sees them no more.

    Events that concern none of these scopes say nothing: of a row that went away and came
    back the other scope's half may wait longer than ours.

    Args:
        events: Of these rows, and truncates, that concern a visible scope on either side.
        rows: To judge.
        visible_keys: Scope keys.
    """
    emptied: dict[str, int] = {}
    last: dict[ChangedRow, PendingEvent] = {}
    for event in sorted(events, key=lambda event: event.id):
        if event.db_id is None:
            emptied[event.entity_type] = event.id
        else:
            last[ChangedRow(event.entity_type, event.db_id)] = event
    departed: set[ChangedRow] = set()
    for row in rows:
        event_of_row = last.get(row)
        emptied_at = emptied.get(row.entity_type, -1)
        if event_of_row is None or event_of_row.id < emptied_at:
            is_gone = emptied_at >= 0
        else:
            is_gone = event_of_row.new_scope_key not in visible_keys
        if is_gone:
            departed.add(row)
    return departed


def owner_key(key: str) -> str:
    """Scope key of the rows of an owner: global for those that no tenant can be."""
    return GLOBAL_KEY if why_not_a_tenant_id(key) else key


# --- digests ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntityDigest:
    """The rows of one entity in one scope, without their order."""

    rows: int
    xor: int
    """Exclusive or of a 64-bit hash per row."""


def scope_digest(*, config: str, entities: Mapping[str, EntityDigest]) -> str:
    """Condense what a sync of a scope depends on to 32 hexadecimal digits.

    Two equal digests mean equal rows, but for an accident of 1 in 2^64 per entity.

    Args:
        config: Fingerprint of everything else that decides what is in the index:
            entities, model, views, collection.
        entities: By name; one without rows counts as absent.
    """
    parts = (
        part
        for name, entity_digest in sorted(entities.items())
        if entity_digest.rows
        for part in (name, str(entity_digest.rows), str(entity_digest.xor))
    )
    return digest(config, *parts)
