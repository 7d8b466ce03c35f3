"""What turns texts into vectors and term weights (the contract of ``embedding``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.point import SparseVector
from sync_pipeline.core.spending import Tariff
from sync_pipeline.core.vocabulary import TokenCount


class Embedder(Protocol):
    """Turns texts into vectors of one fixed length.

    Making one is cheap and loads nothing; the model is loaded by the first call
    that needs it. ``model_id`` and ``dimension`` are known without loading.
    """

    max_batch: int
    """Most texts one call accepts."""
    max_batch_bytes: int | None
    """Most bytes of UTF-8 that one call should have, so that it is one request; None where it
    does not matter. A single text may have more."""
    concurrency: int
    """Calls worth having under way at the same time; 1 where more make nothing faster."""
    tariff: Tariff
    """What its tokens cost."""

    @property
    def model_id(self) -> str:
        """Names model, revision, dtype and document prompt; part of every cache key."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents, keeping their order.

        Args:
            texts: Non-empty strings; at most ``max_batch`` of them.

        Returns:
            Per text one L2-normalised row, its tokens, and whether its tail was not read.

        Raises:
            ModelUnavailableError: the model cannot be loaded as configured.
            TransientError: rate limit, timeout, connection refused.
            PermanentError: the provider refuses one of the texts.
            MemoryError: the batch is too large; try a smaller one.
        """

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """Embed search texts with the model's query prompt, in one pass where it can be.

        Args:
            texts: Non-empty strings; at most ``max_batch`` of them.

        Returns:
            As ``embed``, with the same errors.
        """

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """Say per text whether it is longer than the model's window (its tail is ignored).

        Loads no model where its files say how long the window is.
        """

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens that embedding these texts would take, all together.

        An estimate, where the provider's tokenizer is not at hand. Loads no model.
        """

    def most_tokens(self, texts: Sequence[str]) -> int:
        """The most tokens that one call of ``embed`` or ``embed_queries`` can state for these.

        A bound, not an estimate: budgets rest on it. Loads no model.
        """

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count per text its tokens, and those that the model's vocabulary lacks, in their order.

        Nothing is unknown where the provider's tokenizer is not at hand. What ``embed`` answers
        says the same of its texts. Loads no model.
        """


class SparseEncoder(Protocol):
    """BM25 term weights."""

    sparse_id: str
    """Names language and parameters; part of the collection's fingerprint."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weigh the terms of documents."""

    def encode_query(self, text: str) -> SparseVector:
        """Weigh the terms of a search text."""
