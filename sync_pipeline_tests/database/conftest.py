"""Each port of the state twice: as a fake and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.ports import (
    Breakers,
    EmbeddingCache,
    Generations,
    IndexState,
    Ledger,
    ModelCanaries,
    Quarantine,
    RunHeartbeats,
    ScopeLeases,
    ScopeStates,
    SyncRequests,
    SyncRuns,
)
from sync_pipeline.database.breakers import PostgresBreakers
from sync_pipeline.database.embedding_cache import PostgresEmbeddingCache
from sync_pipeline.database.embedding_ledger import PostgresLedger
from sync_pipeline.database.generations import PostgresGenerations
from sync_pipeline.database.index_state import PostgresIndexState
from sync_pipeline.database.model_canaries import PostgresModelCanaries
from sync_pipeline.database.quarantine import PostgresQuarantine
from sync_pipeline.database.run_heartbeats import PostgresRunHeartbeats
from sync_pipeline.database.scope_leases import PostgresScopeLeases
from sync_pipeline.database.scope_states import PostgresScopeStates
from sync_pipeline.database.sync_requests import PostgresSyncRequests
from sync_pipeline.database.sync_runs import PostgresSyncRuns
from sync_pipeline_tests.database.documents import COLLECTION
from sync_pipeline_tests.fakes.state import (
    FakeBreakers,
    FakeEmbeddingCache,
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


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.process)])
def engine_or_fake(request: pytest.FixtureRequest) -> Engine | None:
    """None asks for the fake."""
    if request.param == "fake":
        return None
    engine: Engine = request.getfixturevalue("engine")
    return engine


@pytest.fixture
def state(engine_or_fake: Engine | None) -> IndexState:
    return (
        PostgresIndexState(engine_or_fake, collection=COLLECTION)
        if engine_or_fake
        else FakeIndexState(collection=COLLECTION)
    )


@pytest.fixture
def state_of(engine_or_fake: Engine | None, state: IndexState) -> Callable[[str], IndexState]:
    """The same tables, any collection."""

    def bound(collection: str) -> IndexState:
        if isinstance(state, FakeIndexState):
            return state.bound(collection)
        assert engine_or_fake is not None
        return PostgresIndexState(engine_or_fake, collection=collection)

    return bound


@pytest.fixture
def state_of_another(state_of: Callable[[str], IndexState]) -> IndexState:
    """The same tables, another collection."""
    return state_of("another")


@pytest.fixture
def scopes(engine_or_fake: Engine | None) -> ScopeStates:
    return (
        PostgresScopeStates(engine_or_fake, collection=COLLECTION)
        if engine_or_fake
        else FakeScopeStates(collection=COLLECTION)
    )


@pytest.fixture
def scopes_of_another(engine_or_fake: Engine | None, scopes: ScopeStates) -> ScopeStates:
    """The same tables, another collection."""
    if isinstance(scopes, FakeScopeStates):
        return scopes.bound("another")
    assert engine_or_fake is not None
    return PostgresScopeStates(engine_or_fake, collection="another")


@pytest.fixture
def leases(engine_or_fake: Engine | None) -> ScopeLeases:
    return PostgresScopeLeases(engine_or_fake) if engine_or_fake else FakeScopeLeases()


@pytest.fixture
def heartbeats_of(engine_or_fake: Engine | None) -> Callable[[str], RunHeartbeats]:
    """Signs of life of processes on any machine, by its name, in one table."""
    if engine_or_fake is None:
        fake = FakeRunHeartbeats()

        def beating_as(machine: str) -> RunHeartbeats:
            fake.process = f"{machine}:1:1"
            return copy(fake)

        return beating_as
    engine = engine_or_fake
    return lambda machine: PostgresRunHeartbeats(engine, machine=machine)


@pytest.fixture
def cache(
    engine_or_fake: Engine | None, state: IndexState, generations: Generations
) -> EmbeddingCache:
    if isinstance(state, FakeIndexState):
        assert isinstance(generations, FakeGenerations)
        return FakeEmbeddingCache(state, generations=generations)
    assert engine_or_fake is not None
    return PostgresEmbeddingCache(engine_or_fake)


@pytest.fixture
def canaries(
    engine_or_fake: Engine | None, cache: EmbeddingCache, generations: Generations
) -> ModelCanaries:
    if isinstance(cache, FakeEmbeddingCache):
        assert isinstance(generations, FakeGenerations)
        return FakeModelCanaries(cache, generations)
    assert engine_or_fake is not None
    return PostgresModelCanaries(engine_or_fake)


@pytest.fixture
def quarantine(engine_or_fake: Engine | None) -> Quarantine:
    return PostgresQuarantine(engine_or_fake) if engine_or_fake else FakeQuarantine()


@pytest.fixture
def generations(engine_or_fake: Engine | None) -> Generations:
    return PostgresGenerations(engine_or_fake) if engine_or_fake else FakeGenerations()


@pytest.fixture
def requests(engine_or_fake: Engine | None) -> SyncRequests:
    return PostgresSyncRequests(engine_or_fake) if engine_or_fake else FakeSyncRequests()


@pytest.fixture
def runs(engine_or_fake: Engine | None) -> SyncRuns:
    return PostgresSyncRuns(engine_or_fake) if engine_or_fake else FakeSyncRuns()


@pytest.fixture
def ledger(engine_or_fake: Engine | None) -> Ledger:
    return PostgresLedger(engine_or_fake) if engine_or_fake else FakeLedger()


@pytest.fixture
def breakers(engine_or_fake: Engine | None) -> Breakers:
    return PostgresBreakers(engine_or_fake) if engine_or_fake else FakeBreakers()
