"""Under which key the cache keeps a vector: a model, or a model for one scope alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sync_pipeline.core.scope import Scope

_FOR: Final = " for "


def scope_cache_key(model_id: str, scope: Scope) -> str:
    """Key of the vectors that only one scope may use."""
    return f"{model_id}{_FOR}{scope.key}"


def is_key_of(key: str, model_id: str) -> bool:
    """Whether a key is that of a model, shared or for a scope."""
    return key == model_id or key.startswith(model_id + _FOR)


def split_cache_key(key: str, *, models: Collection[str]) -> tuple[str, str | None]:
    """Take a key apart.

    Args:
        key: As the cache has it.
        models: The model ids that are known.

    Returns:
        The model id and the scope key, which is None where all scopes share the vectors. Of a
        model that is not known the key itself: names may have any words in them.
    """
    if key in models:
        return key, None
    owners = [model for model in models if key.startswith(model + _FOR)]
    if not owners:
        return key, None
    model = max(owners, key=len)
    return model, key[len(model) + len(_FOR) :]
