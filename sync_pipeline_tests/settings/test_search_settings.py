"""How rankings are joined is set in the words of the engine, and a slip is told."""

from __future__ import annotations

import re

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.settings import SearchSettings, load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml


def test_the_defaults_are_those_of_the_engine() -> None:
    assert SearchSettings().as_fusion() == Fusion()


def test_what_is_set_reaches_the_engine(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "search: {fusion: rrf, rrf_k: 60, candidates: 50, weights: {text: 2, bm25: 3}}\n"
    )

    assert load_settings(config=config, env={}).search.as_fusion() == Fusion(
        method="rrf", rrf_k=60, candidates=50, weights={"text": 2, "bm25": 3}
    )


def test_weights_are_written_as_json_in_a_variable() -> None:
    name = "SYNC_PIPELINE__SEARCH__WEIGHTS"

    assert load_settings(env={name: '{"bm25": 2}'}).search.weights == {"bm25": 2}
    with pytest.raises(SettingsError, match=re.escape("""write an object such as '{"text": 2}'""")):
        load_settings(env={name: "bm25=2"})


@pytest.mark.parametrize(
    ("search", "message"),
    [
        pytest.param("fusion: max", "search.fusion: is not known here", id="fusion"),
        pytest.param("rrf_k: 0", "search.rrf_k: is too small (got 0)", id="constant"),
        pytest.param("candidates: 5", "search.candidates: is too small (got 5)", id="candidates"),
        pytest.param("weights: {text: 0}", "search.weights.text: is too small", id="no weight"),
        pytest.param("weights: {text: 1.5}", "search.weights.text: must be a whole", id="fraction"),
        pytest.param("weights: {text: yes}", "search.weights.text: must be a number", id="yes"),
        pytest.param(
            "weights: {txt: 2}",
            "search.weights names 'txt', which no entity has as a view; fix: choose from text, b",
            id="no such view",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(write_yaml: WriteYaml, search: str, message: str) -> None:
    config = write_yaml(f"search:\n  {search}\n")

    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(config=config, env={})
