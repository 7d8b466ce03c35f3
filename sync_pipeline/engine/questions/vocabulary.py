"""What the model knows of the source's texts, by a sample, before anything is embedded."""

from __future__ import annotations

from typing import Final

from sync_pipeline.core.document import Document
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.ports import SourceSnapshot
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.vocabulary import Vocabulary
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.rendering import document_builder

SCOPES_LOOKED_AT: Final = 8
"""The largest ones: each costs a query per entity."""
ROWS_LOOKED_AT: Final = 50
"""Of each entity in each of them."""


def sample_vocabulary(sync: Reading) -> dict[str, Vocabulary]:
    """Count what the model does not know, per entity and view, written ``entity.view``.

    Reads a bounded number of rows; loads the tokenizer and no model.

    Raises:
        SyncPipelineError: source or model cannot be used.
    """
    rows = sync.source.count_by_scope(sync.entities)
    largest = sorted(rows, key=lambda key: (-rows[key], key))[:SCOPES_LOOKED_AT]
    scopes = [Scope.from_key(key) for key in largest]
    vocabularies: dict[str, Vocabulary] = {}
    with sync.source.open_snapshot(sync.entities) as snapshot:
        for entity in sync.entities:
            documents = [
                document
                for scope in scopes
                for document in _first_documents(sync, snapshot, entity=entity, scope=scope)
            ]
            for place, (view, _) in enumerate(entity.views):
                texts = {document.texts[place] for document in documents} - {""}
                counts = sync.models.of(view).count_unknown(sorted(texts))
                vocabularies[f"{entity.name}.{view}"] = Vocabulary.of(counts)
    return vocabularies


def _first_documents(
    sync: Reading, snapshot: SourceSnapshot, *, entity: Entity, scope: Scope
) -> list[Document]:
    builder = document_builder(sync, entity=entity, scope=scope)
    batches = snapshot.iter_rows(entity=entity, scope=scope, batch_size=ROWS_LOOKED_AT)
    built = [builder.build(row) for row in next(batches, [])]
    return [document for document in built if isinstance(document, Document)]
