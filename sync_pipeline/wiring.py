"""The only module that knows all adapters: settings in, ports out.

Adapters are imported where they are chosen, so that a command pays only for
what it uses (measured: qdrant_client 0.65 s, sentence_transformers 5.4 s).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.errors import (
    BoundToOneMachineError,
    ConfigurationError,
    SyncPipelineError,
)
from sync_pipeline.core.extras import not_installed
from sync_pipeline.core.gate import GatePolicy
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import (
    Breakers,
    Embedder,
    GenerationRecord,
    Lease,
    Ledger,
    ModelCanaries,
    NoTracer,
    RateLimiter,
    RecordOrigin,
    StagingArea,
    Tracer,
    VectorStore,
)
from sync_pipeline.core.rate_limits import RateLimits
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.spending import BudgetPolicy, Purpose
from sync_pipeline.engine.canaries import as_known, settle_model
from sync_pipeline.engine.collection import OpenRecords, Records
from sync_pipeline.engine.context import SyncContext, SyncOptions, utc_now
from sync_pipeline.engine.embedders import Models, PricedEmbedder
from sync_pipeline.engine.fallback import ChainEmbedder, Link
from sync_pipeline.engine.generation import (
    Generation,
    OpenGeneration,
    bind_generation,
    with_views,
)
from sync_pipeline.engine.landing.examine import examine_landings
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.engine.metering import BookedQueries, Meter
from sync_pipeline.engine.questions.doctor import Finding, ask, examine
from sync_pipeline.log_file import log_to_file
from sync_pipeline.processes import machine_name
from sync_pipeline.redaction import redact_logs
from sync_pipeline.settings import Settings, dagster_storage_url, mask_url
from sync_pipeline.settings.landings import MongoLanding, TableLanding
from sync_pipeline.settings.providers import AnyModel, EmbeddingSettings, HashingModel, OpenAIModel
from sync_pipeline.settings.recipe import Recipe, model_recipe
from sync_pipeline.settings.urls import DAGSTER_SCHEMA, names_dagster_schema
from sync_pipeline.staging.deferred import DeferredStaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from sync_pipeline.core.described import DescribedDatabase
    from sync_pipeline.core.ports import RowSource

_log: Final = logging.getLogger(__name__)
_DEFAULT_HASHING_DIMENSION = 384
_LINGER_SECONDS = 5.0
"""How long the embedded index stays open after a lease, for the next one; less if it is wanted."""
_opened: dict[tuple[int, str, Path], Installation] = {}
"""Per process, settings and home: runs in one process share connections and the loaded model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything that one set of settings leads to."""

    settings: Settings
    sync: SyncContext
    source_engine: Engine
    state_engine: Engine
    database_url: str
    """libpq URL of the source, password included."""
    accounts: Accounts
    dagster_storage_url: str
    """Where Dagster keeps its runs, for psycopg 2, password included."""

    def migrate(self) -> list[str]:
        """Bring the state tables up to date; the revisions applied now.

        Raises:
            StateEncodingError: their database lacks characters that the source may have.
        """
        from sync_pipeline.database.migrate import migrate

        is_elsewhere = self.state_engine is not self.source_engine
        applied = migrate(
            self.state_engine,
            self.settings.state.schema_name,
            before=self._check_encoding if is_elsewhere else None,
        )
        landings = self.sync.landings
        return [*applied, *([] if landings is None else landings.prepare())]

    def doctor(self) -> list[Finding]:
        """Ask every part of the installation how it is."""
        return [
            ask("machines", self._machines),
            ask("source database", lambda: mask_url(self.database_url)),
            ask("state tables", self._state),
            *self._connections(),
            ask("Dagster's tables", self._dagster),
            *(
                [ask("traces", lambda: traces_told(self.settings))]
                if self.settings.tracing.endpoint
                else []
            ),
            *examine(self.sync),
            *examine_landings(self.sync.landings),
        ]

    def has_switched_off(self) -> bool:
        """Whether somebody has switched off anything that Dagster would start by itself."""
        from sync_pipeline.database.automation import has_switched_off

        return has_switched_off(self.dagster_storage_url)

    def _connections(self) -> list[Finding]:
        """What this process may open, against what each server allows."""
        from sync_pipeline.database.urls import describe_url

        def told(engine: Engine, most: int) -> str:
            from sync_pipeline.database.capacity import read_capacity

            return read_capacity(engine).told(most, where=describe_url(engine.url))

        both = self.state_engine is self.source_engine
        source = self.settings.source.max_connections
        findings = [ask("connections", lambda: told(self.source_engine, source))]
        if not both:
            state = self.settings.state.max_connections
            findings.append(
                ask("connections for the state", lambda: told(self.state_engine, state))
            )
        return findings

    def _machines(self) -> str:
        if self.sync.unfit is not None:
            raise self.sync.unfit
        executor = self.settings.scale.executor
        where = "on several machines" if self.settings.scale.is_on_many_machines else "on this one"
        return f"runs are executed {where}, big scopes by the executor {executor}"

    def _dagster(self) -> str:
        from sync_pipeline.database.capacity import check_dagster_storage

        url = self.dagster_storage_url
        schema = DAGSTER_SCHEMA if names_dagster_schema(url) else None
        return check_dagster_storage(url, schema=schema)

    def _check_encoding(self) -> None:
        from sync_pipeline.database.encoding import check_encoding
        from sync_pipeline.sources.encoding import read_encoding

        check_encoding(
            self.state_engine,
            self.settings.state.schema_name,
            source_encoding=lambda: read_encoding(self.source_engine),
        )

    def _state(self) -> str:
        applied = self.migrate()
        news = f", {len(applied)} revisions applied now" if applied else ""
        return f"schema {self.settings.state.schema_name} is up to date{news}"


def open_installation(
    settings: Settings, *, shares_index: bool = False, is_lasting: bool = False
) -> Installation:
    """Connect the adapters that the settings ask for, and bring the state tables up to date.

    Starts the embedded PostgreSQL where no database is configured. Opens no
    index, and loads no model but one that is new here, once, to find out whether it
    is a known one under another name. Calls with the same settings share one result per
    process.

    Args:
        settings: What to connect.
        shares_index: Whether other processes may use an embedded index through this one.
        is_lasting: Whether this process goes on to answer others, who wait.

    Raises:
        ConfigurationError: an adapter cannot be made as configured.
        SourceUnavailableError: the database cannot be reached.
    """
    redact_logs(secrets=settings.secret_values)
    _log_to_file(settings)
    key = (os.getpid(), settings.fingerprint(), settings.postgres_path)
    if key not in _opened:
        installation = _connect(settings, shares_index=shares_index, is_lasting=is_lasting)
        installation.migrate()
        sync = _with_known_model(installation.sync)
        standbys = _standbys(settings, sync, accounts=installation.accounts)
        _opened[key] = replace(installation, sync=replace(sync, standbys=standbys))
    return _opened[key]


def _log_to_file(settings: Settings) -> None:
    """Log where the settings say. Commands refuse a file that cannot be written; a run goes on."""
    if settings.logging.file is None:
        return
    try:
        named = None if settings.environment is None else settings.environment.name
        log_to_file(settings.logging.file, level=settings.logging.level, environment=named)
    except ConfigurationError as error:
        _log.warning("%s", error)


def _with_known_model(sync: SyncContext) -> SyncContext:
    """Bound to the generation of the model as it is known, if it has another name too.

    Where that cannot be found out now, questions are answered and nothing is written.
    """
    try:
        meter = sync.meter(purpose=Purpose.CANARIES)
        models = sync.models.each(lambda model: settle_model(model, sync.canaries, meter=meter))
    except SyncPipelineError as error:
        _log.warning("a model cannot be compared with the known ones now: %s", error)
        return replace(sync, unsettled=error)
    return sync if models is sync.models else sync.rebound(models=models)


def _standbys(
    settings: Settings, sync: SyncContext, *, accounts: Accounts
) -> tuple[Generation, ...]:
    """An index of its own for each fallback that is another model than that of the settings.

    A fallback that nobody has seen is compared with it once it has embedded something.
    """
    standbys: dict[str, Generation] = {}
    for model in settings.embedding.fallbacks:
        embedder = _embedder(model, accounts)
        model_id = _settled(model, embedder, sync=sync, accounts=accounts)
        if model_id in (None, sync.spec.model_id):
            continue
        embedder = as_known(embedder, sync.canaries)
        generation = bind_generation(
            alias=sync.alias,
            entities=sync.entities,
            models=Models(embedder),
            sparse=sync.sparse,
            store=sync.store,
            records=sync.records,
            model=model_recipe(model, embedder),
        )
        standbys.setdefault(generation.spec.collection, generation)
    return tuple(standbys.values())


def _settled(
    model: AnyModel, embedder: Embedder, *, sync: SyncContext, accounts: Accounts
) -> str | None:
    """Which model a fallback has; None while nobody can say, which no command waits for long."""
    main = sync.models.main
    known = sync.canaries.known_as(model_id=embedder.model_id)
    if known is not None or embedder.dimension != main.dimension:
        return known or embedder.model_id
    reference = sync.canaries.reference(model_id=main.model_id)
    if not reference or not accounts.breakers.may_ask(model.told):
        return None
    once = _embedder(model, replace(accounts, retries=Retries(attempts=1)))
    meter = sync.meter(purpose=Purpose.CANARIES)
    try:
        return settle_model(once, sync.canaries, meter=meter).model_id
    except SyncPipelineError as error:
        _log.warning("%s cannot be compared with the model now: %s", model.told, error)
        accounts.breakers.note_failure(
            model.told, error_code=type(error).__name__, error=str(error), is_lasting=True
        )
        return None


def _providers(settings: Settings) -> tuple[str, ...]:
    """Names of the providers of a chain, in its order; none where there is no chain."""
    fallbacks = settings.embedding.fallbacks
    return (settings.embedding.told, *(it.told for it in fallbacks)) if fallbacks else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownSource:
    """A source of which nobody has said yet what is in it; nothing is written there."""

    describe: Callable[[Sequence[str] | None], DescribedDatabase]
    """Look at these tables, or at all."""
    rows: RowSource
    """Reads few rows, and does not wait long."""


@contextmanager
def open_unknown_source(settings: Settings) -> Iterator[UnknownSource]:
    """Connect to the source alone, starting the embedded PostgreSQL where none is configured.

    Raises:
        ConfigurationError: not with this address.
    """
    from sync_pipeline.database.engine import make_engine
    from sync_pipeline.sources.describing import STATEMENT_SECONDS, describe_database
    from sync_pipeline.sources.postgres import PostgresRowSource

    redact_logs(secrets=settings.secret_values)
    engine = make_engine(settings.source_url or _embedded_url(settings))
    try:
        yield UnknownSource(
            describe=lambda tables: describe_database(engine, tables=tables),
            rows=PostgresRowSource(
                engine,
                statement_timeout_seconds=2 * STATEMENT_SECONDS,
                lock_timeout_seconds=STATEMENT_SECONDS,
            ),
        )
    finally:
        engine.dispose()


def stop_embedded_services(settings: Settings) -> bool:
    """Stop the embedded PostgreSQL, if these settings use it; whether they do."""
    if settings.source_url is not None and settings.state_url is not None:
        return False
    from sync_pipeline.database.embedded import stop_embedded_database

    stop_embedded_database(settings.postgres_path)
    return True


def _connect(settings: Settings, *, shares_index: bool, is_lasting: bool) -> Installation:
    from sync_pipeline.database.embedding_batches import PostgresEmbeddingBatches
    from sync_pipeline.database.embedding_cache import PostgresEmbeddingCache
    from sync_pipeline.database.embedding_rates import PostgresEmbeddingRates
    from sync_pipeline.database.engine import make_engine
    from sync_pipeline.database.generations import PostgresGenerations
    from sync_pipeline.database.index_state import PostgresIndexState
    from sync_pipeline.database.overview import PostgresOverview
    from sync_pipeline.database.quarantine import PostgresQuarantine
    from sync_pipeline.database.run_heartbeats import PostgresRunHeartbeats
    from sync_pipeline.database.scope_leases import PostgresScopeLeases
    from sync_pipeline.database.scope_states import PostgresScopeStates
    from sync_pipeline.database.sync_requests import PostgresSyncRequests
    from sync_pipeline.database.sync_runs import PostgresSyncRuns
    from sync_pipeline.database.urls import driver_url
    from sync_pipeline.embedding.bm25 import Bm25Encoder
    from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
    from sync_pipeline.sources.postgres import PostgresRowSource

    source_url = settings.source_url or _embedded_url(settings)
    state_url = settings.state_url or source_url
    source_engine = make_engine(source_url, max_connections=settings.source.max_connections)
    state_engine = (
        source_engine
        if state_url == source_url
        else make_engine(state_url, max_connections=settings.state.max_connections)
    )
    schema = settings.state.schema_name
    store = _store(settings, is_shared=shares_index)
    accounts = replace(
        _accounts(state_engine, schema, settings.budget.as_policy()),
        proofs=settings.runtimes_path,
        is_lasting=is_lasting,
    )
    named = {name: _embedder(model, accounts) for name, model in settings.embedding.models.items()}
    models = Models(
        _embedder(settings.embedding, accounts),
        {view: named[name] for view, name in settings.view_models.items()},
    )

    def records(collection: str) -> Records:
        return Records(
            state=PostgresIndexState(state_engine, schema, collection=collection),
            scopes=PostgresScopeStates(state_engine, schema, collection=collection),
            overview=PostgresOverview(state_engine, schema, collection=collection),
        )

    sync = SyncContext(
        alias=settings.index.alias,
        generation=bind_generation(
            alias=settings.index.alias,
            entities=settings.core_entities,
            models=models,
            sparse=Bm25Encoder(settings.embedding.bm25_language),
            store=store,
            records=records,
            model=model_recipe(settings.embedding, models.main),
            view_models={
                view: model_recipe(settings.embedding.models[name], models.own[view])
                for view, name in settings.view_models.items()
            },
        ),
        open_generation=_opener(settings, store=store, records=records, accounts=accounts),
        source=PostgresRowSource(
            source_engine, statement_timeout_seconds=settings.source.statement_timeout_seconds
        ),
        store=store,
        records=records,
        generations=PostgresGenerations(state_engine, schema),
        leases=PostgresScopeLeases(state_engine, schema),
        heartbeats=PostgresRunHeartbeats(state_engine, schema, machine=settings.scale.machine_name),
        cache=PostgresEmbeddingCache(state_engine, schema),
        canaries=accounts.canaries,
        batches=PostgresEmbeddingBatches(state_engine, schema),
        rates=PostgresEmbeddingRates(state_engine, schema),
        ledger=accounts.ledger,
        breakers=accounts.breakers,
        providers=_providers(settings),
        quarantine=PostgresQuarantine(state_engine, schema),
        requests=PostgresSyncRequests(state_engine, schema),
        runs=PostgresSyncRuns(state_engine, schema),
        staging=_staging(settings),
        options=_options(settings),
        fusion=settings.search.as_fusion(),
        feed=PostgresChangeFeed(source_engine, schema=schema),
        landings=_landings(settings, source_engine=source_engine, state_engine=state_engine),
        tracer=_tracer(settings),
        unfit=_why_unfit(settings),
    )
    return Installation(
        settings=settings,
        sync=sync,
        source_engine=source_engine,
        state_engine=state_engine,
        accounts=accounts,
        database_url=driver_url(source_url, "libpq"),
        dagster_storage_url=settings.dagster_url or dagster_storage_url(state_url),
    )


def _staging(settings: Settings) -> StagingArea:
    """Where steps hand over to each other; a folder of this machine is opened when it is needed."""

    def opened() -> StagingArea:
        from sync_pipeline.staging.parquet import ParquetStaging

        return ParquetStaging(settings.staging_url)

    # That nothing can open a URL is to be said at once.
    return opened() if "://" in settings.staging_url else DeferredStaging(opened)


def _landings(
    settings: Settings, *, source_engine: Engine, state_engine: Engine
) -> Landings | None:
    """Where records of other systems come from and land; None where none do.

    They land where the source is, so that one transaction holds a page and its pass.
    """
    if not settings.landings:
        return None
    from sync_pipeline.database.landing import PostgresLandings

    schema = settings.state.schema_name

    def open_origin(landing: Landing) -> RecordOrigin:
        return _origin(settings, landing, source_engine=source_engine, state_engine=state_engine)

    return Landings(
        landings=settings.core_landings,
        store=PostgresLandings(source_engine, schema),
        open_origin=open_origin,
    )


def _origin(
    settings: Settings, landing: Landing, *, source_engine: Engine, state_engine: Engine
) -> RecordOrigin:
    """The adapter of a landing's origin.

    Raises:
        ConfigurationError: what it needs is not installed.
    """
    chosen = settings.landing(landing.name)
    if isinstance(chosen, TableLanding):
        from sync_pipeline.origins.table import TableOrigin

        return TableOrigin(landing, engine=source_engine, request=chosen.as_request())
    if isinstance(chosen, MongoLanding):
        try:
            from sync_pipeline.origins.mongodb.origin import MongoOrigin
        except ModuleNotFoundError as error:
            needed_for = f"landing {landing.name!r} reads MongoDB"
            raise not_installed(needed_for, error, extra="mongodb") from error
        return MongoOrigin(
            landing,
            connection=settings.mongo_connection(chosen.connection),
            request=chosen.as_request(),
        )
    from sync_pipeline.database.rate_limits import PostgresRateLimiter
    from sync_pipeline.origins.rest.origin import RestOrigin

    connection = settings.rest_connection(chosen.connection)
    limiter = PostgresRateLimiter(
        state_engine,
        settings.state.schema_name,
        account=f"connection {connection.name} {connection.base_url}",
        limits=RateLimits(requests_per_minute=connection.requests_per_minute),
    )
    return RestOrigin(landing, connection=connection, request=chosen.as_request(), limiter=limiter)


def _tracer(settings: Settings) -> Tracer:
    """Where spans go; nowhere where nobody collects them, or what sends them is not installed."""
    tracing = settings.tracing
    if tracing.endpoint is None:
        return NoTracer()
    try:
        open_tracer = _open_tracer()
    except ConfigurationError as error:
        # The variables are OpenTelemetry's own: they may be there for another program.
        _log.warning("%s", error)
        return NoTracer()
    return open_tracer(
        endpoint=tracing.endpoint,
        service_name=tracing.service_name,
        sample_ratio=tracing.sample_ratio,
    )


def traces_told(settings: Settings) -> str:
    """Say where traces go, which somebody has set.

    Raises:
        ConfigurationError: what sends them is not installed.
    """
    _open_tracer()
    return f"sent to {settings.tracing.endpoint}"


def _open_tracer() -> Callable[..., Tracer]:
    try:
        from sync_pipeline.tracing.otlp import open_tracer
    except ModuleNotFoundError as error:
        raise not_installed("`tracing.endpoint` is set", error, extra="otel") from error
    return open_tracer


def _why_unfit(settings: Settings) -> SyncPipelineError | None:
    keys = settings.bound_to_one_machine
    if not keys:
        return None
    machine = settings.scale.machine_name or machine_name()
    return BoundToOneMachineError(keys=keys, executor=settings.scale.executor, machine=machine)


def _embedded_url(settings: Settings) -> str:
    from sync_pipeline.database.embedded import embedded_database_url

    return embedded_database_url(
        settings.postgres_path, stop_at_exit=settings.source.stop_embedded_at_exit
    )


def _store(settings: Settings, *, is_shared: bool = False) -> Lease[VectorStore]:
    folder = settings.embedded_index_path
    if folder is not None:
        from sync_pipeline.stores.edge.store import lease_edge_store

        return lease_edge_store(
            folder,
            wait_seconds=settings.index.wait_seconds,
            linger_seconds=_LINGER_SECONDS,
            is_shared=is_shared,
            options=_index_options(settings),
        )
    from sync_pipeline.stores.server.store import lease_server_store

    key = settings.index.api_key
    return lease_server_store(
        settings.index_url,
        api_key=None if key is None else key.get_secret_value(),
        allows_plain_http=settings.index.allow_plain_http,
        timeout_seconds=int(settings.index.timeout_seconds),
        options=_index_options(settings),
        cluster=settings.index.cluster.as_options(),
    )


def _index_options(settings: Settings) -> IndexOptions:
    index = settings.index
    return IndexOptions(
        vectors_on_disk=index.vectors_on_disk,
        quantization=index.quantization,
        quantization_always_ram=index.quantization_always_ram,
        quantization_rescore=index.quantization_rescore,
        quantization_oversampling=index.quantization_oversampling,
        hnsw_m=index.hnsw_m,
        hnsw_ef_construct=index.hnsw_ef_construct,
        hnsw_ef=index.hnsw_ef,
        hnsw_on_disk=index.hnsw_on_disk,
    )


@dataclass(frozen=True, slots=True)
class Accounts:
    """What those who embed need, most of it shared by all processes of an installation."""

    ledger: Ledger
    """Where calls are booked."""
    limiter: Callable[[OpenAIModel], RateLimiter]
    """Who says when a service may be asked."""
    breakers: Breakers
    """Who is asked at all."""
    canaries: ModelCanaries
    """What the vectors of models are."""
    budgets: BudgetPolicy
    """What embedding may cost."""
    retries: Retries = Retries()  # noqa: RUF009 - frozen
    """How often a service is asked that does not answer."""
    proofs: Path | None = None
    """Folder of what is known about runtimes on this machine."""
    is_lasting: bool = False
    """Whether this process goes on to answer others, who wait."""

    @property
    def meter(self) -> Meter:
        """What books the comparisons of providers."""
        return Meter(ledger=self.ledger, policy=self.budgets, now=utc_now, purpose=Purpose.CANARIES)


def _accounts(engine: Engine, schema: str, budgets: BudgetPolicy) -> Accounts:
    from sync_pipeline.database.breakers import PostgresBreakers
    from sync_pipeline.database.embedding_ledger import PostgresLedger
    from sync_pipeline.database.model_canaries import PostgresModelCanaries
    from sync_pipeline.database.rate_limits import PostgresRateLimiter

    def limiter(model: OpenAIModel) -> RateLimiter:
        return PostgresRateLimiter(engine, schema, account=_account(model), limits=_limits(model))

    return Accounts(
        ledger=PostgresLedger(engine, schema),
        limiter=limiter,
        breakers=PostgresBreakers(engine, schema),
        canaries=PostgresModelCanaries(engine, schema),
        budgets=budgets,
    )


def _limits(model: OpenAIModel) -> RateLimits:
    return RateLimits(
        requests_per_minute=model.requests_per_minute, tokens_per_minute=model.tokens_per_minute
    )


def _account(model: OpenAIModel) -> str:
    """Whose limits they are: service, model and, unreadable, the key."""
    key = "" if model.api_key is None else model.api_key.get_secret_value()
    return f"{model.base_url or 'openai'} {model.model} {digest('rate limit', key)[:16]}"


def _embedder(embedding: AnyModel, accounts: Accounts) -> Embedder:
    """A model, or a chain of providers that may give its vectors, whose searches are booked."""
    embedder = _priced(embedding, accounts)
    links = [Link(embedding.told, embedder)]
    if isinstance(embedding, EmbeddingSettings):
        links += _links(embedding.fallbacks, of=embedder, accounts=accounts)
    if len(links) > 1:
        embedder = ChainEmbedder(
            links, breakers=accounts.breakers, canaries=accounts.canaries, meter=accounts.meter
        )
    if not embedder.tariff.is_limited:
        return embedder
    return BookedQueries(embedder, ledger=accounts.ledger, now=utc_now)


def _links(fallbacks: Sequence[AnyModel], *, of: Embedder, accounts: Accounts) -> list[Link]:
    """Fallbacks that may give the vectors of a model: the chain compares them before it asks."""
    links = [Link(model.told, _priced(model, accounts)) for model in fallbacks]
    return [link for link in links if link.embedder.dimension == of.dimension]


def _priced(embedding: AnyModel, accounts: Accounts) -> Embedder:
    embedder = _unpriced(embedding, accounts)
    price = embedding.price_per_million_tokens
    if price is None:
        return embedder
    tariff = replace(embedder.tariff, price_per_million_tokens=Decimal(str(price)))
    return PricedEmbedder(embedder, tariff=tariff)


def _unpriced(embedding: AnyModel, accounts: Accounts) -> Embedder:
    if isinstance(embedding, HashingModel):
        from sync_pipeline.embedding.hashing import HashingEmbedder

        return HashingEmbedder(dimension=embedding.dimension or _DEFAULT_HASHING_DIMENSION)
    if isinstance(embedding, OpenAIModel):
        from sync_pipeline.embedding.openai import OpenAIEmbedder

        return OpenAIEmbedder(
            model=embedding.model,
            dimension=embedding.dimension,
            base_url=embedding.base_url,
            api_key=None if embedding.api_key is None else embedding.api_key.get_secret_value(),
            allows_plain_http=embedding.allow_plain_http,
            revision=embedding.revision,
            query_prompt=embedding.query_prompt,
            document_prompt=embedding.document_prompt,
            query_fields=embedding.query_fields,
            document_fields=embedding.document_fields,
            encoding_format=embedding.encoding_format,
            shorten=embedding.reduce_dimension,
            max_batch=embedding.batch_size,
            concurrency=embedding.concurrency,
            tokens_per_minute=embedding.tokens_per_minute,
            timeout_seconds=embedding.timeout_seconds,
            batch_from_texts=embedding.batch_from_texts,
            limiter=accounts.limiter(embedding),
            retries=accounts.retries,
        )
    from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(
        model=embedding.model,
        revision=embedding.revision,
        dtype=embedding.dtype,
        device=embedding.device,
        runtime=embedding.runtime,
        is_lasting=accounts.is_lasting,
        proofs=accounts.proofs,
        batch_size=embedding.batch_size,
        query_prompt=embedding.query_prompt,
        document_prompt=embedding.document_prompt,
    )


def _opener(
    settings: Settings,
    *,
    store: Lease[VectorStore],
    records: OpenRecords,
    accounts: Accounts,
) -> OpenGeneration:
    """Open recorded generations, each once per process: their models are loaded once."""
    opened: dict[str, Generation] = {}

    def open_generation(record: GenerationRecord) -> Generation | None:
        if record.collection not in opened:
            generation = _open_recorded(
                settings,
                record,
                store=store,
                records=records,
                accounts=accounts,
            )
            if generation is None or generation.spec.collection != record.collection:
                return None
            opened[record.collection] = generation
        return opened[record.collection]

    return open_generation


def _open_recorded(
    settings: Settings,
    record: GenerationRecord,
    *,
    store: Lease[VectorStore],
    records: OpenRecords,
    accounts: Accounts,
) -> Generation | None:
    """What a recorded collection was made with; None where that cannot be told or is gone."""
    from sync_pipeline.embedding.bm25 import Bm25Encoder

    try:
        recipe = Recipe.of(record, settings=settings)
        own = {view: _embedder(model, accounts) for view, model in recipe.view_models.items()}
        models = Models(_embedder(recipe.embedding, accounts), own).each(
            lambda model: as_known(model, accounts.canaries)
        )
        return bind_generation(
            alias=record.alias,
            entities=with_views(settings.core_entities, recipe.views, recipe.long_views),
            models=models,
            sparse=Bm25Encoder(recipe.embedding.bm25_language),
            store=store,
            records=records,
            model=model_recipe(recipe.embedding, models.main),
            view_models={
                view: model_recipe(model, models.own[view])
                for view, model in recipe.view_models.items()
            },
        )
    except SyncPipelineError as error:
        _log.warning(
            "the generation %s cannot be searched or kept in step: %s", record.collection, error
        )
        return None


def _options(settings: Settings) -> SyncOptions:
    limits = settings.sync
    return SyncOptions(
        upsert_batch_size=limits.upsert_batch_size,
        delete_batch_size=limits.delete_batch_size,
        cleanup=CleanupPolicy(
            max_deleted_fraction=limits.max_deleted_fraction,
            min_deletions_guarded=limits.min_deletions_guarded,
        ),
        lease_ttl_seconds=limits.lease_ttl_seconds,
        part_rows=limits.part_rows,
        part_texts=settings.embedding.part_texts,
        fan_out_texts=settings.embedding.fan_out_texts,
        embed_chunk_size=limits.embed_chunk_size,
        max_quarantined_fraction=limits.max_quarantined_fraction,
        shares_cache=settings.embedding.cache_scope == "shared",
        incremental_overlap_seconds=limits.incremental_overlap_seconds,
        full_every_seconds=limits.full_every_hours * 3600,
        gate=GatePolicy(
            min_found=settings.index.min_known_found,
            min_overlap=settings.index.min_exact_overlap,
            queries=settings.index.gate_queries,
            max_ndcg_loss=settings.index.max_ndcg_loss,
        ),
        keep_generations_seconds=settings.index.keep_previous_days * 86_400,
        run_order=settings.scopes.as_run_order(),
        budgets=settings.budget.as_policy(),
        groups=replace(
            settings.schedule.as_group_policy(),
            big_rows=settings.scale.big_rows,
            one_at_a_time=settings.embedded_index_path is not None,
        ),
    )
