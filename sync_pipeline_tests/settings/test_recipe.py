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
from sync_pipeline.settings import Settings
from sync_pipeline.settings.recipe import Recipe, model_recipe
from sync_pipeline.settings.sections import EmbeddingSettings, ModelSettings

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

    assert (recipe.embedding.provider, recipe.embedding.dimension) == ("hashing", 64)
    assert recipe.view_models == {"title": ModelSettings(provider="hashing", dimension=32)}


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
    key = recipe.view_models["title"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-today"
    assert "sk-today" in today.secret_values


def test_what_computes_a_model_is_a_matter_of_this_machine_and_of_today() -> None:
    today = TODAY.model_copy(update={"embedding": EmbeddingSettings(runtime="torch")})

    recipe = Recipe.of(record(RECIPE), settings=today)

    assert "runtime" not in RECIPE["model"]
    assert (recipe.embedding.provider, recipe.embedding.runtime) == ("hashing", "torch")


def test_what_a_later_release_wrote_of_a_model_is_refused() -> None:
    later = {**RECIPE, "view_models": {"title": {"provider": "oracle"}}}

    with pytest.raises(ConfigurationError, match="documents_1 cannot be read"):
        Recipe.of(replace(record(later)), settings=TODAY)
