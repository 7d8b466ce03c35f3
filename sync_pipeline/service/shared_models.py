"""The model of each generation that is searched, its search texts shared by all requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sync_pipeline.engine.generation import bind_generation
from sync_pipeline.service.encoding import SharedQueries

if TYPE_CHECKING:
    from sync_pipeline.core.ports import Embedder, GenerationRecord, Lease, VectorStore
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.generation import Generation


class SharedModels:
    """Embeds search texts together, each model in one thread of its own.

    Args:
        sync: Opens generations.
        max_waiting: Most texts that wait for one model.
        on_busy: Told of every text that is one too many.
    """

    def __init__(self, sync: SyncContext, *, max_waiting: int, on_busy: Callable[[], None]) -> None:
        self._sync = sync
        self._max_waiting = max_waiting
        self._on_busy = on_busy
        self._opened: dict[str, Generation] = {}
        self._shared: list[SharedQueries] = []
        self._opening = threading.Lock()

    def context(self, *, store: Lease[VectorStore]) -> SyncContext:
        """The installation with shared models, its own and those of other generations.

        Args:
            store: Asked instead of the installation's own.
        """
        own = self._sync.rebound(models=self._sync.models.each(self._share), store=store)

        def open_shared(record: GenerationRecord) -> Generation | None:
            with self._opening:
                if record.collection not in self._opened:
                    generation = self._sync.open_generation(record)
                    if generation is None:
                        return None
                    self._opened[record.collection] = bind_generation(
                        alias=record.alias,
                        entities=generation.entities,
                        models=generation.models.each(self._share),
                        sparse=generation.sparse,
                        store=store,
                        records=self._sync.records,
                        model=generation.model,
                        view_models=generation.view_models,
                    )
                return self._opened[record.collection]

        return replace(own, open_generation=open_shared)

    def close(self) -> None:
        """End the threads."""
        for shared in self._shared:
            shared.close()

    def _share(self, embedder: Embedder) -> SharedQueries:
        shared = SharedQueries(embedder, max_waiting=self._max_waiting, on_busy=self._on_busy)
        self._shared.append(shared)
        return shared
