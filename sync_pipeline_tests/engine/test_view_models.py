"""Views with a model of their own: another length of vectors, another cache, another search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sync_pipeline.core.errors import ConfigurationError, ModelChangedError
from sync_pipeline.core.hashing import embed_hasher
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.cache import cache_report
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.removal.cache import prune_model
from sync_pipeline.engine.removal.offboard import offboard_tenant
from sync_pipeline_tests.engine.world import MATERIAL, UNGUARDED, World
from sync_pipeline_tests.fakes.embedder import POISON, FakeEmbedder

ITEM = replace(MATERIAL, views=(("title", ("name",)), ("unit", ("unit",))))
ACME = Scope("acme")
NAME = "tenant-material-a1"


@pytest.fixture
def world() -> World:
    own = FakeEmbedder(model_id="titles", dimension=8)
    world = World(entities=(ITEM,), own_models={"title": own})
    world.set_options(cleanup=UNGUARDED)
    world.put("a1", name="Portland cement", unit="bag")
    world.put("a2", name="Gypsum board", unit="sheet")
    return world


@pytest.fixture
def titles(world: World) -> FakeEmbedder:
    return world.own_models["title"]


def ask(world: World, text: str, *, views: Sequence[str] = ()) -> list[str]:
    request = SearchRequest(text=text, views=tuple(views), mode="dense")
    return [hit.document_id for hit in search(world.sync, scope=ACME, request=request).hits]


def test_each_model_embeds_the_texts_of_its_own_views(world: World, titles: FakeEmbedder) -> None:
    report = world.run()

    assert sorted(titles.embedded) == ["Gypsum board", "Portland cement"]
    assert sorted(world.embedder.embedded) == ["bag", "sheet"]
    assert (report.texts, report.embedded_texts) == (4, 4)
    vectors = world.points[NAME].vectors
    assert np.array_equal(vectors["title"], titles.vector("Portland cement"))
    assert np.array_equal(vectors["unit"], world.embedder.vector("bag"))


def test_the_same_text_in_views_of_two_models_has_two_vectors(
    world: World, titles: FakeEmbedder
) -> None:
    world.put("a1", name="cement", unit="cement")

    world.run()

    assert "cement" in titles.embedded
    assert "cement" in world.embedder.embedded
    hashes = world.points[NAME].payload["embed_hash"]
    assert hashes == {
        "title": embed_hasher("titles")("cement"),
        "unit": embed_hasher("fake-embedder")("cement"),
    }


def test_each_view_is_searched_with_its_own_model(world: World, titles: FakeEmbedder) -> None:
    world.run()

    assert ask(world, "Gypsum board", views=["title"])[0] == "tenant-material-a2"
    assert world.embedder.queries == []
    assert ask(world, "bag", views=["unit"])[0] == NAME
    assert titles.queries == ["Gypsum board"]
    assert len(ask(world, "bag")) == 2


def test_another_model_of_one_view_is_another_index_and_embeds_that_view_alone(
    world: World, titles: FakeEmbedder
) -> None:
    world.run()
    before = world.collection
    newer = FakeEmbedder(model_id="better titles", dimension=12)
    world.own_models = {"title": newer}
    world.embedder.embedded.clear()
    titles.embedded.clear()

    plan = plan_scope(world.sync, scope=ACME)
    world.run()

    assert world.collection != before
    assert plan.texts_to_embed == 2
    assert (len(newer.embedded), world.embedder.embedded, titles.embedded) == (2, [], [])


def test_one_model_under_two_views_is_one(world: World) -> None:
    world.own_models = {"title": world.embedder}
    world.put("a1", name="cement", unit="cement")
    world.put("a2", name="cement", unit="cement")

    world.run()

    assert world.embedder.embedded == ["cement"]
    assert world.sync.spec.special == ()


def test_a_view_that_its_model_refuses_leaves_the_other(world: World, titles: FakeEmbedder) -> None:
    world.put("a1", name=f"{POISON} cement")

    report = world.run()

    assert report.failed == 1
    assert world.points[NAME].vectors.keys() == {"unit"}
    assert POISON not in "".join(titles.embedded)


def test_each_model_is_compared_with_what_it_gave_before(
    world: World, titles: FakeEmbedder
) -> None:
    world.run()
    other = FakeEmbedder(model_id="titles", dimension=8)
    drifted = FakeEmbedder(model_id="somebody else", dimension=8)
    other.vector = drifted.vector  # type: ignore[method-assign]  # another model behind the name
    world.own_models = {"title": other}
    world.put("a1", name="something new", unit="bag")

    with pytest.raises(ModelChangedError, match="titles"):
        world.run()

    assert len(titles.canaries) > 4


def test_checks_and_the_cache_know_both_models(world: World) -> None:
    world.run()

    results = {it.claim: it for it in check_scope(world.sync, scope=ACME, seed="1")}
    report = cache_report(world.sync)

    assert all(result.passed for result in results.values()), results
    assert {model.model_id: model.in_settings for model in report.models} == {
        "fake-embedder": True,
        "titles": True,
    }
    assert (report.texts, report.cached) == (4, 4)
    assert all(model.collections == (world.collection,) for model in report.models)


def test_the_vectors_of_a_views_model_are_not_forgotten_while_it_is_used(world: World) -> None:
    world.run()

    with pytest.raises(ConfigurationError, match="'titles'"):
        prune_model(world.sync, model_id="titles")


@pytest.mark.parametrize("shares_cache", [True, False])
def test_a_tenant_that_is_removed_leaves_no_vector_of_either(
    world: World, *, shares_cache: bool
) -> None:
    world.set_options(shares_cache=shares_cache)
    world.run()
    world.remove("a1", "a2")

    offboard_tenant(world.sync, scope=ACME, owner="offboarding")

    assert world.cache.vectors == {}
