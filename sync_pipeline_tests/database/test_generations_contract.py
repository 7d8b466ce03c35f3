"""What every ``Generations`` promises."""

from __future__ import annotations

from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import Generations


def spec(model_id: str) -> CollectionSpec:
    return CollectionSpec(
        alias="documents",
        model_id=model_id,
        dimension=384,
        views=("text", "name"),
        sparse_id="bm25-english",
    )


def test_a_recorded_collection_says_what_it_was_built_with(generations: Generations) -> None:
    generations.record(spec("a"), is_active=True)

    assert generations.describe(spec("a").collection) == spec("a").describe()


def test_an_unknown_collection_has_no_description(generations: Generations) -> None:
    assert generations.describe("documents_unknown") is None


def test_recording_twice_is_not_an_error(generations: Generations) -> None:
    generations.record(spec("a"), is_active=False)
    generations.record(spec("a"), is_active=True)
    generations.record(spec("b"), is_active=True)

    assert generations.describe(spec("a").collection) == spec("a").describe()
    assert generations.describe(spec("b").collection) == spec("b").describe()
