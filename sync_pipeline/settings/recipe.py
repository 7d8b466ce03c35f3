"""What a generation of the index was made with, so that a later program can open it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.ports import Embedder, GenerationRecord
from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.providers import (
    AnyEmbedding,
    AnyModel,
    EmbeddingSettings,
    ModelSettings,
    read_embedding,
    read_model,
)

_OF_THIS_MACHINE: Final = {
    "api_key", "allow_plain_http", "batch_from_texts", "batch_size", "concurrency", "device",
    "cache_scope", "emergency", "fallbacks", "price_per_million_tokens", "models",
    "requests_per_minute", "runtime", "timeout_seconds", "tokens_per_minute",
}  # fmt: skip
"""Settings of ``embedding`` that change no vector, or are nobody's to keep; today's count."""


def model_recipe(embedding: ModelSettings, embedder: Embedder) -> dict[str, object]:
    """The settings that lead to an embedder and its word weights again, without secrets.

    What ``auto`` came to on this machine is named.
    """
    shown: dict[str, object] = embedding.model_dump(mode="json", exclude=_OF_THIS_MACHINE)
    if embedding.provider == "sentence-transformers":
        shown["dtype"] = embedder.model_id.rsplit(":", 2)[1]
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recorded recipe, read."""

    embedding: AnyEmbedding
    views: Mapping[str, Mapping[str, list[str]]]
    """Per entity and view its columns."""
    long_views: Mapping[str, Mapping[str, int]]
    """Likewise, of views that are cut into passages the tokens of a passage."""
    view_models: Mapping[str, AnyModel]
    """Of views with a model of their own."""

    @classmethod
    def of(cls, record: GenerationRecord, *, settings: Settings) -> Self:
        """Read what is recorded of a generation.

        Args:
            record: Of a release that kept no recipe it is told from the name of the model.
            settings: Today's, for keys and machines.

        Raises:
            ConfigurationError: it says nothing that these settings understand.
        """
        model, views = _parts(record, settings=settings)
        today = settings.embedding.model_dump(include=_OF_THIS_MACHINE)
        kept: Any = record.recipe or {}
        try:
            embedding = read_embedding({**today, **model})
            view_models = {
                view: read_model({**_today(settings, view), **own})
                for view, own in kept.get("view_models", {}).items()
            }
        except ValidationError as error:
            raise ConfigurationError(
                f"the recorded settings of {record.collection} cannot be read: "
                f"{error.error_count()} of them are unknown or out of range"
            ) from error
        return cls(
            embedding=embedding,
            views=views,
            long_views=kept.get("long_views", {}),
            view_models=view_models,
        )


def _today(settings: Settings, view: str) -> dict[str, object]:
    """Today's keys and machine for the model of a view."""
    named = settings.embedding.models.get(settings.view_models.get(view, ""))
    model: ModelSettings = settings.embedding if named is None else named
    return model.model_dump(include=_OF_THIS_MACHINE - set(EmbeddingSettings.model_fields))


def _parts(
    record: GenerationRecord, *, settings: Settings
) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, list[str]]]]:
    recipe: Any = record.recipe
    if recipe and recipe.get("model"):
        order = recipe.get("view_order", {})
        views = {
            name: _ordered(found, order.get(name, record.views))
            for name, found in recipe["views"].items()
        }
        return recipe["model"], views
    views = {
        entity.name: {
            view: list(kept.columns)
            for view, kept in entity.view_settings.items()
            if view in record.views
        }
        for entity in settings.entities
    }
    return _model_of(record), {name: found for name, found in views.items() if found}


def _ordered(views: Mapping[str, list[str]], order: Sequence[str]) -> Mapping[str, list[str]]:
    """Views in the order in which they were written.

    It is part of a document's text, and JSON in PostgreSQL does not keep it.
    """
    return {view: views[view] for view in sorted(views, key=order.index)}


def _model_of(record: GenerationRecord) -> dict[str, object]:
    """The settings that a model id of ours names; prompts and revisions are the defaults."""
    language = record.sparse_id.split("-")[2]
    match record.model_id.split(":"):
        case ["openai", *name, dimension, _] if name and dimension.isdecimal():
            model: dict[str, object] = {
                "provider": "openai",
                "model": ":".join(name),
                "dimension": int(dimension),
            }
        case [*name, dtype, _] if name:
            model = {"provider": "sentence-transformers", "model": ":".join(name), "dtype": dtype}
        case [name] if name.startswith("hashing-"):
            dimension = name.removeprefix("hashing-").partition("-")[0]
            model = {"provider": "hashing", "dimension": int(dimension)}
        case _:
            raise ConfigurationError(f"nothing is known of the model {record.model_id!r}")
    return {**model, "bm25_language": language}
