"""An installation of fakes, and an orchestrator that calls the engine itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, cast

from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from sync_pipeline.__main__ import _tokens
from sync_pipeline.cli.invocation import Surroundings
from sync_pipeline.cli.main import app
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import RateLimitedError, StoppedError, SyncPipelineError
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.ports import Embedder, GenerationRecord, Progress, StopSignal
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.collection import Records
from sync_pipeline.engine.context import RunOptions, SyncContext
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.generation import Generation, bind_generation
from sync_pipeline.engine.landing.context import LandingContext
from sync_pipeline.engine.landing.land import LandRequest, land
from sync_pipeline.engine.questions.doctor import Finding
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.engine.switching import go_live_when_filled
from sync_pipeline.operations.ports import DagsterProgram
from sync_pipeline.settings import Settings
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.staging.parquet import ParquetStaging
from sync_pipeline.wiring import Installation
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
)
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore
from sync_pipeline_tests.landing.installed import landed, landing_settings
from sync_pipeline_tests.landing.site import LandingSite

ENTITIES = (
    Entity(
        name="material",
        table="materials",
        views=(("text", ("name",)),),
        payload=(("unit", "unit"), ("code", "code")),
    ),
    Entity(name="work", table="works", views=(("text", ("name",)),)),
)


def row(
    row_id: str, name: str | None, *, tenant: str | None = None, unit: str = "kg", code: int = 1
) -> Row:
    return {
        "id": row_id,
        "tenant_id": tenant,
        "is_global": tenant is None,
        "name": name,
        "unit": unit,
        "code": code,
    }


def catalogue() -> dict[str, list[Row]]:
    """Two global rows, two of ``acme``, three of ``globex`` of which one has no text."""
    return {
        "materials": [
            row("g1", "gypsum plaster"),
            row("a1", "charred larch cladding", tenant="acme", unit="m2"),
            row("b1", "solar panel", tenant="globex", unit="pcs", code=7),
            row("b2", "copper cable", tenant="globex"),
            row("b3", None, tenant="globex"),
        ],
        "works": [row("g2", "laying of tiles"), row("a2", "facade cladding", tenant="acme")],
    }


class FakeOrchestrator:
    """Syncs scope by scope in this process, and lands one by one, without any history."""

    def __init__(self, sync: SyncContext) -> None:
        self._sync = sync
        self.forgotten: list[str] = []
        self.dev_addresses: list[tuple[str, int]] = []
        self.worked: list[tuple[list[str], int]] = []
        self.became: list[tuple[DagsterProgram, tuple[str, ...], bool]] = []

    def run_scopes(
        self,
        settings: Settings,
        scopes: Sequence[Scope],
        *,
        options: RunOptions,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[ScopeReport], None],
    ) -> list[ScopeReport]:
        limits = self._sync.options
        policy = replace(limits.cleanup, approved_deletions=options.approve_deletions)
        if options.max_deleted_fraction is not None:
            policy = replace(policy, max_deleted_fraction=options.max_deleted_fraction)
        limits = replace(limits, cleanup=policy)
        sync = replace(self._sync, options=limits, progress=progress, should_stop=should_stop)
        reports = []
        for number, scope in enumerate(scopes):
            run_id = f"run-{number}"
            reports.append(self._run(sync, scope=scope, run_id=run_id, options=options))
            on_report(reports[-1])
        return reports

    def run_landings(
        self,
        settings: Settings,
        names: Sequence[str],
        *,
        request: LandRequest,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[LandingReport], None],
    ) -> list[LandingReport]:
        sync = replace(self._sync, progress=progress, should_stop=should_stop)
        reports = []
        for number, name in enumerate(names):
            report = self._land(sync, name, request=request)
            reports.append(replace(report, run_id=f"run-{number}"))
            on_report(reports[-1])
        return reports

    def examine_automation(self, settings: Settings) -> Finding:
        return Finding(name="schedules, sensors", ok=False, detail="off", fix="Switch it on")

    def forget_scope(self, settings: Settings, scope: Scope) -> None:
        self.forgotten.append(scope.key)

    def run_dev(self, settings: Settings, *, host: str, port: int, is_behind_proxy: bool) -> int:
        self.dev_addresses.append((host, port))
        return 0

    def run_workers(self, settings: Settings, *, queues: Sequence[str], concurrency: int) -> int:
        self.worked.append(([*queues], concurrency))
        return 0

    def become_dagster(
        self,
        settings: Settings,
        *,
        program: DagsterProgram,
        arguments: Sequence[str],
        is_behind_proxy: bool,
    ) -> NoReturn:
        self.became.append((program, tuple(arguments), is_behind_proxy))
        raise SystemExit(0)

    def _land(self, sync: SyncContext, name: str, *, request: LandRequest) -> LandingReport:
        assert sync.landings is not None
        if sync.should_stop():
            return LandingReport(name=name, mode=request.mode, status="stopped", error="not begun")
        context = LandingContext.of(sync.landings, sync)
        landing = sync.landings.landing(name)
        try:
            return land(context, landing, request=request, owner="land")
        except SyncPipelineError as error:
            failed = LandingReport(name=name, mode=request.mode, error=str(error), status="failed")
            if isinstance(error, StoppedError):
                return replace(failed, status="stopped")
            if isinstance(error, RateLimitedError):
                return replace(failed, status="deferred")
            return failed

    def _run(
        self, sync: SyncContext, *, scope: Scope, run_id: str, options: RunOptions
    ) -> ScopeReport:
        if sync.should_stop():
            return ScopeReport(scope_key=scope.key, status="skipped", error="asked to stop")
        try:
            planned = options.change_digests.get(scope.key)
            report = sync_scope(
                sync, scope=scope, run_id=run_id, mode=options.mode, planned=planned
            )
            switched = go_live_when_filled(sync)
            return report if switched is None else switched.noted(report)
        except SyncPipelineError as error:
            return ScopeReport(
                scope_key=scope.key, status="failed", run_id=run_id, error=str(error)
            )


@dataclass
class FakeInstallation:
    """Looks like ``wiring.Installation``."""

    sync: SyncContext
    source_engine: Engine | None = None
    database_url: str = "postgresql://somebody:secret@localhost/shop"
    applied: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    is_something_off: bool = False

    def migrate(self) -> list[str]:
        return self.applied

    def doctor(self) -> list[Finding]:
        return self.findings

    def has_switched_off(self) -> bool:
        return self.is_something_off


class CommandLine:
    """The program with fakes around it; call it with the words of a command."""

    def __init__(self, staging: Path) -> None:
        self.source = FakeRowSource(catalogue())
        self.store = FakeVectorStore()
        state, scopes, leases = FakeIndexState(), FakeScopeStates(), FakeScopeLeases()
        quarantine, runs, generations = FakeQuarantine(), FakeSyncRuns(), FakeGenerations()
        cache = FakeEmbeddingCache(state, generations=generations)

        def records(collection: str) -> Records:
            bound = state.bound(collection), scopes.bound(collection)
            overview = FakeOverview(
                state=bound[0], scopes=bound[1], leases=leases, quarantine=quarantine, runs=runs
            )
            return Records(state=bound[0], scopes=bound[1], overview=overview)

        self.sync = SyncContext(
            alias="documents",
            generation=bind_generation(
                alias="documents",
                entities=ENTITIES,
                models=Models(HashingEmbedder(dimension=64)),
                sparse=Bm25Encoder(),
                store=self.store.lease,
                records=records,
            ),
            source=self.source,
            store=self.store.lease,
            records=records,
            generations=generations,
            leases=leases,
            heartbeats=FakeRunHeartbeats(),
            cache=cache,
            canaries=FakeModelCanaries(cache, generations),
            rates=FakeEmbeddingRates(),
            ledger=FakeLedger(),
            breakers=FakeBreakers(),
            quarantine=quarantine,
            requests=FakeSyncRequests(),
            runs=runs,
            staging=ParquetStaging(str(staging)),
        )
        self.installation = FakeInstallation(self.sync)
        self.orchestrator = FakeOrchestrator(self.sync)
        self.settings = Settings()
        self.configs: list[Path | None] = []
        self.assisted: list[str] = []
        self.environment: dict[str, str] = {}

    def __call__(self, *words: str) -> Result:
        surroundings = Surroundings(
            orchestrator=lambda: self.orchestrator,
            service=lambda: self.serve,
            assistant=lambda: self.assist,
            tokens=_tokens,
            environment=self.environment,
            settings=self._load,
            installation=lambda _settings: cast(Installation, self.installation),
        )
        return CliRunner().invoke(app, list(words), obj=surroundings, catch_exceptions=False)

    def serve(
        self, settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]
    ) -> int:
        """Stand in for the service: tells where it would be."""
        # The service's libraries take two seconds to import.
        from sync_pipeline.service.app import require_safe_address  # noqa: PLC0415

        require_safe_address(settings.service, host=host)
        on_ready(f"http://{host}:{port}")
        return 0

    def assist(self, settings: Settings, *, scope: Scope, on_ready: Callable[[], None]) -> None:
        """Stand in for the protocol: notes as whom an assistant would ask."""
        on_ready()
        self.assisted.append(scope.key)

    def use(self, sync: SyncContext) -> None:
        """Go on with another context, as settings that were changed do."""
        self.sync = sync
        self.installation = FakeInstallation(self.sync)
        self.orchestrator = FakeOrchestrator(self.sync)

    def read_from(self, engine: Engine, *, embedder: Embedder) -> None:
        """Take the tables of a database, with the default entities, as the source."""
        self.sync = replace(
            self.sync.rebound(entities=self.settings.core_entities, embedder=embedder),
            source=PostgresRowSource(engine),
        )
        self.installation = FakeInstallation(self.sync, source_engine=engine)
        self.orchestrator = FakeOrchestrator(self.sync)

    def land_from(self, *sites: LandingSite) -> None:
        """Let records of these sites land, and have settings that say so."""
        self.use(landed(self.sync, *sites))
        self.settings = landing_settings(*(site.landing.name for site in sites))

    def documents(self) -> set[str]:
        """Ids of the documents in the index."""
        points = self.store.points(self.sync.spec.collection).values()
        return {str(point.payload["document_id"]) for point in points}

    def _load(self, config: Path | None, *, environment: str | None = None) -> Settings:
        self.configs.append(config)
        if environment is None:
            return self.settings
        return self.settings.located(NamedEnvironment(name=environment))


def use_dimension(run: CommandLine, dimension: int) -> None:
    """Let the settings name another model; that of 64 dimensions can still be opened."""
    sync = run.sync.rebound(embedder=HashingEmbedder(dimension=dimension))

    def open_generation(record: GenerationRecord) -> Generation | None:
        known = int(record.model_id.split("-")[1])
        return sync.rebound(embedder=HashingEmbedder(dimension=known)).generation

    run.use(replace(sync, open_generation=open_generation))
