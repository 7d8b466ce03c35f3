"""Vectors that need not be made again (of ``database``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.scope import Scope

LONGEST_USE_SECONDS: Final = 86_400.0
"""A use that began earlier is of a run that was killed: no run may take so long."""
MARK_MARGIN_SECONDS: Final = 60.0
"""Longer than any transaction that marks vectors: a use that began so long after a mark saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedVectors:
    """What the cache holds under one key, see ``core.cache_keys``."""

    model_id: str
    scope_key: str | None
    """Whose alone they are; None where all scopes share them."""
    vectors: int
    size_bytes: int
    """Of the vectors themselves."""
    oldest_at: datetime
    newest_at: datetime
    used: int
    """Vectors of a text that a recorded document has, in any collection."""
    collections: tuple[str, ...]
    """Recorded collections of the model, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSlice:
    """Some of the vectors under one key."""

    model_id: str
    scope_key: str | None
    vectors: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedHits:
    """How many texts of a collection would not have to be embedded again."""

    texts: int
    """Distinct texts of its documents, per scope where scopes do not share vectors."""
    cached: int


@dataclass(frozen=True, slots=True)
class CacheUse:
    """A run that has looked vectors up and has not written them to the index yet."""

    scope_key: str
    owner: str
    since: datetime
    """By the database's clock."""


@dataclass(frozen=True, slots=True)
class MarkFence:
    """A moment up to which every mark can be seen, whoever set it."""

    at: datetime
    """By the database's clock."""
    uses: tuple[CacheUse, ...]
    """Those that had begun by then: later ones see the marks, and take off those in their way."""


class EmbeddingCacheReader(Protocol):
    """Vectors by model and text, to be read."""

    def missing(self, *, model_id: str, text_hashes: Sequence[str]) -> set[str]:
        """Those of the texts that have no vector yet."""

    def claim(
        self, *, model_id: str, text_hashes: Sequence[str], scope: Scope, owner: str
    ) -> set[str]:
        """As ``missing``; the vectors that are there stay until ``release``.

        Args:
            model_id: The key.
            text_hashes: None of them is no use.
            scope: Of the run, which is the only one that writes it.
            owner: The run. Another one of the same scope takes its place.
        """

    def release(self, *, scope: Scope, owner: str) -> None:
        """End a use; one that another run has taken over stays."""

    def list_uses(self) -> list[CacheUse]:
        """Uses that have not ended, the oldest first, without those of runs that were killed."""

    def get(self, *, model_id: str, text_hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the texts that have one."""

    def measure(self) -> list[CachedVectors]:
        """What there is under each key, by key."""

    def size_bytes(self) -> int:
        """What the cache takes on disk, indexes and room that can be used again included."""

    def expected_hits(self, *, model_id: str, collection: str, shares: bool) -> ExpectedHits:
        """How many texts of a collection's documents have a vector.

        Args:
            model_id: Of the collection.
            collection: Whose recorded documents are asked for.
            shares: Whether scopes share vectors.
        """

    def count_unused(self, *, min_age_seconds: float) -> list[CacheSlice]:
        """Vectors that no document of ``index_state`` uses, per key that has some, by key.

        A vector that is kept for one scope is used by documents of that scope alone.

        Args:
            min_age_seconds: Only those that were kept at least so long ago.
        """


class EmbeddingCache(EmbeddingCacheReader, Protocol):
    """Vectors by model and text: durable, shared by all scopes and machines.

    The hash of a text is its embed hash. ``IndexState`` keeps the same one per
    document, which tells the vectors that no document uses any more.

    Unused vectors are forgotten in two steps, so that no run loses one between looking it up
    and writing it: they are marked, and deleted when every run that had begun by then has
    ended. A run announces itself by ``claim``, which takes the marks off what it finds, and
    ends by ``release``. So whoever looked up before the mark is waited for, and whoever looked
    up after it has taken it off.
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

    def mark_unused(self, *, min_age_seconds: float) -> Iterator[int]:
        """Mark what ``count_unused`` counts, a batch at a time.

        Yields:
            After each batch how many it marked; those that were marked already are not counted.
        """

    def fence_marks(self) -> MarkFence:
        """Wait for marks that are being set, and name the uses that may not have seen them."""

    def delete_marked(self, *, min_age_seconds: float, marked_by: datetime) -> Iterator[CacheSlice]:
        """Delete what is marked and still unused.

        Args:
            min_age_seconds: Only vectors that were kept at least so long ago.
            marked_by: Only those that were marked by then: a moment at which every use that had
                begun is over, or ``MARK_MARGIN_SECONDS`` before the first one that is not.

        Yields:
            After each batch what is gone.
        """

    def delete_model(self, *, model_id: str) -> Iterator[CacheSlice]:
        """Delete all vectors of a model, those kept for one scope too, used or not.

        Yields:
            After each batch what is gone.
        """


class EmbeddingRatesReader(Protocol):
    """How fast each model was when it was last used, to be read."""

    def texts_per_second(self, *, model_id: str) -> float | None:
        """The last measurement; None where the model was never used."""


class EmbeddingRates(EmbeddingRatesReader, Protocol):
    """How fast each model was when it was last used, for estimates."""

    def record(self, *, model_id: str, texts: int, seconds: float) -> None:
        """Keep the last measurement of a model."""
