"""Vectors that need not be made again (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EmbeddingCacheReader(Protocol):
    """Vectors by model and text, to be read."""

    def missing(self, *, model_id: str, text_hashes: Sequence[str]) -> set[str]:
        """Those of the texts that have no vector yet."""

    def get(self, *, model_id: str, text_hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the texts that have one."""


class EmbeddingCache(EmbeddingCacheReader, Protocol):
    """Vectors by model and text: durable, shared by all scopes and machines.

    The hash of a text is its embed hash. ``IndexState`` keeps the same one per
    document, which tells the vectors that no document uses any more.
    """

    def put(
        self, *, model_id: str, text_hashes: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Keep vectors, durably; those already there stay."""

    def purge_model(self, *, model_id: str) -> int:
        """Forget all vectors of a model; how many there were."""

    def purge_unused(
        self, *, text_hashes: Sequence[str] | None = None, min_age_seconds: float = 0.0
    ) -> int:
        """Forget vectors of texts that no document of ``index_state`` has, whatever the model.

        Args:
            text_hashes: Only of these texts.
            min_age_seconds: Only those that were kept at least so long ago, by the
                database's clock; younger ones may be of a sync that is under way.

        Returns:
            How many there were.
        """


class EmbeddingRatesReader(Protocol):
    """How fast each model was when it was last used, to be read."""

    def texts_per_second(self, *, model_id: str) -> float | None:
        """The last measurement; None where the model was never used."""


class EmbeddingRates(EmbeddingRatesReader, Protocol):
    """How fast each model was when it was last used, for estimates."""

    def record(self, *, model_id: str, texts: int, seconds: float) -> None:
        """Keep the last measurement of a model."""
