"""Keys of the cache are taken apart as they were put together."""

from __future__ import annotations

import pytest

from sync_pipeline.core.cache_keys import is_key_of, scope_cache_key, split_cache_key
from sync_pipeline.core.scope import GLOBAL, Scope

MODELS = {"m", "m for cats", "m:f32"}


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("scope", [GLOBAL, Scope("acme"), Scope("tools for schools")])
def test_a_key_of_a_scope_is_taken_apart(model: str, scope: Scope) -> None:
    key = scope_cache_key(model, scope)

    assert split_cache_key(key, models=MODELS) == (model, scope.key)
    assert is_key_of(key, model)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_shared_key_belongs_to_no_scope(model: str) -> None:
    assert split_cache_key(model, models=MODELS) == (model, None)


def test_a_key_of_a_model_that_is_not_known_stays_as_it_is() -> None:
    assert split_cache_key("gone for acme", models=MODELS) == ("gone for acme", None)


def test_a_longer_name_is_another_model() -> None:
    assert not is_key_of("m:f32", "m")
    assert not is_key_of("m fork", "m")
