"""A real installation for one test: PostgreSQL, the embedded index, staged files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.ports import Embedder, Lease, VectorStore
from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.embedding_cache import PostgresEmbeddingCache
from sync_pipeline.database.generations import PostgresGenerations
from sync_pipeline.database.index_state import PostgresIndexState
from sync_pipeline.database.model_canaries import PostgresModelCanaries
from sync_pipeline.database.overview import PostgresOverview
from sync_pipeline.database.quarantine import PostgresQuarantine
from sync_pipeline.database.run_heartbeats import PostgresRunHeartbeats
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline.database.scope_states import PostgresScopeStates
from sync_pipeline.database.sync_requests import PostgresSyncRequests
from sync_pipeline.database.sync_runs import PostgresSyncRuns
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.engine.collection import Records
from sync_pipeline.engine.context import SyncContext, SyncOptions
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.generation import bind_generation
from sync_pipeline.engine.questions.search import SearchMode, SearchRequest, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.staged import gather
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.staging.parquet import ParquetStaging
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.fakes.state import FakeBreakers, FakeEmbeddingRates, FakeLedger

MATERIAL: Final = Entity(
    name="material",
    table="materials",
    updated_at="updated_at",
    views=(("text", ("name", "unit")),),
    payload=(("price", "price"), ("facets", "facets")),
)
TABLE: Final = """
CREATE TABLE materials (
    id text PRIMARY KEY, tenant_id text, is_global boolean NOT NULL DEFAULT false,
    name text, unit text DEFAULT 'kg', price numeric, facets json,
    updated_at timestamptz DEFAULT now()
)
"""
IMPATIENT: Final = Retries(attempts=2, first_wait_seconds=0, jitter_seconds=0)


@dataclass(slots=True)
class Site:
    """Rows in PostgreSQL, points in an index; ``sync`` is the context over both."""

    engine: sa.Engine
    folder: Path
    store: Lease[VectorStore] = field(init=False)
    embedder: Any = field(default_factory=FakeEmbedder)
    options: SyncOptions = field(default_factory=SyncOptions)
    entity: Entity = MATERIAL
    source: Any = field(init=False)
    _runs: int = 0

    def __post_init__(self) -> None:
        self.store = lease_edge_store(self.folder / "index", linger_seconds=1)
        self.source = PostgresRowSource(self.engine)

    @property
    def sync(self) -> SyncContext:
        """The context, as things are now."""
        embedder: Embedder = self.embedder
        return SyncContext(
            alias="documents",
            generation=bind_generation(
                alias="documents",
                entities=(self.entity,),
                models=Models(embedder),
                sparse=Bm25Encoder("english"),
                store=self.store,
                records=self.records,
            ),
            source=self.source,
            store=self.store,
            records=self.records,
            generations=PostgresGenerations(self.engine, retries=IMPATIENT),
            leases=PostgresScopeLeases(self.engine, retries=IMPATIENT),
            heartbeats=PostgresRunHeartbeats(self.engine, retries=IMPATIENT),
            cache=PostgresEmbeddingCache(self.engine, retries=IMPATIENT),
            canaries=PostgresModelCanaries(self.engine, retries=IMPATIENT),
            rates=FakeEmbeddingRates(),
            ledger=FakeLedger(),
            breakers=FakeBreakers(),
            quarantine=PostgresQuarantine(self.engine, retries=IMPATIENT),
            requests=PostgresSyncRequests(self.engine, retries=IMPATIENT),
            runs=PostgresSyncRuns(self.engine, retries=IMPATIENT),
            staging=ParquetStaging(str(self.folder / "staging")),
            options=self.options,
        )

    def records(self, collection: str) -> Records:
        """What is remembered of a collection."""
        return Records(
            state=PostgresIndexState(self.engine, collection=collection, retries=IMPATIENT),
            scopes=PostgresScopeStates(self.engine, collection=collection, retries=IMPATIENT),
            overview=PostgresOverview(self.engine, collection=collection, retries=IMPATIENT),
        )

    def sql(self, *statements: str, **values: object) -> None:
        """Change the source."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement), values)

    def fill(self, count: int, *, tenant: str | None = "acme", prefix: str = "m") -> None:
        """Insert rows ``m0001`` to ``m<count>`` of a tenant, global ones for None."""
        self.sql(
            "INSERT INTO materials (id, tenant_id, is_global, name, price) "
            "SELECT :prefix || lpad(n::text, greatest(4, length(n::text)), '0'), "
            ":tenant, CAST(:tenant AS text) IS NULL, "
            "'cement ' || :prefix || n, n FROM generate_series(1, :count) n",
            prefix=prefix,
            tenant=tenant,
            count=count,
        )

    def run(
        self, key: str = "acme", *, sync: SyncContext | None = None, mode: SyncMode = "full"
    ) -> ScopeReport:
        """Sync one scope."""
        self._runs += 1
        run_id = f"run-{self._runs}"
        return sync_scope(sync or self.sync, scope=Scope.from_key(key), run_id=run_id, mode=mode)

    def allow_everything(self) -> None:
        """Let any number of points be deleted."""
        self.options = replace(self.options, cleanup=CleanupPolicy(max_deleted_fraction=1))

    @property
    def collection(self) -> str:
        """The physical collection."""
        return self.sync.spec.collection

    def payloads(self, key: str = "acme") -> dict[str, dict[str, Any]]:
        """Payloads of a scope's points, by row id."""
        with self.sync.index() as index:
            digests = gather(index.iter_digests(scope_key=key, views=self.sync.views))
            found = index.retrieve(digests.point_ids.astype("U36").tolist())
        return {str(point.payload["dbId"]): dict(point.payload) for point in found}

    def texts(self, key: str = "acme") -> dict[str, str]:
        """Texts of a scope's points, by row id."""
        return {row_id: payload["text"] for row_id, payload in self.payloads(key).items()}

    def count(self, key: str | None = None) -> int:
        """Exact number of points, of a scope or of all."""
        with self.store() as store:
            return store.count(self.collection, scope_key=key)

    def found(self, key: str, text: str = "cement", *, mode: SearchMode = "hybrid") -> list[str]:
        """Document ids that a search as a scope finds."""
        request = SearchRequest(text=text, limit=100, mode=mode)
        hits = search(self.sync, scope=Scope.from_key(key), request=request).hits
        return [hit.document_id for hit in hits]

    def is_clean(self, key: str = "acme") -> bool:
        """Whether source, record and index agree."""
        return verify_scope(self.sync, scope=Scope.from_key(key)).is_clean

    def points_of(self, row_ids: Sequence[str], key: str = "acme") -> list[str]:
        """Point ids of rows."""
        kind = Scope.from_key(key).kind
        return [point_id(f"{kind}-material-{row_id}") for row_id in row_ids]
