"""Embedders that fail or change on purpose (``core.ports.Embedder``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import BatchEmbedder
from sync_pipeline.core.spending import FREE
from sync_pipeline.core.vocabulary import TokenCount

POISON = "☠"
"""A text that contains this is refused."""

UNKNOWN = "ሲ"
"""A word that contains this is not in the vocabulary."""

Spoil = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Turns the right vectors of a call into wrong ones."""


def one_short(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """All but the last."""
    return vectors[:-1]


def reversed_order(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Last first."""
    return vectors[::-1].copy()


def not_numbers(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """NaN in the last vector."""
    spoiled = vectors.copy()
    spoiled[-1, 0] = np.nan
    return spoiled


def not_normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twice as long."""
    return vectors * 2


class FakeEmbedder:
    """A random direction per text, the same in every process.

    Canary texts are kept apart: they are no texts of documents, and nothing is done to them.

    Args:
        dimension: Length of the vectors.
        max_batch: Most texts per call.
        model_id: Part of every vector, so that two fake models differ.
        failures: By number of the call, from 1, what it raises.
        spoil: Applied to the vectors of every call.
        max_texts_in_memory: Larger calls raise ``MemoryError``.
        max_characters: Longer texts count as truncated.
        poison: Texts that contain it raise ``PermanentError``, with all others of the call.
        unknown_word: Words that contain it are unknown.

    Attributes:
        embedded: Every text that got a vector, in order.
        queries: Every search text.
        canaries: Every canary text, of documents or searches.
        calls: How many calls of ``embed`` there were, failed ones too.
    """

    def __init__(
        self,
        *,
        dimension: int = 16,
        max_batch: int = 32,
        model_id: str = "fake-embedder",
        failures: Mapping[int, Exception] | None = None,
        spoil: Spoil | None = None,
        max_texts_in_memory: int | None = None,
        max_characters: int = 256,
        poison: str = POISON,
        unknown_word: str = UNKNOWN,
    ) -> None:
        self.model_id = model_id
        self.dimension = dimension
        self.max_batch = max_batch
        self.max_batch_bytes: int | None = None
        self.concurrency = 1
        self.tariff = FREE
        self.by_batch: BatchEmbedder | None = None
        self.failures = dict(failures or {})
        self.spoil = spoil
        self.max_texts_in_memory = max_texts_in_memory
        self.max_characters = max_characters
        self.poison = poison
        self.unknown_word = unknown_word
        self.embedded: list[str] = []
        self.queries: list[str] = []
        self.canaries: list[str] = []
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> Embedded:
        if texts and set(texts) <= set(CANARY_TEXTS):
            return self._embed_canaries(texts)
        self.calls += 1
        assert len(texts) <= self.max_batch, f"{len(texts)} texts in a call"
        assert all(text.strip() for text in texts), "a blank text was sent"
        if self.calls in self.failures:
            raise self.failures[self.calls]
        if self.max_texts_in_memory is not None and len(texts) > self.max_texts_in_memory:
            raise MemoryError(f"{len(texts)} texts do not fit")
        poisoned = sum(self.poison in text for text in texts)
        if poisoned:
            raise PermanentError(f"the model refuses {poisoned} of {len(texts)} texts")
        vectors = self._vectors(texts)
        self.embedded += texts
        return self._answer(texts, vectors if self.spoil is None else self.spoil(vectors))

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        if texts and set(texts) <= set(CANARY_TEXTS):
            return self._embed_canaries(texts)
        self.queries += texts
        return self._answer(texts, self._vectors(texts))

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        return [len(text) > self.max_characters for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)

    def most_tokens(self, texts: Sequence[str]) -> int:
        """As many as it counts."""
        return sum(count.tokens for count in self.count_unknown(texts))

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        return [
            TokenCount(tokens=len(words), unknown=sum(self.unknown_word in word for word in words))
            for words in (text.split() for text in texts)
        ]

    def _embed_canaries(self, texts: Sequence[str]) -> Embedded:
        assert len(texts) <= self.max_batch, f"{len(texts)} texts in a call"
        self.canaries += texts
        return self._answer(texts, self._vectors(texts))

    def _answer(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Embedded:
        return Embedded(
            vectors=vectors,
            counts=self.count_unknown(texts),
            truncated=self.find_truncated(texts),
            provider="fake",
        )

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.array([self.vector(text) for text in texts], dtype=np.float32)
        return vectors.reshape(len(texts), self.dimension)

    def vector(self, text: str) -> NDArray[np.float32]:
        """The right vector of a text."""
        return _direction(self.model_id, text, dimension=self.dimension)


class DriftingEmbedder(FakeEmbedder):
    """A provider that puts another model behind its name, and says nothing of it.

    Attributes:
        noise: How much a vector differs from call to call.
        window: Characters of a text that are read.
    """

    def __init__(self, *, noise: float = 0.0, window: int | None = None) -> None:
        super().__init__()
        self.noise = noise
        self.window = window
        self._behind = self.model_id
        self._answers = itertools.count()

    def drift(self, *, back: bool = False) -> None:
        """Another model answers from now on, or the first one again."""
        self._behind = self.model_id if back else "a newer one"

    def vector(self, text: str) -> NDArray[np.float32]:
        right = _direction(self._behind, text[: self.window], dimension=self.dimension)
        noise = _direction("noise", str(next(self._answers)), dimension=self.dimension)
        vector = right + np.float32(self.noise) * noise
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _direction(model: str, text: str, *, dimension: int) -> NDArray[np.float32]:
    seed = int(digest(model, text), 16)
    direction = np.random.default_rng(seed).standard_normal(dimension)
    return (direction / np.linalg.norm(direction)).astype(np.float32)
