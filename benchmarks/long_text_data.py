"""Long texts with searches whose answer is known: joined descriptions of software tools.

Of some descriptions one sentence is taken out and becomes the search; the document that keeps the
rest is the answer (the inverse cloze task of Lee et al., 2019). So a search never stands in a
text word for word. No description is used twice.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.home import REPOSITORY
from benchmarks.real_vectors import FOLDER, embed_all
from sync_pipeline.core.hashing import digest
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

LENGTHS: Final = {20_000: 10, 10_000: 20, 5_000: 30, 2_000: 70, 1_000: 140}
"""Per length in characters how many documents."""
PASSAGE_TOKENS: Final = (50, 100, 200)
"""Most tokens of a passage, for each way to cut."""
SHORTEST_QUERY: Final = 40
SHORTEST_REST: Final = 60
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_SEED: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class LongText:
    """A document and the searches that it answers."""

    sentences: tuple[str, ...]
    queries: tuple[tuple[str, int], ...]
    """Search texts, and how many characters of the document stand before what is searched."""

    @property
    def text(self) -> str:
        """The document."""
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """The passages of all documents, document after document."""

    vectors: NDArray[np.float32]
    """Shape ``(passages, dimension)``."""
    owners: NDArray[np.int64]
    """Per passage the number of its document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongVectors:
    """What the model makes of long texts."""

    whole: NDArray[np.float32]
    """A vector per document, of as much as the model reads; shape ``(documents, dimension)``."""
    passages: Mapping[int, Passages]
    """By their most tokens."""
    queries: NDArray[np.float32]
    answers: NDArray[np.int64]
    """Per search the number of the document."""
    places: NDArray[np.int64]
    """Per search how many characters stand before the answer."""
    lengths: NDArray[np.int64]
    """Per document its characters."""


def catalogue_file() -> Path:
    """The tools, where the public catalogues are."""
    folder = os.environ.get("SYNC_PIPELINE_TEST_DATA") or REPOSITORY.parent / "shared" / "data"
    return Path(folder) / "tools" / "biotools.jsonl.gz"


def long_vectors() -> LongVectors:
    """Read the vectors, or make them first (some minutes)."""
    embedder = SentenceTransformersEmbedder()
    texts = list(iter_long_texts(read_descriptions(catalogue_file())))
    cut = {
        tokens: [cut_passages(text.sentences, embedder, tokens=tokens) for text in texts]
        for tokens in PASSAGE_TOKENS
    }
    queries = [query for text in texts for query, _ in text.queries]
    known = digest(embedder.model_id, *(text.text for text in texts), *queries, repr(cut))[:16]
    path = FOLDER / f"long-texts-{known}.npz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half.npz")
        np.savez(
            half,
            whole=embed_all(embedder, [text.text for text in texts]),
            queries=embedder.embed_queries(queries).vectors,
            **{
                f"passages_{tokens}": embed_all(embedder, [*itertools.chain.from_iterable(parts)])
                for tokens, parts in cut.items()
            },
        )
        half.rename(path)
    kept = np.load(path)
    numbered = list(enumerate(texts))
    return LongVectors(
        whole=kept["whole"],
        passages={
            tokens: Passages(
                vectors=kept[f"passages_{tokens}"],
                owners=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            )
            for tokens, parts in cut.items()
        },
        queries=kept["queries"],
        answers=np.array([number for number, text in numbered for _ in text.queries]),
        places=np.array([place for text in texts for _, place in text.queries]),
        lengths=np.array([len(text.text) for text in texts]),
    )


def read_descriptions(path: Path) -> list[str]:
    """Distinct descriptions of the tools, in an order of our own."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [str(json.loads(line).get("description") or "") for line in file]
    distinct = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    order = np.random.default_rng(_SEED).permutation(len(distinct))
    return [distinct[place] for place in order if distinct[place]]


def iter_long_texts(descriptions: Sequence[str]) -> Iterator[LongText]:
    """Join descriptions to documents of each length, until there are no more."""
    left = iter(descriptions)
    wanted = [length for length, count in LENGTHS.items() for _ in range(count)]
    for length in wanted:
        sentences: list[str] = []
        queries: list[tuple[str, int]] = []
        size = 0
        while size < length:
            description = next(left, None)
            if description is None:
                return
            query, rest = take_out(_SENTENCE.split(description))
            if query is not None:
                queries.append((query, size))
            sentences += rest
            size += sum(len(sentence) + 1 for sentence in rest)
        yield LongText(sentences=tuple(sentences), queries=tuple(queries))


def take_out(sentences: Sequence[str]) -> tuple[str | None, list[str]]:
    """The first sentence, if it can be searched for and enough is left, and the others.

    It says what a tool is, as people ask for one; the others say what it does.
    """
    first, *rest = sentences
    if len(first) >= SHORTEST_QUERY and len(" ".join(rest)) >= SHORTEST_REST:
        return first, rest
    return None, list(sentences)


def cut_passages(
    sentences: Sequence[str], embedder: SentenceTransformersEmbedder, *, tokens: int
) -> list[str]:
    """Passages of whole sentences that the model reads in full.

    Each begins with the last sentence of the one before. A sentence that is longer than a
    passage is a passage of its own.
    """
    passages: list[list[str]] = []
    held: list[str] = []
    size = 0
    for sentence in sentences:
        added = embedder.count_tokens([sentence])
        if held and size + added > tokens:
            passages.append(held)
            held = held[-1:]
            size = embedder.count_tokens(held)
        held.append(sentence)
        size += added
    return [" ".join(passage) for passage in [*passages, held] if passage]
