"""A whole installation made of fakes: rows in lists, points in dictionaries."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import Point
from sync_pipeline.core.ports import GenerationRecord
from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.engine.collection import Records
from sync_pipeline.engine.context import SyncContext, SyncOptions
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.generation import Generation, bind_generation, with_views
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.staging.parquet import ParquetStaging
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.overview import FakeOverview
from sync_pipeline_tests.fakes.row_source import FakeRowSource, Row
from sync_pipeline_tests.fakes.state import (
    FakeBreakers,
    FakeEmbeddingCache,
    FakeEmbeddingRates,
    FakeGenerations,
    FakeIndexState,
    FakeLedger,
    FakeModelCanaries,
    FakeQuarantine,
    FakeRunHeartbeats,
    FakeScopeLeases,
    FakeScopeStates,
    FakeSyncRequests,
    FakeSyncRuns,
    RecordedDocument,
)
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore

MATERIAL: Final = Entity(
    name="material",
    table="materials",
    updated_at="updated_at",
    views=(("text", ("name", "unit")),),
    payload=(("price", "price"), ("unit", "unit")),
)
WORK: Final = Entity(
    name="work",
    table="works",
    updated_at="updated_at",
    views=(("text", ("name",)),),
    payload=(("unit", "unit"),),
)
UNGUARDED: Final = CleanupPolicy(max_deleted_fraction=1)
"""Lets everything be deleted."""

_SPARSE: Final = Bm25Encoder("english")


class Clock:
    """A clock that a test turns; it starts at the first instant of 2026."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class World:
    """The fakes of one installation, and what a test wants to do with them and know of them."""

    options: SyncOptions = field(default_factory=SyncOptions)
    entities: tuple[Entity, ...] = (MATERIAL, WORK)
    source: FakeRowSource = field(init=False)
    store: FakeVectorStore = field(default_factory=FakeVectorStore)
    state: FakeIndexState = field(default_factory=FakeIndexState)
    clock: Clock = field(default_factory=Clock)
    scopes: FakeScopeStates = field(init=False)
    leases: FakeScopeLeases = field(init=False)
    heartbeats: FakeRunHeartbeats = field(init=False)
    generations: FakeGenerations = field(default_factory=FakeGenerations)
    cache: FakeEmbeddingCache = field(init=False)
    canaries: FakeModelCanaries = field(init=False)
    quarantine: FakeQuarantine = field(default_factory=FakeQuarantine)
    requests: FakeSyncRequests = field(default_factory=FakeSyncRequests)
    runs: FakeSyncRuns = field(default_factory=FakeSyncRuns)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    rates: FakeEmbeddingRates = field(default_factory=FakeEmbeddingRates)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    breakers: FakeBreakers = field(default_factory=FakeBreakers)
    providers: tuple[str, ...] = ()
    standby_models: list[FakeEmbedder] = field(default_factory=list)
    """Other models, each with an index that is kept in step for searches."""
    staging: ParquetStaging = field(init=False)
    feed: FakeChangeFeed | None = None
    models: dict[str, FakeEmbedder] = field(default_factory=dict)
    """Other models that can be opened, by id; those of earlier generations are found here."""
    own_models: dict[str, FakeEmbedder] = field(default_factory=dict)
    """By view, of views with a model of their own."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.source = FakeRowSource({entity.table: [] for entity in self.entities})
        self.scopes = FakeScopeStates(self.clock)
        self.leases = FakeScopeLeases(self.clock)
        self.heartbeats = FakeRunHeartbeats(self.clock)
        self.cache = FakeEmbeddingCache(self.state, self.clock, self.generations)
        self.canaries = FakeModelCanaries(self.cache, self.generations)
        self.staging = ParquetStaging(f"memory://{uuid.uuid4().hex}")

    @property
    def standbys(self) -> tuple[Generation, ...]:
        """The generations of other models."""
        return tuple(
            bind_generation(
                alias="documents",
                entities=self.entities,
                models=Models(model),
                sparse=_SPARSE,
                store=self.store.lease,
                records=self.records,
            )
            for model in self.standby_models
        )

    @property
    def sync(self) -> SyncContext:
        """The context of these fakes, as they are now."""
        return SyncContext(
            alias="documents",
            generation=bind_generation(
                alias="documents",
                entities=self.entities,
                models=Models(self.embedder, self.own_models),
                sparse=_SPARSE,
                store=self.store.lease,
                records=self.records,
            ),
            source=self.source,
            store=self.store.lease,
            records=self.records,
            generations=self.generations,
            open_generation=self.open_generation,
            leases=self.leases,
            heartbeats=self.heartbeats,
            cache=self.cache,
            canaries=self.canaries,
            rates=self.rates,
            ledger=self.ledger,
            breakers=self.breakers,
            providers=self.providers,
            standbys=self.standbys,
            quarantine=self.quarantine,
            requests=self.requests,
            runs=self.runs,
            staging=self.staging,
            feed=self.feed,
            options=self.options,
            now=self.clock,
        )

    def open_generation(self, record: GenerationRecord) -> Generation | None:
        """A recorded generation, where its model is among ``models``."""
        embedder = self.models.get(record.model_id)
        if embedder is None or record.recipe is None:
            return None
        views: Any = record.recipe["views"]
        return bind_generation(
            alias=record.alias,
            entities=with_views(self.entities, views),
            models=Models(embedder, self.own_models),
            sparse=_SPARSE,
            store=self.store.lease,
            records=self.records,
        )

    def use_model(self, model_id: str) -> FakeEmbedder:
        """Let the settings name another model, one of its own; those before stay known."""
        self.models[self.embedder.model_id] = self.embedder
        self.embedder = self.models.get(model_id) or FakeEmbedder(model_id=model_id)
        self.models[model_id] = self.embedder
        return self.embedder

    def records(self, collection: str) -> Records:
        """What is remembered of a collection."""
        state, scopes = self.state.bound(collection), self.scopes.bound(collection)
        overview = FakeOverview(
            state=state,
            scopes=scopes,
            leases=self.leases,
            quarantine=self.quarantine,
            runs=self.runs,
        )
        return Records(state=state, scopes=scopes, overview=overview)

    @property
    def collection(self) -> str:
        """The physical collection of the settings."""
        return self.sync.spec.collection

    @property
    def serves(self) -> str | None:
        """The collection that the alias points at."""
        return self.store.alias_target("documents")

    # --- rows ---------------------------------------------------------------------------

    def put(self, row_id: str, *, table: str = "materials", **values: object) -> Row:
        """Insert a row, or change the columns given of the one that is there.

        A new row belongs to tenant ``acme``, and its name is made of its id.
        """
        rows = self.source.tables[table]
        known = next((row for row in rows if row["id"] == row_id), None)
        if known is None:
            known = {
                "id": row_id,
                "tenant_id": "acme",
                "is_global": False,
                "name": f"cement {row_id}",
                "unit": "kg",
                "price": 10,
                "updated_at": self.source.now,
            }
            rows.append(known)
        known.update(values, updated_at=self.source.now)
        return known

    def put_many(self, *row_ids: str, **values: Any) -> None:
        """Insert several rows alike."""
        for row_id in row_ids:
            self.put(row_id, **values)

    def remove(self, *row_ids: str, table: str = "materials") -> None:
        """Delete rows."""
        rows = self.source.tables[table]
        self.source.tables[table] = [row for row in rows if row["id"] not in row_ids]

    # --- syncing ------------------------------------------------------------------------

    def run(
        self,
        key: str = "acme",
        *,
        sync: SyncContext | None = None,
        run_id: str = "",
        mode: SyncMode = "full",
    ) -> ScopeReport:
        """Sync one scope."""
        self.clock.advance(seconds=1)
        return sync_scope(
            sync or self.sync,
            scope=Scope.from_key(key),
            run_id=run_id or self.new_run_id(),
            mode=mode,
        )

    def run_all(self) -> dict[str, ScopeReport]:
        """Sync every scope of the source, by key."""
        scopes = self.source.list_scopes(self.entities)
        return {scope.key: self.run(scope.key) for scope in scopes}

    def new_run_id(self) -> str:
        """An id that no run has had."""
        return f"run-{next(self._numbers)}"

    def set_options(self, **changes: Any) -> None:
        """Change limits."""
        self.options = replace(self.options, **changes)

    # --- what came of it ----------------------------------------------------------------

    @property
    def points(self) -> dict[str, Point]:
        """What the index holds, by document id."""
        held = self.store.points(self.collection).values()
        return {str(point.payload["document_id"]): point for point in held}

    def texts(self, key: str) -> dict[str, str]:
        """Texts of a scope's points, by row id."""
        return {
            str(point.payload["dbId"]): str(point.payload["text"])
            for point in self.points.values()
            if point.payload["scope_key"] == key
        }

    def ids(self, key: str) -> list[str]:
        """Row ids of a scope's points, sorted."""
        return sorted(self.texts(key))

    def recorded(self, key: str) -> list[str]:
        """Document ids that are recorded as synced for a scope, sorted."""
        known = self.state.documents.values()
        return sorted(
            row.document_id for row in known if row.scope_key == key and row.status == "synced"
        )

    def record_of(self, document_id: str) -> RecordedDocument | None:
        """The record of one document."""
        return self.state.documents.get((self.collection, document_id))

    def found(self, key: str, text: str = "cement", **request: Any) -> list[str]:
        """Document ids that a search finds, best first."""
        wanted = SearchRequest(text=text, limit=100, **request)
        hits = search(self.sync, scope=Scope.from_key(key), request=wanted).hits
        return [hit.document_id for hit in hits]

    def is_clean(self, key: str = "acme") -> bool:
        """Whether source, record and index agree."""
        return verify_scope(self.sync, scope=Scope.from_key(key)).is_clean

    def everything(self) -> dict[str, object]:
        """A copy of all that a sync can change, to compare with."""
        return {
            "points": {
                key: (dict(point.payload), {view: v.tobytes() for view, v in point.vectors.items()})
                for key, point in self.points.items()
            },
            "state": dict(self.state.documents),
            "cache": sorted(self.cache.vectors),
            "quarantine": {key: dict(listed) for key, listed in self.quarantine.rejections.items()},
            "attempts": dict(self.quarantine.attempts),
        }


def counts(report: ScopeReport) -> Mapping[str, int]:
    """The counts of a report that are not zero, without rows and documents."""
    names = (
        "new",
        "changed",
        "payload_changed",
        "unchanged",
        "deleted",
        "failed",
        "quarantined",
        "repaired",
        "embedded_texts",
        "cache_hits",
    )
    return {name: getattr(report, name) for name in names if getattr(report, name)}
