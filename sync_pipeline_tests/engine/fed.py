"""Rows in memory whose changes leave events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from sync_pipeline.core.changes import Operation
from sync_pipeline.engine.context import SyncContext
from sync_pipeline_tests.engine.world import MATERIAL, WORK, World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed


class Fed:
    """A world whose every change leaves an event."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.feed = FakeChangeFeed()
        self.feed.install([MATERIAL, WORK])

    @classmethod
    def since_a_full_sync(cls, world: World, *keys: str) -> Self:
        """A feed that was there before the last full sync of these scopes, an hour ago.

        Args:
            world: Of which scopes were synced.
            keys: Of the scopes; of none it is ``acme``.
        """
        fed = cls(world)
        for key in keys or ("acme",):
            world.run(key, sync=fed.sync)
        world.source.now += timedelta(hours=1)
        return fed

    @property
    def sync(self) -> SyncContext:
        return replace(self.world.sync, feed=self.feed)

    def change(self, row_id: str, **values: Any) -> None:
        row = self.world.put(row_id, **values)
        # Far behind: only the event tells.
        row["updated_at"] = self.world.source.now - timedelta(days=300)
        self.tell(Operation.UPDATE, row_id, old="acme", new="acme")

    def tell(self, operation: Operation, row_id: str | None, **sides: str | None) -> None:
        self.feed.record(operation, entity_type="material", db_id=row_id, **sides)
