"""Views that are more than columns: long ones, and those with a model of their own."""

from __future__ import annotations

import json

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import load_settings
from sync_pipeline.settings.providers import HashingModel
from sync_pipeline_tests.settings.conftest import WriteYaml


def views(text: str, *, more: str = "") -> str:
    """Settings of one entity with these views, and of others."""
    return f"entities:\n  - {{name: tool, table: tools, views: {text}}}\n{more}"


def test_a_list_of_columns_and_a_section_mean_the_same(write_yaml: WriteYaml) -> None:
    short = load_settings(config=write_yaml(views("{text: [name, unit]}")), env={})
    full = load_settings(config=write_yaml(views("{text: {columns: [name, unit]}}")), env={})

    assert short.core_entities == full.core_entities
    assert full.core_entities[0].long_views == ()


def test_what_is_set_reaches_the_engine(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "embedding: {models: {titles: {provider: hashing, dimension: 32}}}\n"
        + views(
            "{title: {columns: [name], model: titles}, "
            "story: {columns: [a, b], long: true, passage_tokens: 60}, rest: {columns: [c], "
            "long: true}}"
        )
    )

    settings = load_settings(config=config, env={})

    (entity,) = settings.core_entities
    assert entity.views == (("title", ("name",)), ("story", ("a", "b")), ("rest", ("c",)))
    assert entity.long_views == (("story", 60), ("rest", 100))
    assert entity.long_columns == {"a", "b", "c"}
    assert settings.view_models == {"title": "titles"}
    assert settings.views == ("title", "story", "rest")


def test_models_can_be_set_by_a_variable(write_yaml: WriteYaml) -> None:
    config = write_yaml(views("{text: {columns: [name], model: m}}"))
    models = {"m": {"provider": "hashing", "dimension": 16}}

    settings = load_settings(
        config=config, env={"SYNC_PIPELINE__EMBEDDING__MODELS": json.dumps(models)}
    )

    assert settings.embedding.models == {"m": HashingModel(dimension=16)}


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        pytest.param(
            "{text: {columns: [name], lon: true}}", "", "text.lon: is no setting; fix: did you "
            "mean 'long'?", id="a slip",
        ),
        pytest.param("{text: {long: true}}", "", "text.columns: is missing", id="no columns"),
        pytest.param("{text: {columns: [a b]}}", "", "text.columns[0]", id="no column"),
        pytest.param("{text: 5}", "", "must be a list", id="a number"),
        pytest.param(
            "{text: {columns: [name], passage_tokens: 50}}", "", "write long: true too",
            id="passages of a short view",
        ),
        pytest.param(
            "{text: {columns: [name], long: true, passage_tokens: 3}}", "", "passage_tokens",
            id="too short passages",
        ),
        pytest.param(
            "{text: {columns: [name], model: e5}}", "", "asks for the model 'e5', which "
            "embedding.models does not name; fix: add it there; there are: none so far",
            id="a model that is not named",
        ),
        pytest.param(
            "{text: {columns: [name], long: true}}",
            "  - {name: work, table: works, views: {text: [name]}}\n",
            "the view 'text' in two forms: tool and work differ",
            id="one name in two forms",
        ),
        pytest.param(
            "{text: [name]}", "embedding: {models: {'a b': {model: x}}}\n", "is not a view name",
            id="a model's name",
        ),
    ],
)  # fmt: skip
def test_a_slip_is_told(write_yaml: WriteYaml, text: str, more: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(config=write_yaml(views(text, more=more)), env={})

    assert told in str(raised.value)
