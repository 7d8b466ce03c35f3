"""A generation of the index: one collection, and everything that its vectors are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import Embedder, GenerationRecord, Lease, SparseEncoder, VectorStore
from sync_pipeline.engine.collection import BoundCollection, OpenRecords, open_collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A collection with the model, the views and the word weights that it was made for."""

    spec: CollectionSpec
    entities: tuple[Entity, ...]
    """How its documents are rendered."""
    embedder: Embedder
    sparse: SparseEncoder
    collection: BoundCollection
    """Named as ``spec.collection`` says."""
    model: Mapping[str, object] = field(default_factory=dict)
    """Settings that lead to these embedders again, without secrets."""

    @property
    def recipe(self) -> dict[str, object]:
        """What is recorded, so that a later program can open this generation: JSON values."""
        views = {
            entity.name: {view: list(columns) for view, columns in entity.views}
            for entity in self.entities
        }
        return {"model": dict(self.model), "views": views}


OpenGeneration = Callable[[GenerationRecord], Generation | None]
"""A recorded generation with its models; None where it does not say what it was made with."""


def open_none(_record: GenerationRecord) -> Generation | None:
    """Where no generation but that of the settings can be opened."""
    return None


def bind_generation(
    *,
    alias: str,
    entities: tuple[Entity, ...],
    embedder: Embedder,
    sparse: SparseEncoder,
    store: Lease[VectorStore],
    records: OpenRecords,
    model: Mapping[str, object] | None = None,
) -> Generation:
    """The generation that these entities and models lead to; opens nothing, loads no model."""
    spec = CollectionSpec(
        alias=alias,
        model_id=embedder.model_id,
        dimension=embedder.dimension,
        views=view_names(entities),
        sparse_id=sparse.sparse_id,
    )
    return Generation(
        spec=spec,
        entities=entities,
        embedder=embedder,
        sparse=sparse,
        collection=open_collection(spec.collection, store=store, records=records),
        model={} if model is None else model,
    )


def with_views(
    entities: tuple[Entity, ...], views: Mapping[str, Mapping[str, list[str]]]
) -> tuple[Entity, ...]:
    """The entities as a recorded generation renders them.

    Args:
        entities: Of the settings.
        views: Per entity and view its columns, as ``Generation.recipe`` has them. An entity
            that is not among them is left out: that generation holds nothing of it.
    """
    return tuple(
        replace(
            entity,
            views=tuple((view, tuple(columns)) for view, columns in views[entity.name].items()),
        )
        for entity in entities
        if entity.name in views
    )


def view_names(entities: tuple[Entity, ...]) -> tuple[str, ...]:
    """Names of all views of all entities, each once, in order of first use."""
    return tuple(dict.fromkeys(name for entity in entities for name, _ in entity.views))
