"""The seams of the pipeline. Each docstring is a contract that tests ask of every adapter and fake.

Adapters raise only errors of ``core.errors``; foreign exceptions stop inside
them. ``Lease`` values are opened in a ``with`` for a short time, never held.
"""

from sync_pipeline.core.ports.batches import (
    BatchAnswer,
    BatchEmbedder,
    BatchProgress,
    EmbeddingBatches,
    OpenBatch,
)
from sync_pipeline.core.ports.cache import (
    LONGEST_USE_SECONDS,
    MARK_MARGIN_SECONDS,
    CachedVectors,
    CacheSlice,
    CacheUse,
    EmbeddingCache,
    EmbeddingCacheReader,
    EmbeddingRates,
    EmbeddingRatesReader,
    ExpectedHits,
    MarkFence,
)
from sync_pipeline.core.ports.canaries import ModelCanaries, ModelCanariesReader
from sync_pipeline.core.ports.embedding import Embedder, RateLimiter, SparseEncoder
from sync_pipeline.core.ports.generations import (
    GenerationRecord,
    Generations,
    GenerationsReader,
)
from sync_pipeline.core.ports.heartbeats import RunHeartbeats
from sync_pipeline.core.ports.index import Index, IndexReader
from sync_pipeline.core.ports.overview import (
    EntityTrouble,
    Overview,
    RecordedScope,
    ScopeOrder,
    ScopePage,
    ScopeTotals,
    ViewTrouble,
)
from sync_pipeline.core.ports.providers import Breakers, BreakersReader
from sync_pipeline.core.ports.requests import (
    RequestStatus,
    SyncRequest,
    SyncRequests,
    SyncRun,
    SyncRuns,
)
from sync_pipeline.core.ports.scopes import (
    MAX_LEASE_SECONDS,
    EntityResult,
    EntitySnapshot,
    Fence,
    LeaseHolder,
    LeasesReader,
    ScopeLeases,
    ScopeSnapshot,
    ScopeStates,
    ScopeStatesReader,
)
from sync_pipeline.core.ports.source import RowSource, SourceSnapshot, Weakness
from sync_pipeline.core.ports.spending import (
    RESERVED_FOR_SECONDS,
    Exhausted,
    Ledger,
    LedgerReader,
    Reservation,
)
from sync_pipeline.core.ports.staging import Dataset, DatasetWriter, StagingArea
from sync_pipeline.core.ports.state import (
    DocumentRecord,
    FailedDocument,
    IndexState,
    IndexStateReader,
    Quarantine,
    QuarantineReader,
    StateRow,
    ViewCounts,
)
from sync_pipeline.core.ports.store import StoreCapabilities, StoreReader, VectorStore
from sync_pipeline.core.ports.surroundings import (
    Attributes,
    Lease,
    NoTracer,
    Progress,
    Span,
    StopSignal,
    Tracer,
)

__all__ = [
    "LONGEST_USE_SECONDS",
    "MARK_MARGIN_SECONDS",
    "MAX_LEASE_SECONDS",
    "RESERVED_FOR_SECONDS",
    "Attributes",
    "BatchAnswer",
    "BatchEmbedder",
    "BatchProgress",
    "Breakers",
    "BreakersReader",
    "CacheSlice",
    "CacheUse",
    "CachedVectors",
    "Dataset",
    "DatasetWriter",
    "DocumentRecord",
    "Embedder",
    "EmbeddingBatches",
    "EmbeddingCache",
    "EmbeddingCacheReader",
    "EmbeddingRates",
    "EmbeddingRatesReader",
    "EntityResult",
    "EntitySnapshot",
    "EntityTrouble",
    "Exhausted",
    "ExpectedHits",
    "FailedDocument",
    "Fence",
    "GenerationRecord",
    "Generations",
    "GenerationsReader",
    "Index",
    "IndexReader",
    "IndexState",
    "IndexStateReader",
    "Lease",
    "LeaseHolder",
    "LeasesReader",
    "Ledger",
    "LedgerReader",
    "MarkFence",
    "ModelCanaries",
    "ModelCanariesReader",
    "NoTracer",
    "OpenBatch",
    "Overview",
    "Progress",
    "Quarantine",
    "QuarantineReader",
    "RateLimiter",
    "RecordedScope",
    "RequestStatus",
    "Reservation",
    "RowSource",
    "RunHeartbeats",
    "ScopeLeases",
    "ScopeOrder",
    "ScopePage",
    "ScopeSnapshot",
    "ScopeStates",
    "ScopeStatesReader",
    "ScopeTotals",
    "SourceSnapshot",
    "Span",
    "SparseEncoder",
    "StagingArea",
    "StateRow",
    "StopSignal",
    "StoreCapabilities",
    "StoreReader",
    "SyncRequest",
    "SyncRequests",
    "SyncRun",
    "SyncRuns",
    "Tracer",
    "VectorStore",
    "ViewCounts",
    "ViewTrouble",
    "Weakness",
]
