"""Vectors of the bundled model for a catalogue and for searches of it, kept in a file.

``python -m benchmarks.real_vectors ROWS`` embeds every distinct text of the catalogue, and the
names of another catalogue's rows as search texts, and prints where they lie. What a search index
does to recall can only be measured with vectors that mean something: those of hashing are spread
evenly, and hardly lose anything. The file is under ``build/``, named by model and catalogue.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import CatalogueSize, iter_catalogue
from benchmarks.home import REPOSITORY
from sync_pipeline.core.batching import batched
from sync_pipeline.core.hashing import digest
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

FOLDER: Final = REPOSITORY / "build" / "benchmarks"
QUERIES: Final = 500
QUERY_SEED: Final = 1
"""Of the catalogue whose names are searched for: none of its texts is in the one searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealVectors:
    """What the model makes of a catalogue; rows of one text share a vector."""

    documents: NDArray[np.float32]
    """One unit vector per row, shape ``(rows, dimension)``."""
    queries: NDArray[np.float32]
    """One unit vector per search text, shape ``(QUERIES, dimension)``."""


def real_vectors(size: CatalogueSize) -> RealVectors:
    """Read the vectors of a catalogue, or make them first (four minutes for 55,000 rows)."""
    embedder = SentenceTransformersEmbedder()
    rows = [row.text for row in iter_catalogue(size)]
    texts = list(dict.fromkeys(rows))
    searched = query_texts(size)
    known = digest(embedder.model_id, *texts, *searched)[:16]
    path = FOLDER / f"vectors-{size.rows}-{known}.npz"
    if not path.exists():
        _write(
            path,
            documents=embed_all(embedder, texts),
            queries=embedder.embed_queries(searched).vectors,
        )
    kept = np.load(path)
    place = {text: number for number, text in enumerate(texts)}
    return RealVectors(
        documents=kept["documents"][[place[text] for text in rows]], queries=kept["queries"]
    )


def query_texts(size: CatalogueSize) -> list[str]:
    """Names from all over a catalogue of another seed, as people search for them."""
    names = [row.name for row in iter_catalogue(replace(size, seed=QUERY_SEED))]
    return list(dict.fromkeys(names))[:: max(1, size.rows // QUERIES - 1)][:QUERIES]


def embed_all(embedder: SentenceTransformersEmbedder, texts: list[str]) -> NDArray[np.float32]:
    """Embed any number of texts, those of a length together, for these are faster."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for places in batched(order, embedder.max_batch):
        vectors[places] = embedder.embed([texts[place] for place in places]).vectors
    return vectors


def _write(path: Path, **arrays: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half.npz")
    np.savez(half, **arrays)
    half.rename(path)


def main() -> None:
    vectors = real_vectors(CatalogueSize(rows=int(sys.argv[1])))
    print(f"{len(vectors.documents)} documents, {len(vectors.queries)} searches")


if __name__ == "__main__":
    main()
