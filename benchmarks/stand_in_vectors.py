"""Fills the embedding cache of an installation with hashing vectors under its model's name.

``python -m benchmarks.stand_in_vectors`` reads the settings from the environment.
So everything but embedding can be measured with the settings of the real model,
at full size, without hours of embedding first.
"""

from __future__ import annotations

from typing import Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.document import Document, DocumentBuilder
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.engine.canaries import measure_canaries
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import open_installation

CHUNK: Final = 1024


def main() -> None:
    sync = open_installation(load_settings()).sync
    texts = _distinct_texts(sync)
    embedder = HashingEmbedder(dimension=sync.models.main.dimension)
    for keys in batched(texts, CHUNK):
        vectors = embedder.embed([texts[key] for key in keys]).vectors
        sync.cache.put(model_id=sync.models.main.model_id, text_hashes=keys, vectors=vectors)
    # The model's own, or its first text would be refused: it agrees with no vector in the cache.
    sync.canaries.record(
        model_id=sync.models.main.model_id, canaries=measure_canaries(sync.models.main)
    )


def _distinct_texts(sync: SyncContext) -> dict[str, str]:
    """Every text of every scope, by embed hash."""
    found: dict[str, str] = {}
    sync.source.check_schema(sync.entities)
    for scope in sync.source.list_scopes(sync.entities):
        with sync.source.open_snapshot(sync.entities) as snapshot:
            for entity in sync.entities:
                builder = DocumentBuilder(
                    entity=entity, scope=scope, model_id=sync.models.main.model_id
                )
                for rows in snapshot.iter_rows(entity=entity, scope=scope):
                    for document in map(builder.build, rows):
                        if isinstance(document, Document):
                            pairs = zip(document.embed_hashes, document.texts, strict=True)
                            found.update((key, text) for key, text in pairs if text)
    return found


if __name__ == "__main__":
    main()
