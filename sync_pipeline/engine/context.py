"""Everything that a step works with, gathered once by ``wiring``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from sync_pipeline.core.cache_keys import scope_cache_key
from sync_pipeline.core.changes import ChangeFeed, EntityDigest, scope_digest
from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import StoppedError, SyncPipelineError
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.gate import GatePolicy
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import (
    Breakers,
    Embedder,
    EmbeddingBatches,
    EmbeddingCache,
    EmbeddingRates,
    Generations,
    Index,
    IndexState,
    Lease,
    Ledger,
    ModelCanaries,
    NoTracer,
    Overview,
    Progress,
    Quarantine,
    RowSource,
    RunHeartbeats,
    ScopeLeases,
    ScopeStates,
    SparseEncoder,
    StagingArea,
    StopSignal,
    SyncRequests,
    SyncRuns,
    Tracer,
    VectorStore,
)
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import BudgetPolicy, Purpose
from sync_pipeline.engine.collection import BoundCollection, OpenRecords, open_collection
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.generation import (
    Generation,
    OpenGeneration,
    bind_generation,
    open_none,
)
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.engine.metering import Meter


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
    part_texts: int = 12_500
    """Texts per staged part of those that have to be embedded: what one worker is given at once."""
    fan_out_texts: int = 50_000
    """More missing texts than these are shared out among workers, where there are any."""
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
    gate: GatePolicy = field(default_factory=GatePolicy)
    """What a new generation must show before it serves."""
    keep_generations_seconds: float = 604_800.0
    """How long a generation that served before is kept in step, to go back to."""
    run_order: RunOrder = field(default_factory=RunOrder)
    """Which scopes are synced first; the settings' section ``scopes``."""
    groups: GroupPolicy = field(default_factory=GroupPolicy)
    """Which scopes share a run."""
    budgets: BudgetPolicy = field(default_factory=BudgetPolicy)
    """What embedding may cost; the settings' section ``budget``."""


