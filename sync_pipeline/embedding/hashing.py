"""Deterministic vectors without meaning, for tests and benchmarks only."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.ports import BatchEmbedder
from sync_pipeline.core.spending import FREE
from sync_pipeline.core.vocabulary import TokenCount
from sync_pipeline.embedding.vectors import normalised

logger = logging.getLogger(__name__)

_FEATURES_PER_WORD: Final = 8

_has_warned = threading.Event()


class HashingEmbedder:
    """Feature hashing of words (``core.ports.Embedder``).

    Each word adds plus or minus one in eight dimensions that a hash of it
    chooses. So texts that share words are near each other and everything else
    is noise: enough to follow documents through the pipeline, useless for
    search. It embeds 55,000 short texts in about 0.3 s.

    Args:
        dimension: Length of the vectors, at least 8.
        max_batch: Most texts per call.
    """

    def __init__(self, *, dimension: int = 384, max_batch: int = 1024) -> None:
        if dimension < _FEATURES_PER_WORD:
            raise ValueError(f"{dimension} dimensions are fewer than {_FEATURES_PER_WORD}")
        self.dimension = dimension
        self.max_batch = max_batch
        self.max_batch_bytes: int | None = None
        self.concurrency = 1
        self.tariff = FREE
        self.by_batch: BatchEmbedder | None = None
        self.model_id = f"hashing-{dimension}-v1"

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed texts; the first call in a process warns."""
        _warn_once()
        words_of = [text.lower().split() for text in texts]
        places_of: dict[str, int] = {}
        words = np.array(
            [places_of.setdefault(word, len(places_of)) for words in words_of for word in words],
            dtype=np.int64,
        )
        dimensions, signs = _word_features(places_of, dimension=self.dimension)
        owners = np.repeat(np.arange(len(texts)), [len(words) for words in words_of])
        places = owners[:, None] * self.dimension + dimensions[words]
        size = len(texts) * self.dimension
        sums = np.bincount(places.ravel(), weights=signs[words].ravel(), minlength=size)
        vectors = sums.reshape(len(texts), self.dimension).astype(np.float32)
        # Words can cancel each other; every text needs a direction.
        vectors[~vectors.any(axis=1), 0] = 1
        return Embedded(
            vectors=normalised(vectors),
            counts=[TokenCount(tokens=len(words), unknown=0) for words in words_of],
            truncated=self.find_truncated(texts),
            provider="hashing",
        )

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts: as documents are."""
        return self.embed(texts)

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """None ever is: words are counted to the end."""
        return [False] * len(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the words."""
        return sum(len(text.split()) for text in texts)

    def most_tokens(self, texts: Sequence[str]) -> int:
        """As many as it counts."""
        return sum(count.tokens for count in self.count_unknown(texts))

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """No word is unknown: each has a hash."""
        return [TokenCount(tokens=len(text.split()), unknown=0) for text in texts]


def _word_features(
    words: Iterable[str], *, dimension: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dimensions that each word touches and the sign of what it adds, both ``(words, 8)``."""
    hashes = b"".join(
        hashlib.blake2b(word.encode(), digest_size=8 * _FEATURES_PER_WORD).digest()
        for word in words
    )
    numbers = np.frombuffer(hashes, dtype="<u8").reshape(-1, _FEATURES_PER_WORD)
    signs = np.where(numbers >> np.uint64(63), 1, -1)
    return (numbers % np.uint64(dimension)).astype(np.int64), signs


def _warn_once() -> None:
    if _has_warned.is_set():
        return
    _has_warned.set()
    logger.warning(
        "the hashing embedder is in use: its vectors have no meaning and its search results are "
        "worthless; it is for tests and benchmarks only (set embedding.provider to another one)"
    )
