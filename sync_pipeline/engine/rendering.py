"""How rows become documents of a generation."""

from __future__ import annotations

from sync_pipeline.core.document import DocumentBuilder
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.reading import Reading


def document_builder(sync: Reading, *, entity: Entity, scope: Scope) -> DocumentBuilder:
    """Make the builder of an entity's documents in one scope."""
    return DocumentBuilder(
        entity=entity, scope=scope, model_id=sync.spec.model_id, hash_ids=sync.spec.hash_ids
    )
