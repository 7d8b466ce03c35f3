"""Everything that a step works with, gathered once by ``wiring``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from sync_pipeline.core.changes import ChangeFeed, EntityDigest, scope_digest
from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import (
    Embedder,
    EmbeddingCache,
    EmbeddingRates,
    Generations,
    IndexState,
    Lease,
    Overview,
    Progress,
    Quarantine,
    RowSource,
    ScopeStates,
    SparseEncoder,
    StagingArea,
    StopSignal,
    SyncRequests,
    SyncRuns,
    VectorStore,
)
from sync_pipeline.core.scope import Scope

SyncMode = Literal["full", "incremental"]


class SilentProgress:
    """Tells nobody."""

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        """Do nothing."""


def never_stop() -> bool:
    """Nobody asks to stop."""
    return False


def utc_now() -> datetime:
    """The clock of reports and ``synced_at``; decides nothing."""
    return datetime.now(tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What one sync is asked for, beyond the settings."""

    mode: SyncMode = "full"
    max_deleted_fraction: float | None = None
    """How much of a scope may be deleted, 0 to 1; None takes the settings' limit."""
    approve_deletions: int | None = None
    """How many points of the one scope given may be deleted beyond that limit: exactly so many."""
    change_digests: Mapping[str, str] = field(default_factory=dict)
    """Per scope key the changes of a saved plan; a sync that would do anything else is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """How work is cut and bounded; the settings' section ``sync``."""

    upsert_batch_size: int = 500
    delete_batch_size: int = 500
    cleanup: CleanupPolicy = field(default_factory=CleanupPolicy)
    lease_ttl_seconds: float = 60.0
    part_rows: int = 12_500
    """Documents per staged part: the most that a step compares at once."""
    embed_chunk_size: int = 256
    """Texts embedded between two writes to the cache: what a crash loses at most."""
    max_quarantined_fraction: float | None = None
    """Share of unusable rows above which a scope fails."""
    shares_cache: bool = True
    """Whether a text embedded for one scope serves the others too."""
    incremental_overlap_seconds: float = 300.0
    """How much further back an incremental sync looks, for transactions that commit late."""
    full_every_seconds: float = 259_200.0
    """A scope is compared in full at least this often, however unchanged it seems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncContext:
    """The ports of one installation, its entities and limits.

    Making one opens nothing. Steps lease the store for as long as they talk to it.
    """

    entities: tuple[Entity, ...]
    alias: str
    source: RowSource
    store: Lease[VectorStore]
    state: IndexState
    scopes: ScopeStates
    overview: Overview
    generations: Generations
    cache: EmbeddingCache
    rates: EmbeddingRates
    quarantine: Quarantine
    requests: SyncRequests
    runs: SyncRuns
    staging: StagingArea
    embedder: Embedder
    sparse: SparseEncoder
    price_per_million_tokens: float | None = None
    """What the embedding provider charges, for estimates."""
    feed: ChangeFeed | None = None
    """Where the source can tell which rows changed."""
    options: SyncOptions = field(default_factory=SyncOptions)
    fusion: Fusion = field(default_factory=Fusion)
    """How searches join their rankings; the settings' section ``search``."""
    progress: Progress = field(default_factory=SilentProgress)
    should_stop: StopSignal = never_stop
    now: Callable[[], datetime] = utc_now
    seconds: Callable[[], float] = time.perf_counter

    views: tuple[str, ...] = field(init=False)
    """Names of all views of all entities, each once, in order of first use."""

    def __post_init__(self) -> None:
        names = dict.fromkeys(name for entity in self.entities for name, _ in entity.views)
        object.__setattr__(self, "views", tuple(names))

    @property
    def spec(self) -> CollectionSpec:
        """The collection that these settings ask for."""
        return CollectionSpec(
            alias=self.alias,
            model_id=self.embedder.model_id,
            dimension=self.embedder.dimension,
            views=self.views,
            sparse_id=self.sparse.sparse_id,
        )

    @property
    def entity_names(self) -> tuple[str, ...]:
        """Names of the entities that the settings name; nothing else is read, judged or deleted."""
        return tuple(entity.name for entity in self.entities)

    def entity_digest(self, entity: Entity, rows: EntityDigest | None) -> str:
        """Condense what the documents of an entity of one scope depend on.

        Args:
            entity: Its settings count.
            rows: Their digest; None where there are none.
        """
        config = digest(self.spec.collection, repr(entity))
        return scope_digest(config=config, entities={entity.name: rows} if rows else {})

    def cache_model(self, scope: Scope) -> str:
        """Under which model id the cache keeps vectors of ``scope``."""
        if self.options.shares_cache:
            return self.embedder.model_id
        return self.scope_cache_model(scope)

    def scope_cache_model(self, scope: Scope) -> str:
        """Under which model id the cache keeps vectors that only ``scope`` may use."""
        return f"{self.embedder.model_id} for {scope.key}"

    def checkpoint(self, *, scope: Scope) -> None:
        """Between batches: stop here if asked to.

        Raises:
            StoppedError: what was written stays, the rest is left to the next run.
        """
        if self.should_stop():
            raise StoppedError(
                f"stopped in scope {scope.key!r} after the batch in flight; "
                "what was written stays, run the same command again for the rest"
            )
