"""A generation of the index: one collection, and everything that its vectors are made with."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import CollectionSpec
from sync_pipeline.core.ports import Embedder, Lease, SparseEncoder, VectorStore
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


def bind_generation(
    *,
    alias: str,
    entities: tuple[Entity, ...],
    embedder: Embedder,
    sparse: SparseEncoder,
    store: Lease[VectorStore],
    records: OpenRecords,
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
    )


def view_names(entities: tuple[Entity, ...]) -> tuple[str, ...]:
    """Names of all views of all entities, each once, in order of first use."""
    return tuple(dict.fromkeys(name for entity in entities for name, _ in entity.views))
