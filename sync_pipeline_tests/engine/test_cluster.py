"""Syncs and verifications over copies of which one lags: they do not change their mind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace

import pytest

from sync_pipeline.core.cluster_options import ClusterOptions
from sync_pipeline.core.errors import StoreUnavailableError, SyncPipelineError
from sync_pipeline.core.scope import Scope
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.generation import bind_generation
from sync_pipeline.engine.questions.doctor import Finding, examine
from sync_pipeline.engine.questions.verify import Verification, verify_scope
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.engine.world import World, counts
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub

pytestmark = pytest.mark.process

ACME = Scope("acme")
LOOKS = 8
"""So often a copy is chosen by chance at least, that a careless reader sees the one that lags."""


@pytest.fixture(params=[pytest.param(2, id="two copies"), pytest.param(3, id="three copies")])
def stub(request: pytest.FixtureRequest) -> Iterator[QdrantStub]:
    with running_stub(replicas=request.param) as running:
        yield running


@pytest.fixture
def three() -> Iterator[QdrantStub]:
    with running_stub(replicas=3) as running:
        yield running


def context(world: World, stub: QdrantStub, options: ClusterOptions | None) -> SyncContext:
    lease = lease_server_store(stub.url, api_key=None, sleep=lambda _: None, cluster=options)
    return world.sync.rebound(store=lease)


def careful(world: World, stub: QdrantStub) -> SyncContext:
    """As the settings of this cluster are."""
    return context(world, stub, ClusterOptions(replication_factor=len(stub.replicas.clients)))


def looks(sync: SyncContext) -> set[tuple[int, ...]]:
    """What several verifications in a row say."""

    def told(verified: Verification) -> tuple[int, ...]:
        return tuple(it for it in astuple(verified) if isinstance(it, int))

    return {told(verify_scope(sync, scope=ACME)) for _ in range(LOOKS)}


def fill(world: World, stub: QdrantStub) -> None:
    """Forty documents, the same on every copy."""
    world.put_many(*map(str, range(40)))
    world.run(sync=careful(world, stub))


def test_a_copy_that_lags_changes_neither_a_verification_nor_a_full_sync(
    world: World, three: QdrantStub
) -> None:
    fill(world, three)
    three.replicas.lag(1)
    world.put_many(*map(str, range(40, 60)))
    world.put_many("1", "2", "3", name="gravel")
    world.remove("7", "8")
    sync = careful(world, three)
    world.run(sync=sync)

    assert looks(sync) == {(58, 58, 58, 0, 0, 0, 0)}
    for _ in range(3):
        assert counts(world.run(sync=sync)) == {"unchanged": 58}


def test_without_agreement_it_does(world: World, three: QdrantStub) -> None:
    fill(world, three)
    three.replicas.lag(1)
    world.put_many(*map(str, range(40, 60)))
    world.put_many("1", "2", "3", name="gravel")
    world.remove("7", "8")
    world.run(sync=careful(world, three))
    careless = context(world, three, None)

    assert len(looks(careless)) > 1
    assert {_outcome(world, careless) for _ in range(LOOKS)} != {"nothing to do"}


def _outcome(world: World, sync: SyncContext) -> str:
    try:
        report = counts(world.run(sync=sync))
    except SyncPipelineError as error:
        return type(error).__name__
    return "nothing to do" if report.keys() == {"unchanged"} else "something to do"


def test_a_write_that_not_enough_copies_have_fails_the_sync_until_they_do(
    world: World, stub: QdrantStub
) -> None:
    fill(world, stub)
    others = range(1, len(stub.replicas.clients))
    stub.replicas.lag(*others)
    world.put_many(*map(str, range(40, 60)))
    sync = careful(world, stub)

    with pytest.raises(StoreUnavailableError, match="shards failed to apply operation"):
        world.run(sync=sync)

    assert len(world.recorded("acme")) == 40
    # 20 are on one copy alone: who compares sees none of them, and says so every time.
    assert looks(sync) == {(60, 40, 40, 20, 0, 0, 0)}
    assert len(looks(context(world, stub, None))) > 1

    stub.replicas.catch_up()
    world.run(sync=sync)
    assert looks(sync) == {(60, 60, 60, 0, 0, 0, 0)}
    assert len(world.recorded("acme")) == 60


def test_doctor_says_how_the_index_lies_and_what_takes_a_rebuild(
    world: World, three: QdrantStub
) -> None:
    def layout(options: ClusterOptions) -> Finding:
        found = {it.name: it for it in examine(context(world, three, options))}
        return found["index layout"]

    world.put("1")
    made = ClusterOptions(shard_number=6, replication_factor=3)
    world.run(sync=context(world, three, made))

    assert layout(made).ok
    assert layout(made).detail.startswith("6 shards of 3 copies; writes are confirmed by 2")
    other = layout(ClusterOptions(shard_number=12, replication_factor=3))
    assert not other.ok
    assert "has 6 shards, and `index.cluster.shard_number` is 12" in other.detail
    assert "sync-pipeline index rebuild" in other.fix


def test_another_number_of_shards_is_filled_beside_the_one_that_serves(
    world: World, three: QdrantStub
) -> None:
    serving = context(world, three, ClusterOptions(shard_number=6, replication_factor=3))
    world.put_many(*map(str, range(40)))
    world.run(sync=serving)
    texts = len(world.cache.vectors)
    other = context(world, three, ClusterOptions(shard_number=12, replication_factor=3))
    generation = bind_generation(
        alias="documents_12",
        entities=world.entities,
        models=Models(world.embedder),
        sparse=Bm25Encoder("english"),
        store=other.store,
        records=world.records,
    )
    beside = replace(other, alias="documents_12", generation=generation)

    report = counts(world.run(sync=beside))

    assert report == {"new": 40, "cache_hits": 40}
    assert len(world.cache.vectors) == texts
    assert looks(beside) == looks(serving) == {(40, 40, 40, 0, 0, 0, 0)}
    with beside.store() as store:
        target = store.alias_target("documents_12")
        assert target == beside.spec.collection != serving.spec.collection
        assert store.alias_target("documents") == serving.spec.collection
        assert store.check_layout(str(target)).startswith("12 shards of 3 copies")


def test_doctor_says_nothing_of_that_where_there_is_one_place_only(world: World) -> None:
    world.put("1")
    world.run()

    assert "index layout" not in {finding.name for finding in examine(world.sync)}
