"""A change feed in a dictionary (``core.changes.ChangeFeed``)."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sync_pipeline.core.changes import (
    ChangeBatch,
    ChangedRow,
    FeedState,
    FeedStatus,
    Operation,
    PendingChanges,
    PendingEvent,
    departed_rows,
    owner_key,
)
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceSchemaError, SourceUnavailableError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; one without scopes concerns all of them."""

    entity_type: str
    db_id: str | None
    operation: Operation
    old: str | None
    new: str | None
    at: datetime

    @property
    def is_everywhere(self) -> bool:
        return self.old is None and self.new is None

    def concerns(self, scope: Scope) -> bool:
        sides = [self.old, self.new]
        return any(side is not None and owner_key(side) == scope.key for side in sides)

    def without(self, scope: Scope) -> Event:
        old, new = (
            None if side is None or owner_key(side) == scope.key else side
            for side in (self.old, self.new)
        )
        return replace(self, old=old, new=new)


class FakeListener:
    """Hears of events recorded since it last answered; never waits."""

    def __init__(self, feed: FakeChangeFeed) -> None:
        self._feed = feed
        self._heard = feed.recorded

    def wait(self, timeout_seconds: float) -> bool:
        self._feed.require_available()
        heard = self._feed.recorded > self._heard
        self._heard = self._feed.recorded
        return heard


class FakeDepartures:
    """What events said when this was opened."""

    def __init__(self, events: dict[int, Event], visible_keys: Collection[str]) -> None:
        self._events = events
        self._visible_keys = visible_keys

    def among(self, rows: Collection[ChangedRow]) -> set[ChangedRow]:
        events = [
            PendingEvent(
                id=key,
                entity_type=event.entity_type,
                db_id=event.db_id,
                old_scope_key=event.old,
                new_scope_key=event.new,
            )
            for key, event in self._events.items()
            if event.is_everywhere or {event.old, event.new} & {*self._visible_keys}
        ]
        return departed_rows(events, rows=rows, visible_keys=self._visible_keys)


