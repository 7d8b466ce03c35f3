"""What a generation was made with, written down and read again by other settings."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import GenerationRecord
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.generation import with_views
from sync_pipeline.settings import (
    HashingEmbedding,
    OpenAIEmbedding,
    SentenceTransformersEmbedding,
    Settings,
)
from sync_pipeline.settings.providers import HashingModel, OpenAIModel
from sync_pipeline.settings.recipe import Recipe, model_recipe
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

MADE = Settings.model_validate(
    {
        "embedding": {
            "provider": "hashing",
            "dimension": 64,
            "models": {"titles": {"provider": "hashing", "dimension": 32}},
        },
        "entities": [
            {
                "name": "tool",
                "table": "tools",
                "views": {
                    "title": {"columns": ["name"], "model": "titles"},
                    "about": {"columns": ["description"], "long": True, "passage_tokens": 50},
                    "a": ["license"],
                },
            }
        ],
    }
)
TODAY = Settings.model_validate(
    {"entities": [{"name": "tool", "table": "tools", "views": {"x": ["y"]}}]}
)
RECIPE: dict[str, Any] = {
    "model": model_recipe(MADE.embedding, HashingEmbedder(dimension=64)),
    "views": {"tool": {"title": ["name"], "about": ["description"], "a": ["license"]}},
    "view_order": {"tool": ["title", "about", "a"]},
    "long_views": {"tool": {"about": 50}},
    "view_models": {
        "title": model_recipe(MADE.embedding.models["titles"], HashingEmbedder(dimension=32))
    },
}


def record(recipe: dict[str, Any]) -> GenerationRecord:
    """As PostgreSQL gives it back: short keys first, whatever their order was."""
    kept = json.loads(
        json.dumps(recipe),
        object_pairs_hook=lambda pairs: dict(sorted(pairs, key=lambda it: (len(it[0]), it[0]))),
    )
    return GenerationRecord(
        collection="documents_1",
        alias="documents",
        model_id="hashing-64-v1",
        views=("title", "about", "a"),
        sparse_id="bm25-v1-mixed-k1.2-b0.75-avg10",
        description="",
        recipe=kept,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        served_at=None,
        retired_at=None,
        refusal=None,
    )


def test_views_are_read_in_the_order_in_which_they_were_written() -> None:
    recipe = Recipe.of(record(RECIPE), settings=TODAY)

    (entity,) = with_views(TODAY.core_entities, recipe.views, recipe.long_views)
    assert entity.views == (("title", ("name",)), ("about", ("description",)), ("a", ("license",)))
    assert entity.long_views == (("about", 50),)


def test_a_recipe_of_before_has_the_order_of_the_collections_views() -> None:
    older = {name: value for name, value in RECIPE.items() if name != "view_order"}

    recipe = Recipe.of(record(older), settings=TODAY)

    assert list(recipe.views["tool"]) == ["title", "about", "a"]


def test_each_view_has_its_own_model_again() -> None:
    recipe = Recipe.of(record(RECIPE), settings=TODAY)

    assert recipe.embedding == HashingEmbedding(dimension=64)
    assert recipe.view_models == {"title": HashingModel(dimension=32)}


def test_keys_are_those_of_today() -> None:
    """Of a model that the settings still name; no recipe has a key."""
    secret = {"provider": "openai", "model": "m", "dimension": 8, "api_key": "sk-today"}
    today = Settings.model_validate(
        {
            "embedding": {"models": {"titles": secret}},
            "entities": [
                {
                    "name": "tool",
                    "table": "tools",
                    "views": {"title": {"columns": ["name"], "model": "titles"}},
                }
            ],
        }
    )
    remote = model_recipe(today.embedding.models["titles"], HashingEmbedder(dimension=8))
    recipe = Recipe.of(record({**RECIPE, "view_models": {"title": remote}}), settings=today)

    assert "sk-today" not in json.dumps(remote)
    read = recipe.view_models["title"]
    assert isinstance(read, OpenAIModel)
    assert read.api_key is not None
    assert read.api_key.get_secret_value() == "sk-today"
    assert "sk-today" in today.secret_values


def test_what_computes_a_model_is_a_matter_of_this_machine_and_of_today() -> None:
    local = SentenceTransformersEmbedding(runtime="torch")
    today = TODAY.model_copy(update={"embedding": local})
    model = FakeEmbedder(model_id="bundled:float32:0123456789abcdef")
    made: dict[str, Any] = {**RECIPE, "model": model_recipe(local, model)}

    recipe = Recipe.of(record(made), settings=today)

    assert "runtime" not in made["model"]
    assert isinstance(recipe.embedding, SentenceTransformersEmbedding)
    assert recipe.embedding.runtime == "torch"


def test_what_a_later_release_wrote_of_a_model_is_refused() -> None:
    later = {**RECIPE, "view_models": {"title": {"provider": "oracle"}}}

    with pytest.raises(ConfigurationError, match="documents_1 cannot be read"):
        Recipe.of(replace(record(later)), settings=TODAY)


OF_RELEASE_0_1_0: dict[str, Any] = {
    "provider": "sentence-transformers",
    "model": "bundled",
    "revision": None,
    "dtype": "auto",
    "query_prompt": None,
    "document_prompt": None,
    "base_url": None,
    "dimension": None,
}
"""Every key of every provider, as each model was recorded."""
OF_THE_MAIN_MODEL: dict[str, Any] = {
    "bm25_language": "mixed",
    "part_texts": 12500,
    "fan_out_texts": 50000,
}
REMOTE: dict[str, Any] = {
    **OF_RELEASE_0_1_0,
    "provider": "openai",
    "model": "text-embedding-3-small",
    "dimension": 1536,
    "base_url": "http://models.internal/v1",
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(
            {**OF_RELEASE_0_1_0, "dtype": "bfloat16"},
            SentenceTransformersEmbedding(dtype="bfloat16"),
            id="computed here",
        ),
        pytest.param(
            {**OF_RELEASE_0_1_0, "provider": "hashing", "dimension": 16},
            HashingEmbedding(dimension=16),
            id="without meaning",
        ),
        pytest.param(
            REMOTE,
            OpenAIEmbedding(
                model="text-embedding-3-small",
                dimension=1536,
                base_url="http://models.internal/v1",
            ),
            id="a service",
        ),
    ],
)
def test_what_release_0_1_0_recorded_of_a_model_is_read(
    model: dict[str, Any], expected: Any
) -> None:
    recipe = Recipe.of(record({**RECIPE, "model": {**model, **OF_THE_MAIN_MODEL}}), settings=TODAY)

    assert recipe.embedding == expected


def test_what_it_recorded_of_a_view_s_own_model_is_read() -> None:
    hashing = {**OF_RELEASE_0_1_0, "provider": "hashing", "dimension": 32}

    recipe = Recipe.of(
        record({**RECIPE, "view_models": {"title": REMOTE, "a": hashing}}), settings=TODAY
    )

    assert recipe.view_models == {
        "title": OpenAIModel(
            model="text-embedding-3-small", dimension=1536, base_url="http://models.internal/v1"
        ),
        "a": HashingModel(dimension=32),
    }


def test_a_service_s_generation_gets_its_key_while_another_provider_is_set() -> None:
    """What serves until the new index does would fail without it."""
    today = Settings.model_validate(
        {
            "embedding": {"api_key": "sk-today", "allow_plain_http": True},
            "entities": [{"name": "tool", "table": "tools", "views": {"x": ["y"]}}],
        }
    )

    recipe = Recipe.of(record({**RECIPE, "model": REMOTE, "view_models": {}}), settings=today)

    assert isinstance(recipe.embedding, OpenAIEmbedding)
    assert recipe.embedding.api_key is not None
    assert recipe.embedding.api_key.get_secret_value() == "sk-today"
    assert recipe.embedding.allow_plain_http


def test_what_changes_no_vector_is_not_recorded_of_a_service() -> None:
    model = OpenAIModel(
        model="m", dimension=8, concurrency=2, timeout_seconds=5, tokens_per_minute=10
    )

    recorded = model_recipe(model, HashingEmbedder(dimension=8))

    assert recorded == model_recipe(
        OpenAIModel(model="m", dimension=8), HashingEmbedder(dimension=8)
    )
