"""A model that is not the one that is known embeds nothing; one that is embeds nothing again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sync_pipeline.core.canaries import CANARY_TEXTS, DOCUMENT_KEYS, QUERY_KEY
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    ModelChangedError,
    ModelUnavailableError,
    PermanentError,
)
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.canaries import CHECKED_FOR_SECONDS, measure_canaries, settle_model
from sync_pipeline.engine.context import CheckedModels, SyncContext
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline_tests.engine.world import World, counts
from sync_pipeline_tests.fakes.embedder import DriftingEmbedder, FakeEmbedder
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore


def known(world: World, embedder: FakeEmbedder) -> SyncContext:
    """The installation with this model, as ``wiring`` puts it together."""
    return world.sync.rebound(embedder=settle_model(embedder, world.canaries))


@pytest.fixture
def drifting(world: World) -> DriftingEmbedder:
    """The model of the installation, which has embedded one text."""
    world.embedder = DriftingEmbedder()
    world.put("a1")
    world.run()
    return world.embedder


# --- the same name, another model -------------------------------------------------------


def test_the_first_run_that_embeds_records_the_model(world: World) -> None:
    world.put("a1")

    world.run()

    assert world.canaries.known_as(model_id="fake-embedder") == "fake-embedder"
    assert world.canaries.reference(model_id="fake-embedder").keys() == set(DOCUMENT_KEYS)


def test_a_run_that_embeds_nothing_asks_the_model_nothing(world: World) -> None:
    world.put("a1")
    world.run()
    world.embedder.canaries.clear()
    world.put("a1", price=11)
    world.put("a2", name="cement a1")

    report = world.run()

    assert (report.payload_changed, report.new, report.embedded_texts) == (1, 1, 0)
    assert world.embedder.canaries == []


def test_s19_a_model_that_changed_behind_its_name_stops_the_run(
    world: World, drifting: DriftingEmbedder
) -> None:
    """And nothing is written: index, record, cache and canaries stay as they were."""
    world.put("a1", name="another text")
    world.put("a2")
    before = world.everything()
    recorded = world.canaries.reference(model_id=drifting.model_id)
    drifting.drift()

    with pytest.raises(ModelChangedError, match="gives other vectors than it used to: of 8 texts"):
        world.run()

    assert world.everything() == before
    assert drifting.embedded == ["cement a1 kg"]
    after = world.canaries.reference(model_id=drifting.model_id)
    assert {key: vector.tobytes() for key, vector in after.items()} == {
        key: vector.tobytes() for key, vector in recorded.items()
    }


def test_the_error_has_the_numbers(world: World, drifting: DriftingEmbedder) -> None:
    world.put("a2")
    drifting.drift()

    with pytest.raises(ModelChangedError, match=r"at least 0\.999 is expected") as stopped:
        world.run()

    error = stopped.value
    assert (error.model_id, error.compared, error.tolerance) == (drifting.model_id, 8, 0.999)
    assert error.lowest_cosine < 0.9
    assert "embedding.revision" in str(error.remedy)


def test_when_the_old_model_is_back_the_run_goes_on(
    world: World, drifting: DriftingEmbedder
) -> None:
    world.put("a2")
    drifting.drift()
    with pytest.raises(ModelChangedError, match="lowest cosine"):
        world.run()

    drifting.drift(back=True)
    report = world.run()

    assert counts(report) == {"new": 1, "unchanged": 1, "embedded_texts": 1}
    assert world.is_clean()


def test_as_little_as_a_service_differs_from_call_to_call_is_no_change(
    world: World, drifting: DriftingEmbedder
) -> None:
    world.put("a2")
    drifting.noise = 0.01

    assert world.run().new == 1


def test_as_much_as_coarser_weights_is_a_change(world: World, drifting: DriftingEmbedder) -> None:
    world.put("a2")
    drifting.noise = 0.1

    with pytest.raises(ModelChangedError, match=r"lowest cosine .* is 0\.99"):
        world.run()


def test_s27_a_model_that_suddenly_reads_less_of_a_text_is_noticed(
    world: World, drifting: DriftingEmbedder
) -> None:
    """A window that shrinks shows in the longest canary alone."""
    world.put("a2")
    drifting.window = 1_000

    with pytest.raises(ModelChangedError, match="lowest cosine") as stopped:
        world.run()

    assert stopped.value.lowest_cosine < 0.9


def test_a_process_asks_once_and_again_after_a_while(world: World) -> None:
    seconds = [0.0]
    sync = replace(world.sync, seconds=lambda: seconds[0], checked_models=CheckedModels())
    asked = []
    for number, at in enumerate((0, 1, CHECKED_FOR_SECONDS - 1, CHECKED_FOR_SECONDS + 1)):
        world.put(f"a{number}")
        seconds[0] = at
        world.run(sync=sync)
        asked.append(world.embedder.canaries.count(CANARY_TEXTS[1]))

    assert asked == [1, 1, 1, 2]


def test_a_model_that_was_not_checked_is_not_taken_for_checked(
    world: World, drifting: DriftingEmbedder
) -> None:
    sync = world.sync
    world.put("a2")
    drifting.drift()

    for _ in range(2):
        with pytest.raises(ModelChangedError, match="lowest cosine"):
            world.run(sync=sync)


def test_a_canary_that_the_provider_refuses_is_left_out(world: World) -> None:
    world.embedder = PickyEmbedder(lambda text: len(text) > 1_000)
    world.put_many("a1", "a2")

    report = world.run()

    assert (report.new, report.failed) == (2, 0)
    recorded = world.canaries.reference(model_id="fake-embedder")
    assert recorded.keys() == set(DOCUMENT_KEYS[:-1])


def test_a_canary_that_is_accepted_later_is_recorded_then(world: World) -> None:
    picky = PickyEmbedder(lambda text: len(text) > 1_000)
    world.embedder = picky
    world.put("a1")
    world.run()
    picky.refuses = lambda _: False
    world.put("a2")

    world.run()

    assert world.canaries.reference(model_id="fake-embedder").keys() == set(DOCUMENT_KEYS)


def test_a_provider_that_refuses_every_canary_stops_the_run_with_its_reason(world: World) -> None:
    world.embedder = PickyEmbedder(lambda _: True)
    world.put("a1")

    with pytest.raises(PermanentError, match="the provider refuses"):
        world.run()

    assert world.cache.vectors == {}
    assert world.canaries.models == {}


def test_canaries_are_cut_into_calls_that_the_provider_takes() -> None:
    embedder = FakeEmbedder(max_batch=3)

    canaries = measure_canaries(embedder)

    assert canaries.keys() == set(DOCUMENT_KEYS)


# --- vectors that were cached before models were recorded -------------------------------


def test_a_model_is_first_compared_with_what_it_gave_before_models_were_recorded(
    world: World, drifting: DriftingEmbedder
) -> None:
    world.canaries.models.clear()
    world.put("a2")
    drifting.drift()
    before = world.everything()

    with pytest.raises(ModelChangedError, match=r"of 1 texts .* its cached vectors"):
        world.run()

    assert world.everything() == before
    assert world.canaries.models == {}


def test_a_model_that_gives_its_cached_vectors_is_recorded(
    world: World, drifting: DriftingEmbedder
) -> None:
    world.canaries.models.clear()
    world.put("a2")

    report = world.run()

    assert report.new == 1
    assert world.canaries.known_as(model_id=drifting.model_id) == drifting.model_id


# --- search texts -----------------------------------------------------------------------


class AskingEmbedder(FakeEmbedder):
    """Puts a prompt before search texts."""

    prompt = "query: "

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        return self._answer(texts, np.stack([self.vector(self.prompt + text) for text in texts]))


def test_a_search_text_is_recorded_where_it_is_embedded_otherwise(world: World) -> None:
    world.embedder = AskingEmbedder()
    world.put("a1")

    world.run()

    recorded = world.canaries.reference(model_id="fake-embedder")
    assert recorded.keys() == {*DOCUMENT_KEYS, QUERY_KEY}


def test_another_prompt_for_search_texts_is_said_once_and_stops_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asking = AskingEmbedder()
    world.embedder = asking
    world.put("a1")
    world.run()
    asking.prompt = "question: "

    with caplog.at_level(logging.WARNING, logger="sync_pipeline.engine.canaries"):
        for row_id in ("a2", "a3"):
            world.put(row_id)
            world.run()

    assert [record.getMessage()[:60] for record in caplog.records] == [
        "the model fake-embedder embeds search texts otherwise than b"
    ]
    assert world.is_clean()


# --- another name, the same model -------------------------------------------------------


class RenamedEmbedder(FakeEmbedder):
    """The fake model under another name, a little less precise."""

    def __init__(self, name: str = "renamed", *, noise: float = 0.005) -> None:
        super().__init__(model_id=name)
        self.noise = noise

    def vector(self, text: str) -> NDArray[np.float32]:
        right = FakeEmbedder().vector(text)
        seed = int(digest(self.model_id, "noise", text), 16)
        vector = right + self.noise * np.random.default_rng(seed).standard_normal(len(right))
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def synced(world: World) -> World:
    """Two scopes in step with the fake model."""
    world.put_many("a1", "a2", "a3")
    world.put("b1", tenant_id="globex")
    world.run_all()
    return world


def test_s19_a_model_under_another_name_costs_nothing(world: World) -> None:
    before = synced(world).everything()
    renamed = RenamedEmbedder()
    sync = known(world, renamed)

    reports = [world.run(key, sync=sync) for key in ("acme", "globex")]

    assert [counts(report) for report in reports] == [{"unchanged": 3}, {"unchanged": 1}]
    assert world.everything() == before
    assert sync.spec == world.sync.spec
    assert (renamed.embedded, len(renamed.canaries)) == ([], len(CANARY_TEXTS) + 1)


def test_what_it_embeds_then_is_kept_under_the_first_name(world: World) -> None:
    synced(world)
    sync = known(world, RenamedEmbedder())
    world.put("a1", name="another text")

    report = world.run(sync=sync)

    assert counts(report) == {"changed": 1, "unchanged": 2, "embedded_texts": 1}
    assert {model for model, _ in world.cache.vectors} == {"fake-embedder"}
    record = world.record_of("tenant-material-a1")
    assert record is not None
    assert record.vector_version == "fake-embedder"
    assert world.is_clean()


def test_a_model_that_was_recognised_is_not_asked_again(world: World) -> None:
    synced(world)
    world.run(sync=known(world, RenamedEmbedder()))
    again = RenamedEmbedder()

    world.run(sync=known(world, again))

    assert again.canaries == []


def test_a_model_that_was_recognised_and_changes_is_stopped(world: World) -> None:
    synced(world)
    world.run(sync=known(world, RenamedEmbedder()))
    world.put("a1", name="another text")
    before = world.everything()

    with pytest.raises(ModelChangedError, match="'fake-embedder' gives other vectors"):
        world.run(sync=known(world, RenamedEmbedder(noise=0.5)))

    assert world.everything() == before


def test_an_index_that_is_lost_is_filled_from_the_cache_of_the_first_name(world: World) -> None:
    synced(world)
    world.store = FakeVectorStore()
    renamed = RenamedEmbedder()
    sync = known(world, renamed)

    for key in ("acme", "globex"):
        world.run(key, sync=sync)

    assert len(world.points) == 4
    assert renamed.embedded == []


def test_another_model_stays_another_model(world: World) -> None:
    synced(world)
    other = FakeEmbedder(model_id="other")

    sync = known(world, other)

    assert sync.spec.model_id == "other"
    assert sync.spec.collection != world.collection
    assert world.canaries.known_as(model_id="other") == "other"


def test_coarser_weights_are_another_model(world: World) -> None:
    synced(world)

    sync = known(world, RenamedEmbedder(noise=0.02))

    assert sync.spec.model_id == "renamed"
    assert world.canaries.known_as(model_id="renamed") == "renamed"


def test_where_each_scope_has_a_cache_of_its_own_a_new_name_costs_nothing_either(
    world: World,
) -> None:
    world.set_options(shares_cache=False)
    synced(world)
    world.store = FakeVectorStore()
    renamed = RenamedEmbedder()

    world.run("acme", sync=known(world, renamed))

    assert renamed.embedded == []
    assert {model for model, _ in world.cache.vectors} == {
        "fake-embedder for acme",
        "fake-embedder for globex",
    }


def test_a_plan_of_a_model_under_another_name_is_empty(world: World) -> None:
    synced(world)
    renamed = RenamedEmbedder()

    plan = plan_scope(known(world, renamed), scope=Scope("acme"))

    assert (plan.unchanged, plan.texts_to_embed) == (3, 0)
    assert renamed.embedded == []


def test_a_new_model_that_cannot_be_loaded_stops_the_run_before_anything_is_read(
    world: World,
) -> None:
    synced(world)
    before = world.everything()

    with pytest.raises(ModelUnavailableError, match="no such file"):
        world.run(sync=known(world, MissingEmbedder(model_id="missing")))

    assert world.everything() == before


class MissingEmbedder(FakeEmbedder):
    """A model that cannot be loaded."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        raise ModelUnavailableError(model=self.model_id, reason="no such file")


class PickyEmbedder(FakeEmbedder):
    """Refuses texts."""

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__()
        self.refuses = refuses

    def embed(self, texts: Sequence[str]) -> Embedded:
        refused = sum(map(self.refuses, texts))
        if refused:
            raise PermanentError(f"the provider refuses {refused} of {len(texts)} texts")
        return super().embed(texts)
