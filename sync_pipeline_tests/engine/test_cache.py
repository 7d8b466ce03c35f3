"""What nobody uses leaves the cache, and nothing else does, whatever runs beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sync_pipeline.core.errors import ConfigurationError, PermanentError, StoppedError
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.engine.questions.cache import cache_report
from sync_pipeline.engine.removal.cache import PruneReport, prune_cache, prune_model
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore

MONTH = timedelta(days=30)
NOW = timedelta(0)


@pytest.fixture
def aged(world: World) -> World:
    """Three documents in step, of which one had another text two months ago."""
    world.put("a1", name="old text")
    world.put_many("a2", "a3")
    world.run()
    world.put("a1", name="new text")
    world.run()
    world.clock.advance(seconds=60 * 86_400)
    return world


def prune(world: World, *, older_than: timedelta = MONTH, is_dry_run: bool = False) -> PruneReport:
    return prune_cache(world.sync, older_than=older_than, is_dry_run=is_dry_run)


# --- stats ------------------------------------------------------------------------------


def test_the_report_says_what_is_used_and_what_a_lost_index_would_cost(aged: World) -> None:
    report = cache_report(aged.sync)

    (model,) = report.models
    assert (report.model_id, report.vectors, report.size_bytes) == ("fake-embedder", 4, 4 * 16 * 4)
    assert (model.used, model.unused, model.in_settings) == (3, 1, True)
    assert model.collections == (aged.collection,)
    assert (report.texts, report.cached) == (3, 3)


def test_the_report_counts_texts_that_would_have_to_be_embedded(aged: World) -> None:
    aged.cache.purge_model(model_id="fake-embedder")

    report = cache_report(aged.sync)

    assert (report.texts, report.cached, report.models) == (3, 0, [])


# --- pruning ----------------------------------------------------------------------------


def test_s57_a_former_text_goes_and_the_next_sync_embeds_nothing(aged: World) -> None:
    report = prune(aged)

    assert (report.deleted, report.freed_bytes, report.left) == (1, 64, 0)
    assert [(one.model_id, one.scope_key, one.vectors) for one in report.models] == [
        ("fake-embedder", None, 1)
    ]
    assert aged.run().embedded_texts == 0
    assert cache_report(aged.sync).models[0].unused == 0


def test_a_former_text_that_comes_back_is_embedded_again(aged: World) -> None:
    prune(aged)
    aged.put("a1", name="old text")

    report = aged.run()

    assert (report.changed, report.embedded_texts) == (1, 1)
    assert aged.is_clean()


def test_young_vectors_stay(aged: World) -> None:
    aged.put("a2", name="newer text")
    aged.run()
    aged.put("a2")
    aged.put("a2", name="newest text")
    aged.run()

    report = prune(aged)

    assert report.deleted == 2, "of the texts of two months ago"
    assert len(aged.cache.vectors) == 4


def test_a_dry_run_changes_nothing(aged: World) -> None:
    before = aged.everything()

    report = prune(aged, is_dry_run=True)

    assert (report.is_dry_run, report.deleted, report.freed_bytes) == (True, 1, 64)
    assert aged.everything() == before
    assert aged.cache.unused_since == {}


def test_a_lost_index_is_filled_without_embedding_after_a_prune(aged: World) -> None:
    prune(aged, older_than=NOW)
    aged.store = FakeVectorStore()

    report = aged.run()

    assert (report.new, report.embedded_texts, report.cache_hits) == (3, 0, 3)


def test_nothing_goes_while_the_record_misses_points(aged: World) -> None:
    aged.state.documents.clear()

    with pytest.raises(PermanentError, match="3 of them are not recorded") as refused:
        prune(aged, older_than=NOW)

    assert "sync all --force" in str(refused.value.remedy)
    assert len(aged.cache.vectors) == 4


def test_documents_of_another_collection_keep_their_vectors(aged: World) -> None:
    for key, known in list(aged.state.documents.items()):
        aged.state.documents["documents_other", key[1]] = known
    aged.put_many("a1", "a2", "a3", name="one text for all")
    aged.run()

    report = prune(aged, older_than=NOW)

    assert report.deleted == 1


# --- beside a sync ----------------------------------------------------------------------


def test_s57_what_a_run_found_in_the_cache_stays_until_it_has_written_it(aged: World) -> None:
    """A prune between the embed step and the upsert step, of a text that comes back just then."""
    aged.put("a1", name="old text")
    run = SteppedRun(aged.sync, scope_key="acme", run_id="run-in-flight")
    run.step()
    run.step()

    during = prune(aged, older_than=NOW)
    run.finish()

    assert (during.deleted, during.left, during.waits_for) == (0, 1, ("acme",))
    assert aged.is_clean()
    assert aged.texts("acme")["a1"] == "old text kg"
    assert prune(aged, older_than=NOW).deleted == 1, "what is the former text now"


def test_what_a_run_embeds_stays_until_it_has_written_it(world: World) -> None:
    world.put_many("a1", "a2")
    run = SteppedRun(world.sync, scope_key="acme", run_id="run-in-flight")
    run.step()
    run.step()

    during = prune(world, older_than=NOW)
    run.finish()

    assert (during.deleted, during.left) == (0, 2)
    assert world.is_clean()
    assert world.embedder.calls == 1


def test_a_prune_waits_for_a_run_that_ends_soon(aged: World) -> None:
    aged.put("a1", name="newest text")
    run = SteppedRun(aged.sync, scope_key="acme", run_id="run-in-flight")
    run.step()
    run.step()

    def finish(_seconds: float) -> None:
        run.finish()

    report = prune_cache(aged.sync, older_than=NOW, wait_seconds=60, sleep=finish)

    assert (report.deleted, report.left, report.waits_for) == (1, 0, ())
    assert aged.is_clean()


def test_a_run_that_was_killed_delays_a_prune_until_the_scope_is_synced_again(
    aged: World,
) -> None:
    aged.put("a1", name="newest text")
    run = SteppedRun(aged.sync, scope_key="acme", run_id="killed")
    run.step()
    run.step()
    before = prune(aged, older_than=NOW)

    aged.clock.advance(seconds=aged.options.lease_ttl_seconds)
    aged.run()

    assert before.deleted == 0
    assert prune(aged, older_than=NOW).deleted == 2


def test_a_prune_stops_between_batches(aged: World) -> None:
    sync = replace(aged.sync, should_stop=lambda: True)

    with pytest.raises(StoppedError, match="run the same command again"):
        prune_cache(sync, older_than=NOW)


# --- a model ----------------------------------------------------------------------------


@pytest.fixture
def replaced(aged: World) -> World:
    """Another model has been put in the old one's place; the old index is gone."""
    aged.store = FakeVectorStore()
    aged.state.documents.clear()
    aged.embedder = FakeEmbedder(model_id="new-model")
    aged.run()
    return aged


