"""What is embedded and searched while no provider of the model can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import NoProviderError, TransientError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.generations import generation_statuses
from sync_pipeline.engine.questions.search import (
    SearchRequest,
    SearchResult,
    Sharing,
    search,
    search_batch,
)
from sync_pipeline.engine.roles import beside
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

ACME = Scope("acme")


class Unreachable(FakeEmbedder):
    """A model of which no provider may be reachable."""

    def __init__(self, model_id: str = "fake-embedder") -> None:
        super().__init__(model_id=model_id)
        self.is_down = False
        self.error: Exception = NoProviderError(providers=["a", "b"], reasons=["gone", "gone"])

    def embed(self, texts: Sequence[str]) -> Embedded:
        self._fail()
        return super().embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        self._fail()
        return super().embed_queries(texts)

    def _fail(self) -> None:
        if self.is_down:
            raise self.error


@pytest.fixture
def world() -> World:
    world = World(embedder=Unreachable())
    world.put_many("1", "2", "3")
    return world


def switch_off(world: World) -> None:
    assert isinstance(world.embedder, Unreachable)
    world.embedder.is_down = True


def switch_on(world: World) -> None:
    assert isinstance(world.embedder, Unreachable)
    world.embedder.is_down = False


def ask(world: World, *, mode: str = "hybrid") -> SearchResult:
    return search(world.sync, scope=ACME, request=SearchRequest(text="cement", mode=mode))  # type: ignore[arg-type]  # a mode


def test_documents_wait_are_found_by_words_and_are_caught_up(world: World) -> None:
    world.run()
    world.put("4", name="gravel")
    switch_off(world)

    waiting = world.run()

    assert (waiting.pending, waiting.failed, waiting.unchanged) == (1, 0, 3)
    assert "none of 2 providers of embeddings can be asked now: gone; gone" in str(waiting.note)
    found = search(world.sync, scope=ACME, request=SearchRequest(text="gravel"))
    assert [hit.payload["dbId"] for hit in found.hits] == ["4"]
    switch_on(world)
    caught_up = world.run()
    assert (caught_up.embedded_texts, caught_up.pending) == (1, 0)
    assert world.is_clean()


def test_a_provider_that_is_gone_is_asked_once_per_run(world: World) -> None:
    world.embedder.max_batch = 1
    switch_off(world)

    report = world.run()

    assert report.pending == 3
    assert world.embedder.calls == 0


def test_a_search_without_provider_goes_by_words_and_says_so(world: World) -> None:
    world.run()
    assert ask(world).degraded is None
    switch_off(world)

    found = ask(world)

    assert len(found.hits) == 3
    assert found.degraded == (
        "searched by words alone: none of 2 providers of embeddings can be asked now"
    )
    assert len(ask(world, mode="dense").hits) == 3
    assert ask(world, mode="text").degraded is None


def test_a_model_that_stands_by_has_an_index_of_its_own_that_is_kept_in_step(world: World) -> None:
    world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]
    world.run()
    world.put("4", name="gravel")
    world.run()

    (standby,) = beside(world.sync)
    collection = standby.spec.collection
    roles = {it.collection: it.role for it in generation_statuses(world.sync)}
    assert roles == {world.collection: "serving", collection: "standby"}

    assert collection != world.collection
    assert world.serves == world.collection
    assert sorted(world.standby_models[0].embedded) == sorted(world.embedder.embedded)
    with standby.index() as index:
        assert index.count() == 4
    vectors = [vector for point in world.points.values() for vector in point.vectors.values()]
    assert {vector.shape for vector in vectors} == {(16,)}


def test_a_search_falls_back_on_the_model_that_stands_by(world: World) -> None:
    world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]
    world.run()
    world.run("global")
    switch_off(world)

    found = ask(world, mode="dense")

    assert len(found.hits) == 3
    assert found.degraded == (
        "searched with the model other, which stands by: none of 2 providers of embeddings can be "
        "asked now"
    )
    assert world.standby_models[0].queries == ["cement"]


def test_each_index_that_is_asked_is_asked_in_a_turn_of_its_own(world: World) -> None:
    world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]
    world.run()
    world.run("global")
    switch_off(world)
    turns: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        turns.append("taken")
        if len(turns) == 1:
            raise TransientError("the index is busy")
        yield

    (found,) = search_batch(
        world.sync,
        scope=ACME,
        requests=[SearchRequest(text="cement")],
        sharing=Sharing(turn=turn),
    )

    assert turns == ["taken", "taken"]
    assert len(found.hits) == 3
    assert str(found.degraded).startswith("searched by words alone")


def test_an_index_that_stands_by_and_is_not_filled_is_not_searched(world: World) -> None:
    world.run()
    world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]
    switch_off(world)

    assert str(ask(world).degraded).startswith("searched by words alone")


def test_a_scope_is_due_until_what_stands_by_is_filled(world: World) -> None:
    world.run()
    (before,) = judge_scopes(world.sync, scopes=[ACME])
    world.standby_models = [FakeEmbedder(model_id="other", dimension=8)]

    (new,) = judge_scopes(world.sync, scopes=[ACME])
    world.run()
    (after,) = judge_scopes(world.sync, scopes=[ACME])

    assert [before.is_due, new.is_due, after.is_due] == [False, True, False]


def test_a_model_that_stands_by_and_fails_keeps_nobody_else_from_being_synced(
    world: World,
) -> None:
    broken = Unreachable(model_id="other")
    broken.is_down, broken.error = True, TransientError("no answer")
    world.standby_models = [broken]

    report = world.run()

    assert (report.embedded_texts, report.failed, report.pending) == (3, 0, 0)
    assert world.is_clean()


def test_vectors_without_meaning_are_called_so(world: World) -> None:
    world.standby_models = [FakeEmbedder(model_id="hashing-8-v1", dimension=8)]
    world.run()
    world.run("global")
    sync = world.sync
    standbys = tuple(replace(it, model={"provider": "hashing"}) for it in sync.standbys)
    switch_off(world)

    found = search(
        replace(sync, standbys=standbys), scope=ACME, request=SearchRequest(text="cement")
    )

    assert str(found.degraded).startswith(
        "searched with vectors without meaning of hashing-8-v1, which stands by"
    )