class FakeChangeFeed:
    """Events of installed entities; tests write them with ``record``."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.installed: dict[str, Entity] = {}
        """How often the feed of an entity began anew."""
        self.is_available = True
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.recorded = 0
        self.unable: dict[str, str] = {}
        """Why entities cannot have a feed, by name."""
        self.blind_spots: dict[str, tuple[str, ...]] = {}
        """What installed feeds do not see, by name of the entity."""
        self.is_losing = False
        """Whether somebody who lost an event may still commit."""
        self._ids = itertools.count(1)
        self._epochs = itertools.count(1)
        self._epoch: dict[str, str] = {}

    def record(
        self,
        operation: Operation,
        *,
        entity_type: str,
        db_id: str | None = None,
        old: str | None = None,
        new: str | None = None,
    ) -> None:
        """Write one event, as a trigger would; nothing where no feed is installed.

        Args:
            operation: What happened.
            entity_type: To rows of which entity.
            db_id: To which row, None for a truncate.
            old: Scope key before.
            new: Scope key after.
        """
        if entity_type not in self.installed:
            return
        self.now += timedelta(seconds=1)
        event = Event(
            entity_type=entity_type, db_id=db_id, operation=operation, old=old, new=new, at=self.now
        )
        self.events[next(self._ids)] = event
        self.recorded += 1

    def lose(self, entity_type: str) -> None:
        """Let something happen of which the feed of an entity leaves no event."""
        self._epoch[entity_type] = f"epoch {next(self._epochs)}"

    def install(self, entities: Sequence[Entity]) -> list[str]:
        self.require_available()
        able = [entity for entity in entities if entity.name not in self.unable]
        if entities and not able:
            mistakes = [
                f"entity {entity.name!r}: {self.unable[entity.name]}" for entity in entities
            ]
            raise SourceSchemaError(database="fake", mistakes=mistakes)
        new = [entity for entity in able if self._state(entity) is not FeedState.INSTALLED]
        self.installed.update({entity.name: entity for entity in new})
        for entity in new:
            self.lose(entity.name)
        useless = [entity.name for entity in entities if entity.name in self.unable]
        dropped = [name for name in useless if self.installed.pop(name, None) is not None]
        return [
            *(f"feed of entity {entity.name!r}" for entity in new),
            *(f"no more feed of entity {name!r}" for name in dropped),
        ]

    def remove(self, entities: Sequence[Entity] | None = None) -> list[str]:
        self.require_available()
        named = self.installed if entities is None else {entity.name for entity in entities}
        removed = sorted(self.installed.keys() & set(named))
        for name in removed:
            del self.installed[name]
        self.events = {
            key: event for key, event in self.events.items() if event.entity_type not in removed
        }
        return [f"feed of entity {name!r}" for name in removed]

    def status(self, entities: Sequence[Entity]) -> list[FeedStatus]:
        self.require_available()
        states = {entity.name: self._state(entity) for entity in entities}
        left = sorted(self.installed.keys() - states.keys())
        states |= dict.fromkeys(left, FeedState.LEFTOVER)
        return [self._status(name, state) for name, state in states.items()]

    def pending(
        self, *, limit_scopes: int | None = None, entity_types: Collection[str] | None = None
    ) -> dict[str, PendingChanges]:
        self.require_available()
        known = self._of(entity_types)
        keys = {owner_key(side) for e in known.values() for side in (e.old, e.new) if side}
        if any(event.is_everywhere for event in known.values()):
            keys.add(GLOBAL_KEY)
        found = {}
        for key in keys:
            scope = Scope.from_key(key)
            events = [
                event
                for event in known.values()
                if event.concerns(scope) or (event.is_everywhere and scope == GLOBAL)
            ]
            found[key] = PendingChanges(
                events=len(events),
                oldest_at=min(event.at for event in events),
                has_truncate=any(event.operation is Operation.TRUNCATE for event in events),
            )
        by_age = sorted(found.items(), key=lambda item: (item[1].oldest_at, item[0]))
        return dict(by_age[:limit_scopes])

    def spread_truncates(
        self, scopes: Collection[Scope], *, entity_types: Collection[str] | None = None
    ) -> int:
        self.require_available()
        if not scopes:
            return 0
        known = self._of(entity_types)
        everywhere = {key: event for key, event in known.items() if event.is_everywhere}
        oldest = {event.entity_type: event for event in reversed(everywhere.values())}
        for key in everywhere:
            del self.events[key]
        for event in oldest.values():
            for scope in sorted(set(scopes), key=lambda scope: scope.key):
                self.events[next(self._ids)] = replace(event, new=scope.key)
        return len(everywhere)

    def read(
        self,
        scope: Scope,
        *,
        limit: int | None = 100_000,
        entity_types: Collection[str] | None = None,
    ) -> ChangeBatch:
        self.require_available()
        found = {
            key: event
            for key, event in self._of(entity_types).items()
            if event.concerns(scope) or event.is_everywhere
        }
        kept = dict(list(found.items())[:limit])
        return ChangeBatch(
            scope=scope,
            keys=(scope.key,),
            event_ids=tuple(kept),
            rows=frozenset(
                ChangedRow(event.entity_type, event.db_id)
                for event in kept.values()
                if event.db_id is not None
            ),
            truncated=frozenset(
                event.entity_type
                for event in kept.values()
                if event.operation is Operation.TRUNCATE
            ),
            has_more=len(found) > len(kept),
        )

    def consume(self, batch: ChangeBatch) -> int:
        self.require_available()
        found = [
            key
            for key in batch.event_ids
            if key in self.events and self.events[key].concerns(batch.scope)
        ]
        for key in found:
            left = self.events.pop(key).without(batch.scope)
            if not left.is_everywhere:
                self.events[key] = left
        self.events = dict(sorted(self.events.items()))
        return len(found)

    @contextmanager
    def listen(self) -> Iterator[FakeListener]:
        self.require_available()
        yield FakeListener(self)

    def has_departures(self, visible_keys: Collection[str]) -> bool:
        self.require_available()
        keys = {*visible_keys}
        return any(
            event.is_everywhere
            or (event.old in keys and event.old != event.new)
            or (event.new in keys and event.operation is Operation.TRUNCATE)
            for event in self.events.values()
        )

    @contextmanager
    def departures(self, visible_keys: Collection[str]) -> Iterator[FakeDepartures]:
        self.require_available()
        yield FakeDepartures(dict(self.events), visible_keys)

    def has_pending(self, visible_keys: Collection[str], *, up_to: int) -> bool:
        self.require_available()
        return any(
            key <= up_to and (event.is_everywhere or {event.old, event.new} & {*visible_keys})
            for key, event in self.events.items()
        )

    def require_available(self) -> None:
        if not self.is_available:
            raise SourceUnavailableError("fake change feed: it is switched off")

    def _of(self, entity_types: Collection[str] | None) -> dict[int, Event]:
        return {
            key: event
            for key, event in self.events.items()
            if entity_types is None or event.entity_type in entity_types
        }

    def _state(self, entity: Entity) -> FeedState:
        if entity.name in self.unable:
            return FeedState.UNABLE
        installed = self.installed.get(entity.name)
        if installed is None:
            return FeedState.ABSENT
        is_same = _watched(installed) == _watched(entity)
        return FeedState.INSTALLED if is_same else FeedState.OUTDATED

    def _status(self, name: str, state: FeedState) -> FeedStatus:
        events = [event for event in self.events.values() if event.entity_type == name]
        oldest = min((event.at for event in events), default=None)
        is_installed = state is FeedState.INSTALLED
        return FeedStatus(
            entity_type=name,
            state=state,
            detail=self.unable.get(name, ""),
            pending=len(events),
            oldest_seconds=None if oldest is None else (self.now - oldest).total_seconds(),
            epoch=None if self.is_losing or not is_installed else self._epoch[name],
            blind_spots=self.blind_spots.get(name, ()) if is_installed else (),
        )


def _watched(entity: Entity) -> object:
    """What a trigger depends on."""
    columns = frozenset(entity.mapped_columns)
    return entity.table, entity.id, entity.tenant, entity.is_global, columns
