"""Views whose text is cut into passages, each with a vector of its own."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sync_pipeline.core.document import MAX_LONG_TEXT_CHARACTERS
from sync_pipeline.core.hashing import embed_hasher
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.checks import check_scope
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.status import scope_statuses
from sync_pipeline.engine.removal.cache import prune_cache
from sync_pipeline.engine.removal.offboard import offboard_tenant
from sync_pipeline_tests.engine.world import MATERIAL, UNGUARDED, World
from sync_pipeline_tests.fakes.embedder import POISON

TOKENS = 20
STORY = replace(
    MATERIAL,
    views=(("title", ("unit",)), ("story", ("name",))),
    payload=(("price", "price"),),
    long_views=(("story", TOKENS),),
)
ACME = Scope("acme")
NAME = "tenant-material-a1"


def sentences(count: int, *, of: str = "s") -> list[str]:
    return [f"{of}{number} is what this sentence is about." for number in range(count)]


def text(count: int = 30, *, of: str = "s") -> str:
    return " ".join(sentences(count, of=of))


@pytest.fixture
def world() -> World:
    world = World(entities=(STORY,))
    world.set_options(cleanup=UNGUARDED)
    world.put("a1", name=text(), unit="kg")
    return world


def count_truncated(world: World) -> dict[str, int]:
    """Documents of whose text only a part is used, by view."""
    [status] = [it for it in scope_statuses(world.sync) if it.scope_key == "acme"]
    return {view: counts.truncated for view, counts in status.views.items()}


def passages_of(world: World, document_id: str = NAME) -> list[str]:
    """Hashes of the recorded passages."""
    return world.sync.state.passages(document_ids=[document_id])[document_id]["story"]


def test_a_point_has_a_vector_per_passage_in_their_order(world: World) -> None:
    report = world.run()

    vectors = world.points[NAME].vectors
    passages = [it for it in world.embedder.embedded if "sentence" in it]
    assert vectors["title"].shape == (16,)
    assert vectors["story"].shape == (len(passages), 16) == (report.texts - 1, 16)
    assert len(passages) > 8
    in_order = sorted(passages, key=lambda it: text().index(it))
    assert np.array_equal(vectors["story"], [world.embedder.vector(it) for it in in_order])
    assert passages_of(world) == [embed_hasher("fake-embedder")(it) for it in in_order]


def test_what_stands_at_the_end_is_found(world: World) -> None:
    world.put("a2", name=text(of="other"), unit="kg")
    world.run()
    last = max(world.embedder.embedded, key=lambda it: text().find(it))

    result = search(
        world.sync,
        scope=ACME,
        request=SearchRequest(text=last, views=("story",), mode="dense", passages=True),
    )

    hit = result.hits[0]
    assert hit.document_id == NAME
    assert hit.score == pytest.approx(1, abs=1e-5)
    assert hit.passages is not None
    [passage] = hit.passages
    assert (passage.view, passage.text) == ("story", last)
    assert hit.text[passage.start : passage.stop].strip() == last


def test_an_edit_embeds_the_passages_around_it_alone(world: World) -> None:
    world.run()
    before = len(world.points[NAME].vectors["story"])
    world.embedder.embedded.clear()
    world.put("a1", name=text().replace("s29 is", "another one is"))

    report = world.run()

    assert 1 <= len(world.embedder.embedded) == report.embedded_texts <= 2
    assert all("another one" in it for it in world.embedder.embedded)
    assert abs(len(world.points[NAME].vectors["story"]) - before) <= 1
    assert len(passages_of(world)) == len(world.points[NAME].vectors["story"])


def test_a_text_that_grows_shorter_keeps_no_passage(world: World) -> None:
    world.run()
    world.put("a1", name="One sentence is left.")

    world.run()

    assert world.points[NAME].vectors["story"].shape == (1, 16)
    assert len(passages_of(world)) == 1


def test_an_unchanged_text_costs_nothing(world: World) -> None:
    world.run()
    world.embedder.embedded.clear()

    report = world.run()

    assert (report.texts, world.embedder.embedded, report.unchanged) == (0, [], 1)


def test_a_changed_payload_keeps_vectors_and_passages(world: World) -> None:
    world.run()
    before, passages = world.points[NAME].vectors, passages_of(world)
    world.put("a1", price=99)

    report = world.run()

    assert (report.payloads_written, report.texts) == (1, 0)
    assert world.points[NAME].vectors["story"].shape == before["story"].shape
    assert passages_of(world) == passages


def test_a_lost_record_is_mended_with_its_passages(world: World) -> None:
    world.run()
    passages = passages_of(world)
    world.state.documents.clear()

    world.run()

    assert passages_of(world) == passages


def test_a_plan_counts_passages(world: World) -> None:
    plan = plan_scope(world.sync, scope=ACME)

    report = world.run()

    vectors = world.points[NAME].vectors
    assert plan.texts_to_embed == report.embedded_texts > 8
    assert plan.vector_bytes == sum(vector.nbytes for vector in vectors.values())
    assert plan.tokens >= len(text().split())


def test_a_passage_that_the_model_refuses_costs_the_view_alone(world: World) -> None:
    world.put("a1", name=text().replace("s7 is", f"{POISON} is"))

    report = world.run()

    point = world.points[NAME]
    assert point.vectors.keys() == {"title"}
    assert report.failed == 1
    [failed] = world.sync.state.list_failed()
    assert list(failed.failed_views) == ["story"]


def test_another_length_of_passages_is_another_index(world: World) -> None:
    shorter = replace(STORY, long_views=(("story", 12),))

    assert world.sync.rebound(entities=(shorter,)).spec.collection != world.sync.spec.collection


def test_a_view_that_is_not_long_any_more_is_another_index(world: World) -> None:
    short = replace(STORY, long_views=())

    assert world.sync.rebound(entities=(short,)).spec.collection != world.sync.spec.collection


def test_only_a_part_of_a_text_without_end_is_used_and_that_is_said(world: World) -> None:
    endless = itertools.islice(itertools.cycle(sentences(997)), 8_000)
    world.put("a1", name=" ".join(endless))

    report = world.run()

    record = world.sync.state.get(document_id=NAME)
    assert record is not None
    assert record.truncated_views == ["story"]
    assert len(str(world.points[NAME].payload["text"])) <= MAX_LONG_TEXT_CHARACTERS + len("kg ")
    assert report.failed == 0
    assert count_truncated(world) == {"title": 0, "story": 1}


def test_more_passages_than_a_point_can_have_are_left_out_and_that_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.engine.texts.MAX_NUMBERS_PER_VIEW", 5 * 16)

    world.run()

    assert world.points[NAME].vectors["story"].shape == (5, 16)
    assert count_truncated(world) == {"title": 0, "story": 1}


def test_a_passage_beyond_the_models_window_is_said_too(world: World) -> None:
    world.embedder.max_characters = 30

    world.run()

    record = world.sync.state.get(document_id=NAME)
    assert record is not None
    assert record.truncated_views == ["story"]


def test_checks_ask_for_the_last_passage(world: World) -> None:
    world.put("a2", name=text(of="other"), unit="m")
    world.run()

    results = {it.claim: it for it in check_scope(world.sync, scope=ACME, seed="1")}

    assert all(result.passed for result in results.values()), results
    assert results["known_document_is_found"].facts["sampled"] == 2


def test_a_point_that_has_lost_a_passage_is_found_out(world: World) -> None:
    world.run()
    point = world.points[NAME]
    shorter = {**point.vectors, "story": point.vectors["story"][:-1]}
    world.store.upsert(world.collection, [replace(point, vectors=shorter)])

    results = {it.claim: it for it in check_scope(world.sync, scope=ACME, seed="1")}

    assert not results["vectors_are_valid"].passed


def test_passages_of_recorded_documents_are_in_use(world: World) -> None:
    world.run()
    vectors = dict(world.cache.vectors)
    world.clock.advance(seconds=1_000_000)

    prune_cache(world.sync, older_than=world.clock.now - world.clock.now)

    assert world.cache.vectors.keys() == vectors.keys()


def test_a_tenant_that_is_removed_leaves_no_passage(world: World) -> None:
    world.run()
    world.remove("a1")

    offboard_tenant(world.sync, scope=ACME, owner="offboarding")

    assert world.cache.vectors == {}


def test_a_lost_index_is_made_again_without_the_model(world: World) -> None:
    world.run()
    before = world.points[NAME].vectors["story"]
    world.store.drop_collection(world.collection)
    world.embedder.embedded.clear()

    world.run()

    assert world.embedder.embedded == []
    assert np.array_equal(world.points[NAME].vectors["story"], before)


def test_many_long_texts_are_written_in_several_batches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.engine.steps.upsert._MAX_PASSAGES", 20)
    for number in range(2, 8):
        world.put(f"a{number}", name=text(of=f"t{number}-"), unit="kg")
    writes: list[int] = []
    upsert = world.store.upsert

    def watched(collection: str, points: list[object]) -> None:
        writes.append(len(points))
        upsert(collection, points)  # type: ignore[arg-type]  # points

    monkeypatch.setattr(world.store, "upsert", watched)

    report = world.run()

    assert report.points_written == sum(writes) == 7
    assert max(writes) < 3