def test_all_vectors_of_a_model_that_nothing_uses_go(replaced: World) -> None:
    planned = prune_model(replaced.sync, model_id="fake-embedder", is_dry_run=True)
    still_there = len(replaced.cache.vectors)

    report = prune_model(replaced.sync, model_id="fake-embedder")

    assert (planned.deleted, still_there) == (4, 7)
    assert report.deleted == 4
    assert {model for model, _ in replaced.cache.vectors} == {"new-model"}
    assert replaced.is_clean()


def test_the_model_of_the_settings_stays(replaced: World) -> None:
    with pytest.raises(ConfigurationError, match="the settings ask for the model 'new-model'"):
        prune_model(replaced.sync, model_id="new-model")

    assert len(replaced.cache.vectors) == 7


def test_a_model_whose_collection_is_still_there_stays(replaced: World) -> None:
    old = CollectionSpec(
        alias="documents", model_id="fake-embedder", dimension=16, views=("text",), sparse_id="x"
    )
    with replaced.store.lease() as store:
        store.ensure_collection(old)
    replaced.generations.record(old, recipe={})

    with pytest.raises(ConfigurationError, match=f"1 collections built with it {old.collection}"):
        prune_model(replaced.sync, model_id="fake-embedder")


def test_a_model_of_recorded_documents_stays(aged: World) -> None:
    aged.embedder = FakeEmbedder(model_id="new-model")
    aged.store = FakeVectorStore()

    with pytest.raises(ConfigurationError, match="3 of its vectors are of recorded documents"):
        prune_model(aged.sync, model_id="fake-embedder")


def test_a_model_without_vectors_is_said_to_have_none(aged: World) -> None:
    with pytest.raises(ConfigurationError, match="no vectors of a model 'unknown'"):
        prune_model(aged.sync, model_id="unknown")


def test_another_name_of_a_model_has_no_vectors_of_its_own(aged: World) -> None:
    aged.canaries.models["renamed"] = {}
    aged.canaries.same_as["renamed"] = "fake-embedder"

    with pytest.raises(ConfigurationError, match="'renamed' is known as 'fake-embedder'"):
        prune_model(aged.sync, model_id="renamed")


def test_vectors_kept_for_one_scope_go_with_their_model(world: World) -> None:
    world.set_options(shares_cache=False)
    world.put("a1")
    world.put("b1", tenant_id="globex")
    world.run_all()
    world.store = FakeVectorStore()
    world.state.documents.clear()
    world.embedder = FakeEmbedder(model_id="new-model")

    report = prune_model(world.sync, model_id="fake-embedder")

    assert sorted((one.scope_key or "", one.vectors) for one in report.models) == [
        ("acme", 1),
        ("globex", 1),
    ]
