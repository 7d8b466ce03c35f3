"""What every ``Generations`` promises."""

from __future__ import annotations

from dataclasses import replace

from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import GenerationRecord, Generations
from sync_pipeline.core.views import ViewSpec

RECIPE = {"model": "bundled", "views": {"material": {"text": ["name"]}}}


def spec(model_id: str, *, alias: str = "documents") -> CollectionSpec:
    return CollectionSpec(
        alias=alias,
        model_id=model_id,
        dimension=384,
        views=("text", "name"),
        sparse_id="bm25-english",
    )


A, B = spec("a"), spec("b")


def recorded(generations: Generations) -> dict[str, GenerationRecord]:
    return {known.model_id: known for known in generations.list_all(alias="documents")}


def test_a_recorded_collection_says_what_it_was_built_with(generations: Generations) -> None:
    generations.record(A, recipe=RECIPE)

    (known,) = generations.list_all(alias="documents")
    assert generations.describe(A.collection) == known.description == A.describe()
    assert (known.collection, known.views, known.sparse_id) == (
        A.collection,
        A.views,
        A.sparse_id,
    )
    assert known.recipe == RECIPE
    assert (known.served_at, known.retired_at, known.refusal) == (None, None, None)


def test_views_with_a_model_of_their_own_are_recorded(generations: Generations) -> None:
    special = ViewSpec(name="name", model_id="names", dimension=8)

    generations.record(A, recipe=RECIPE)
    generations.record(replace(A, special=(special,)), recipe=RECIPE)

    models = {
        known.description: known.view_models for known in generations.list_all(alias="documents")
    }
    assert models == {
        A.describe(): {},
        replace(A, special=(special,)).describe(): {"name": "names"},
    }


def test_an_unknown_collection_has_no_description(generations: Generations) -> None:
    assert generations.describe("documents_unknown") is None
    assert generations.list_all(alias="documents") == []


def test_another_alias_has_its_own(generations: Generations) -> None:
    elsewhere = spec("a", alias="other")
    generations.record(A, recipe=RECIPE)
    generations.record(elsewhere, recipe=RECIPE)
    generations.note_serving(alias="documents", collection=A.collection)
    generations.note_serving(alias="other", collection=elsewhere.collection)

    (known,) = generations.list_all(alias="documents")
    assert known.collection == A.collection
    assert known.retired_at is None


def test_recording_again_takes_the_new_recipe_and_nothing_else(generations: Generations) -> None:
    generations.record(A, recipe={})
    generations.note_serving(alias="documents", collection=A.collection)
    before = recorded(generations)["a"]

    generations.record(A, recipe=RECIPE)

    after = recorded(generations)["a"]
    assert after.recipe == RECIPE
    assert (after.created_at, after.served_at) == (before.created_at, before.served_at)


def test_the_one_that_serves_retires_the_one_before(generations: Generations) -> None:
    for each in (A, B):
        generations.record(each, recipe=RECIPE)
        generations.note_serving(alias="documents", collection=each.collection)

    known = recorded(generations)

    assert known["a"].served_at is not None
    assert known["a"].retired_at is not None
    assert known["b"].served_at is not None
    assert known["b"].retired_at is None


def test_back_and_forth_keeps_when_each_first_served(generations: Generations) -> None:
    for each in (A, B):
        generations.record(each, recipe=RECIPE)
        generations.note_serving(alias="documents", collection=each.collection)
    first = recorded(generations)["a"].served_at

    generations.note_serving(alias="documents", collection=A.collection)

    known = recorded(generations)
    assert known["a"].served_at == first
    assert known["a"].retired_at is None
    assert known["b"].retired_at is not None


def test_a_refusal_stays_until_it_is_taken_back_or_the_collection_serves(
    generations: Generations,
) -> None:
    generations.record(A, recipe=RECIPE)
    generations.note_refusal(collection=A.collection, reason="2 scopes are missing")
    refused = recorded(generations)["a"].refusal
    generations.note_refusal(collection=A.collection, reason=None)
    taken_back = recorded(generations)["a"].refusal
    generations.note_refusal(collection=A.collection, reason="again")
    generations.note_serving(alias="documents", collection=A.collection)

    assert (refused, taken_back) == ("2 scopes are missing", None)
    assert recorded(generations)["a"].refusal is None


def test_a_forgotten_collection_is_unknown(generations: Generations) -> None:
    generations.record(A, recipe=RECIPE)
    generations.forget(collection=A.collection)
    generations.forget(collection=A.collection)

    assert generations.list_all(alias="documents") == []
    assert generations.describe(A.collection) is None
