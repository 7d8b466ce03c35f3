"""Tables as a source and its feed tell of them: of some changes nobody tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sync_pipeline.core.changes import FeedState, Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.row_source import FakeRowSource, Row
from sync_pipeline_tests.reliability.oracle import TYPES, Key, Oracle, owner_of

Loss = Literal["removed", "outdated", "unable", "emptied"]
"""What becomes of a feed: it goes, misses changes, loses its table, or all its events."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the tables and their feed stood when a run looked at them."""

    epochs: Mapping[str, int]
    """By entity that had a feed: how often it had been lost."""
    untold: Mapping[str, int]
    """By entity: as ``WatchedTables.untold`` at the snapshot."""


@dataclass(slots=True)
class WatchedTables:
    """Commits to the source, with the events that triggers would leave."""

    source: FakeRowSource
    feed: FakeChangeFeed
    entities: Mapping[str, Entity]
    """By table."""
    oracle: Oracle = field(default_factory=Oracle)
    losses: Counter[str] = field(default_factory=Counter)
    """By entity how often something happened of which its feed left no event."""
    untold: Counter[str] = field(default_factory=Counter)
    """By entity how many changes only their events could tell of, or a full comparison."""
    looks: dict[datetime, Look] = field(default_factory=dict)
    """By the time of the snapshot that followed."""

    # --- rows -------------------------------------------------------------------------------

    def commit(
        self,
        changes: Mapping[Key, Row | None],
        *,
        is_timed: bool = True,
        leaves_events: bool = True,
    ) -> None:
        """Make changes visible at once; None deletes.

        Args:
            changes: By row.
            is_timed: Whether times of change, or ids that come and go, tell of them.
            leaves_events: Whether triggers fire where there are any.
        """
        for key, row in changes.items():
            before = self.oracle.rows.get(key)
            self.untold[TYPES[key.table]] += not is_timed
            if leaves_events and self._is_changed(key, before, row):
                self._record(key, before, row)
        self._show(changes)

    def replace(self, table: str, rows: Mapping[Key, Row]) -> None:
        """TRUNCATE a table and INSERT other rows in one transaction."""
        entity = self.entities[table].name
        gone: dict[Key, Row | None] = dict.fromkeys(
            key for key in self.oracle.rows if key.table == table
        )
        if self.is_fed(entity):
            self.feed.record(Operation.TRUNCATE, entity_type=entity)
            for key, row in rows.items():
                self._record(key, None, row)
        self._show(gone | dict(rows))

    def _show(self, changes: Mapping[Key, Row | None]) -> None:
        self.oracle.commit(changes)
        self.source.tables = self.oracle.tables()

    def _is_changed(self, key: Key, before: Row | None, row: Row | None) -> bool:
        if before is None or row is None:
            return before is not row
        columns = self.entities[key.table].mapped_columns
        return any(before[column] != row[column] for column in columns)

    def _record(self, key: Key, before: Row | None, row: Row | None) -> None:
        entity = TYPES[key.table]
        if not self.is_fed(entity):
            return
        operation = Operation.UPDATE
        if before is None or row is None:
            operation = Operation.INSERT if before is None else Operation.DELETE
        self.feed.record(
            operation,
            entity_type=entity,
            db_id=key.row_id,
            # What nobody owns is the global scope's to report.
            old=None if before is None else owner_of(before) or GLOBAL_KEY,
            new=None if row is None else owner_of(row) or GLOBAL_KEY,
        )

    # --- the feed ---------------------------------------------------------------------------

    def is_fed(self, entity_type: str) -> bool:
        """Whether changes of an entity leave events now."""
        entity = next(found for found in self.entities.values() if found.name == entity_type)
        return self.feed.status([entity])[0].state is FeedState.INSTALLED

    def install(self, entities: Iterable[Entity]) -> None:
        """Make changes leave events from now on."""
        self.feed.unable.clear()
        self.feed.install(list(entities))

    def lose(self, table: str, how: Loss) -> None:
        """Let the feed of a table, or all events, get lost."""
        entity = self.entities[table]
        concerned = [entity.name]
        if how == "removed":
            self.feed.remove([entity])
        elif how == "outdated" and entity.name in self.feed.installed:
            self.feed.installed[entity.name] = replace(entity, payload=())
        elif how == "unable":
            self.feed.unable[entity.name] = "it is a view now"
        elif how == "emptied":
            self.feed.events.clear()
            concerned = [found.name for found in self.entities.values()]
        for name in concerned:
            self.miss(name)

    def miss(self, entity_type: str) -> None:
        """Something happens to the rows of an entity of which there will be no event."""
        self.losses[entity_type] += 1
        if entity_type in self.feed.installed:
            self.feed.lose(entity_type)

    # --- what can be known ------------------------------------------------------------------

    def epochs(self) -> dict[str, int]:
        """How often each feed was lost, without those that are not there or losing events."""
        if self.feed.is_losing:
            return {}
        names = [entity.name for entity in self.entities.values()]
        return {name: self.losses[name] for name in names if self.is_fed(name)}

    def look(self, epochs: Mapping[str, int]) -> None:
        """Note what a run knew of the feed before the snapshot that it has just opened."""
        self.looks[self.source.now] = Look(epochs, dict(self.untold))

    def is_told(self, entity_type: str, *, since: datetime) -> bool:
        """Whether events, times and ids tell of every change since a full sync, or a lost feed."""
        look = self.looks[since]
        return entity_type in look.epochs or self.untold[entity_type] == look.untold.get(
            entity_type, 0
        )

    def is_lost(self, entity_type: str, *, since: datetime) -> bool:
        """Whether an entity had a feed at a full sync that has missed something since."""
        known = self.looks[since].epochs.get(entity_type)
        return known is not None and known != self.epochs().get(entity_type)