@dataclass(slots=True)
class CheckedModels:
    """Which models were found unchanged, and when; shared by all runs of a process."""

    checked_at: dict[str, float] = field(default_factory=dict)
    """By model id, as ``SyncContext.seconds`` tells the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncContext:
    """One generation of an installation's index, and what all generations share.

    Making one opens nothing. Steps lease the index for as long as they talk to it.
    """

    alias: str
    generation: Generation
    """What this work is about: steps write it, questions read it."""

    source: RowSource
    store: Lease[VectorStore]
    """All collections and aliases; the points of this generation are ``index``."""
    records: OpenRecords
    generations: Generations
    leases: ScopeLeases
    heartbeats: RunHeartbeats
    cache: EmbeddingCache
    canaries: ModelCanaries
    rates: EmbeddingRates
    ledger: Ledger
    breakers: Breakers
    """Which providers of a chain are asked."""
    quarantine: Quarantine
    requests: SyncRequests
    runs: SyncRuns
    staging: StagingArea
    open_generation: OpenGeneration = open_none
    """Other generations than that of the settings, by their record."""
    keeps_in_step: bool = False
    """Whether this generation is only kept in step beside the one of the settings: it is not
    made where it is missing, and says nothing of rows that cannot become documents."""
    providers: tuple[str, ...] = ()
    """Names of the providers of the chain of the settings, in its order; none: no chain."""
    standbys: tuple[Generation, ...] = ()
    """Of fallbacks of other models, each with a collection of its own: kept in step, and searched
    while no provider of the model that serves can be asked."""
    unfit: SyncPipelineError | None = None
    """Why nothing may be synced with these settings, though it could be."""
    unsettled: SyncPipelineError | None = None
    """Why nobody knows whether the model is a known one under another name. Until that is known
    no generation is made of it."""
    batches: EmbeddingBatches | None = None
    """Which texts a service embeds by the batch."""
    feed: ChangeFeed | None = None
    """Where the source can tell which rows changed."""
    landings: Landings | None = None
    """Records of other systems that land in tables of the source; None: none do."""

    options: SyncOptions = field(default_factory=SyncOptions)
    fusion: Fusion = field(default_factory=Fusion)
    """How searches join their rankings; the settings' section ``search``."""
    progress: Progress = field(default_factory=SilentProgress)
    should_stop: StopSignal = never_stop
    tracer: Tracer = field(default_factory=NoTracer)
    checked_models: CheckedModels = field(default_factory=CheckedModels)
    now: Callable[[], datetime] = utc_now
    seconds: Callable[[], float] = time.perf_counter

    @property
    def spec(self) -> CollectionSpec:
        """What the collection is made for."""
        return self.generation.spec

    @property
    def index(self) -> Lease[Index]:
        """The collection's points."""
        return self.generation.collection.index

    @property
    def state(self) -> IndexState:
        """Our record of its documents."""
        return self.generation.collection.records.state

    @property
    def scopes(self) -> ScopeStates:
        """When each scope was last in step in it."""
        return self.generation.collection.records.scopes

    @property
    def overview(self) -> Overview:
        """All of its scopes at a glance."""
        return self.generation.collection.records.overview

    @property
    def models(self) -> Models:
        """The models of its vectors, by view."""
        return self.generation.models

    @property
    def embedders(self) -> Mapping[str, Embedder]:
        """The models that its views use, by id, each once."""
        return self.models.among(self.views)

    @property
    def sparse(self) -> SparseEncoder:
        """What weighs its words."""
        return self.generation.sparse

    @property
    def entities(self) -> tuple[Entity, ...]:
        """What is read, and how it is rendered."""
        return self.generation.entities

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all views of all entities, each once, in order of first use."""
        return self.spec.views

    @property
    def entity_names(self) -> tuple[str, ...]:
        """Names of the entities that the settings name; nothing else is read, judged or deleted."""
        return tuple(entity.name for entity in self.entities)

    def over(self, generation: Generation) -> Self:
        """The same about another generation, which is kept in step."""
        return replace(self, generation=generation, keeps_in_step=True)

    def collection(self, name: str) -> BoundCollection:
        """Any collection of the store, by its name."""
        return open_collection(name, store=self.store, records=self.records)

    def rebound(
        self,
        *,
        store: Lease[VectorStore] | None = None,
        records: OpenRecords | None = None,
        entities: tuple[Entity, ...] | None = None,
        embedder: Embedder | None = None,
        models: Models | None = None,
        sparse: SparseEncoder | None = None,
    ) -> Self:
        """The same context over another store or other records, or of another generation.

        Args:
            store: All collections.
            records: Of all collections.
            entities: What is read, and how it is rendered.
            embedder: One model for all views that have none of their own.
            models: The models of all views.
            sparse: What weighs words.
        """
        store = store or self.store
        records = records or self.records
        generation = bind_generation(
            alias=self.alias,
            entities=self.entities if entities is None else entities,
            models=models or replace(self.models, main=embedder or self.models.main),
            sparse=sparse or self.sparse,
            store=store,
            records=records,
            model=self.generation.model,
            view_models=self.generation.view_models,
        )
        return replace(self, store=store, records=records, generation=generation)

    def entity_digest(self, entity: Entity, rows: EntityDigest | None) -> str:
        """Condense what the documents of an entity of one scope depend on.

        Args:
            entity: Its settings count.
            rows: Their digest; None where there are none.
        """
        archive = () if entity.archive is None else (repr(entity.archive),)
        config = digest(self.spec.collection, repr(entity), *archive)
        return scope_digest(config=config, entities={entity.name: rows} if rows else {})

    def meter(
        self,
        *,
        scope: Scope | None = None,
        run_id: str = "",
        purpose: Purpose = Purpose.DOCUMENTS,
    ) -> Meter:
        """What books the calls of models, and keeps them within their budgets."""
        return Meter(
            ledger=self.ledger,
            policy=self.options.budgets,
            now=self.now,
            scope=scope,
            run_id=run_id,
            purpose=purpose,
        )

    def cache_key(self, scope: Scope, model_id: str) -> str:
        """Under which key the cache keeps vectors of a model for ``scope``."""
        return model_id if self.options.shares_cache else scope_cache_key(model_id, scope)

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
