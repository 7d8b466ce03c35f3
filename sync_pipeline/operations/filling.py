"""How far the generations of the index are, from our records alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.generations import Role


@dataclass(frozen=True, slots=True)
class RecordedGeneration:
    """What is recorded of one generation."""

    collection: str
    role: Role
    documents: int
    """That the last syncs put into it, of the entities of the settings."""
    share: float
    """Of the documents of the generation that serves, 0 to 1."""


def recorded_generations(sync: SyncContext) -> list[RecordedGeneration]:
    """Every generation, oldest first; asks neither the source nor the index.

    Args:
        sync: The installation.
    """
    from sync_pipeline.engine.questions.generations import role_of
    from sync_pipeline.engine.roles import recorded_as_serving

    records = sync.generations.list_all(alias=sync.alias)
    serving = recorded_as_serving(records)
    target = None if serving is None else serving.collection
    documents = {record.collection: _documents(sync, record.collection) for record in records}
    searchable = documents.get(target or "", 0)
    return [
        RecordedGeneration(
            collection=record.collection,
            role=role_of(record, target=target, wanted=sync.spec.collection, exists=True),
            documents=documents[record.collection],
            share=min(1.0, documents[record.collection] / searchable) if searchable else 0.0,
        )
        for record in records
    ]


def _documents(sync: SyncContext, collection: str) -> int:
    entities = sync.collection(collection).records.scopes.list_entities()
    return sum(it.documents for it in entities if it.entity_type in sync.entity_names)
