"""What a question may use: everything to read with, nothing to write index or record with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from sync_pipeline.core.changes import ChangeFeed, EntityDigest
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.fusion import Fusion
    from sync_pipeline.core.landing.spec import Landing
    from sync_pipeline.core.point import CollectionSpec
    from sync_pipeline.core.ports import (
        BreakersReader,
        Embedder,
        EmbeddingCacheReader,
        EmbeddingRatesReader,
        GenerationsReader,
        IndexReader,
        IndexStateReader,
        LandingReader,
        Lease,
        LeasesReader,
        LedgerReader,
        ModelCanariesReader,
        Overview,
        Progress,
        QuarantineReader,
        RowSource,
        ScopeStatesReader,
        SparseEncoder,
        StagingArea,
        StoreReader,
        Tracer,
    )
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.core.spending import Purpose
    from sync_pipeline.engine.context import SyncOptions
    from sync_pipeline.engine.embedders import Models
    from sync_pipeline.engine.generation import Generation, OpenGeneration
    from sync_pipeline.engine.landing.ages import KnownPasses
    from sync_pipeline.engine.metering import Meter


class LandingsReader(Protocol):
    """The landings of an installation, for whoever lands nothing."""

    @property
    def landings(self) -> tuple[Landing, ...]: ...
    @property
    def store(self) -> LandingReader: ...
    @property
    def known(self) -> KnownPasses: ...


class RecordsReader(Protocol):
    """What is remembered of one collection, to be read."""

    @property
    def scopes(self) -> ScopeStatesReader: ...


class CollectionReader(Protocol):
    """One collection, to be read."""

    @property
    def index(self) -> Lease[IndexReader]: ...
    @property
    def records(self) -> RecordsReader: ...


class Reading(Protocol):
    """A ``SyncContext`` as questions see it; what each part is stands there.

    Documents are staged where a scope is compared in parts, and forgotten afterwards.
    """

    @property
    def alias(self) -> str: ...
    @property
    def spec(self) -> CollectionSpec: ...
    @property
    def entities(self) -> tuple[Entity, ...]: ...
    @property
    def entity_names(self) -> tuple[str, ...]: ...
    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def source(self) -> RowSource: ...
    @property
    def feed(self) -> ChangeFeed | None: ...
    @property
    def landings(self) -> LandingsReader | None: ...
    @property
    def store(self) -> Lease[StoreReader]: ...
    @property
    def index(self) -> Lease[IndexReader]: ...
    @property
    def state(self) -> IndexStateReader: ...
    @property
    def scopes(self) -> ScopeStatesReader: ...
    @property
    def overview(self) -> Overview: ...
    @property
    def generations(self) -> GenerationsReader: ...
    @property
    def open_generation(self) -> OpenGeneration: ...
    @property
    def leases(self) -> LeasesReader: ...
    @property
    def cache(self) -> EmbeddingCacheReader: ...
    @property
    def canaries(self) -> ModelCanariesReader: ...
    @property
    def ledger(self) -> LedgerReader: ...
    @property
    def breakers(self) -> BreakersReader: ...
    @property
    def providers(self) -> tuple[str, ...]: ...
    @property
    def standbys(self) -> tuple[Generation, ...]: ...
    @property
    def rates(self) -> EmbeddingRatesReader: ...
    @property
    def quarantine(self) -> QuarantineReader: ...
    @property
    def staging(self) -> StagingArea: ...
    @property
    def models(self) -> Models: ...
    @property
    def embedders(self) -> Mapping[str, Embedder]: ...
    @property
    def sparse(self) -> SparseEncoder: ...

    @property
    def options(self) -> SyncOptions: ...
    @property
    def fusion(self) -> Fusion: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def tracer(self) -> Tracer: ...
    @property
    def now(self) -> Callable[[], datetime]: ...
    @property
    def seconds(self) -> Callable[[], float]: ...

    def collection(self, name: str) -> CollectionReader:
        """Any collection of the store, by its name."""

    def over(self, generation: Generation) -> Self:
        """The same about another generation."""

    def entity_digest(self, entity: Entity, rows: EntityDigest | None) -> str:
        """Condense what the documents of an entity of one scope depend on."""

    def meter(
        self, *, scope: Scope | None = None, run_id: str = "", purpose: Purpose = ...
    ) -> Meter:
        """What books the calls of models."""

    def cache_key(self, scope: Scope, model_id: str) -> str:
        """Under which key the cache keeps vectors of a model for ``scope``."""

    def checkpoint(self, *, scope: Scope) -> None:
        """Between batches: stop here if asked to."""
