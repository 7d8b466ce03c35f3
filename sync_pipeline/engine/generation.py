"""A generation of the index: one collection, and everything that its vectors are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import GenerationRecord, Lease, SparseEncoder, VectorStore
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.engine.collection import BoundCollection, OpenRecords, open_collection
from sync_pipeline.engine.embedders import Models


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A collection with the model, the views and the word weights that it was made for."""

    spec: CollectionSpec
    entities: tuple[Entity, ...]
    """How its documents are rendered."""
    models: Models
    sparse: SparseEncoder
    collection: BoundCollection
    """Named as ``spec.collection`` says."""
    model: Mapping[str, object] = field(default_factory=dict)
    """Settings that lead to its model again, without secrets."""
    view_models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The same of views with a model of their own."""

    @property
    def has_no_meaning(self) -> bool:
        """Whether its vectors are those of the hashing provider, for emergencies."""
        return self.model.get("provider") == "hashing"

    @property
    def recipe(self) -> dict[str, object]:
        """What is recorded, so that a later program can open this generation: JSON values."""
        views = {
            entity.name: {view: list(columns) for view, columns in entity.views}
            for entity in self.entities
        }
        long_views = {
            entity.name: dict(entity.long_views) for entity in self.entities if entity.long_views
        }
        return {
            "model": dict(self.model),
            "views": views,
            "view_order": {name: list(found) for name, found in views.items()},
            **({"view_models": dict(self.view_models)} if self.view_models else {}),
            **({"long_views": long_views} if long_views else {}),
        }


OpenGeneration = Callable[[GenerationRecord], Generation | None]
"""A recorded generation with its models; None where it does not say what it was made with."""


def open_none(_record: GenerationRecord) -> Generation | None:
    """Where no generation but that of the settings can be opened."""
    return None


def bind_generation(
    *,
    alias: str,
    entities: tuple[Entity, ...],
    models: Models,
    sparse: SparseEncoder,
    store: Lease[VectorStore],
    records: OpenRecords,
    model: Mapping[str, object] | None = None,
    view_models: Mapping[str, Mapping[str, object]] | None = None,
) -> Generation:
    """The generation that these entities and models lead to; opens nothing, loads no model."""
    views = view_names(entities)
    spec = CollectionSpec(
        alias=alias,
        model_id=models.main.model_id,
        dimension=models.main.dimension,
        views=views,
        sparse_id=sparse.sparse_id,
        special=_special_views(entities, views, models=models),
    )
    return Generation(
        spec=spec,
        entities=entities,
        models=models,
        sparse=sparse,
        collection=open_collection(spec.collection, store=store, records=records),
        model=model or {},
        view_models=view_models or {},
    )


def _special_views(
    entities: tuple[Entity, ...], views: tuple[str, ...], *, models: Models
) -> tuple[ViewSpec, ...]:
    """Views that differ from one vector of the main model."""
    long_views = {view: tokens for entity in entities for view, tokens in entity.long_views}
    specs = (
        ViewSpec(
            name=view,
            model_id=models.of(view).model_id,
            dimension=models.of(view).dimension,
            passage_tokens=long_views.get(view),
        )
        for view in views
        if view in models.own or view in long_views
    )
    return tuple(spec for spec in specs if spec.hash_id != models.main.model_id)


def with_views(
    entities: tuple[Entity, ...],
    views: Mapping[str, Mapping[str, list[str]]],
    long_views: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[Entity, ...]:
    """The entities as a recorded generation renders them.

    Args:
        entities: Of the settings.
        views: Per entity and view its columns, as ``Generation.recipe`` has them. An entity
            that is not among them is left out: that generation holds nothing of it.
        long_views: Likewise, those that are cut into passages with the tokens of each.
    """
    return tuple(
        replace(
            entity,
            views=tuple((view, tuple(columns)) for view, columns in views[entity.name].items()),
            long_views=tuple((long_views or {}).get(entity.name, {}).items()),
        )
        for entity in entities
        if entity.name in views
    )


def view_names(entities: tuple[Entity, ...]) -> tuple[str, ...]:
    """Names of all views of all entities, each once, in order of first use."""
    return tuple(dict.fromkeys(name for entity in entities for name, _ in entity.views))
