"""What a model answers: vectors, and what they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.point import check_vectors
from sync_pipeline.core.spending import Tariff
from sync_pipeline.core.vocabulary import TokenCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The answer to one call of a model, text by text in the order asked."""

    vectors: NDArray[np.float32]
    """One L2-normalised row per text, shape ``(texts, dimension)``."""
    counts: Sequence[TokenCount]
    """Tokens of each text; estimated where the provider's tokenizer is not at hand."""
    truncated: Sequence[bool]
    """Whether a text is longer than the model's window, so that its tail is not read."""
    provider: str
    """Who computed it: ``sentence-transformers``, ``hashing``, or a service's host."""
    stated_tokens: int | None = None
    """What the provider says that it took, prompts included; None where it says nothing."""
    tariff: Tariff | None = None
    """What its provider charges, where that is not what the model's tariff says."""
    calls: int = 1
    """Requests that the provider answered with vectors, or passes through a model here."""
    unanswered_calls: int = 0
    """Requests before, of the same texts, whose end nobody knows: they may be charged too."""

    @property
    def tokens(self) -> int:
        """What it took: as the provider states it, else as it was counted."""
        if self.stated_tokens is not None:
            return self.stated_tokens
        return sum(count.tokens for count in self.counts)

    def besides(self, other: Embedded) -> Embedded:
        """The same vectors, with what another answer took counted in."""
        is_stated = self.stated_tokens is not None or other.stated_tokens is not None
        return replace(
            self,
            stated_tokens=self.tokens + other.tokens if is_stated else None,
            calls=self.calls + other.calls,
            unanswered_calls=self.unanswered_calls + other.unanswered_calls,
        )

    def by_text(self) -> list[Embedded]:
        """The answer for each text alone; of what is stated for all, nothing."""
        return [
            Embedded(
                vectors=self.vectors[place : place + 1],
                counts=[count],
                truncated=[is_cut],
                provider=self.provider,
                calls=0,
            )
            for place, (count, is_cut) in enumerate(zip(self.counts, self.truncated, strict=True))
        ]

    def checked(self, *, count: int, dimension: int, origin: str) -> Embedded:
        """The same, if it can be the answer to so many texts.

        Args:
            count: Texts that were asked for.
            dimension: Length that every vector must have.
            origin: Where it comes from, for the message.

        Raises:
            InvalidVectorError: a vector that no index can hold.
            PermanentError: not one vector per text.
        """
        check_vectors(self.vectors, dimension=dimension, origin=origin)
        if not len(self.vectors) == len(self.counts) == len(self.truncated) == count:
            raise PermanentError(f"{origin} returned {len(self.vectors)} vectors for {count} texts")
        return self


def joined(parts: Sequence[Embedded], *, dimension: int, provider: str) -> Embedded:
    """The answers to parts of one call as one.

    Args:
        parts: In the order of the texts; all or none of them state their tokens.
        dimension: Of the vectors, for no parts at all.
        provider: Who was asked.
    """
    empty = np.empty((0, dimension), dtype=np.float32)
    stated = [part.stated_tokens for part in parts if part.stated_tokens is not None]
    return Embedded(
        vectors=np.concatenate([empty, *(part.vectors for part in parts)]),
        counts=[count for part in parts for count in part.counts],
        truncated=[is_cut for part in parts for is_cut in part.truncated],
        provider=provider,
        stated_tokens=sum(stated) if parts and len(stated) == len(parts) else None,
        calls=sum(part.calls for part in parts),
        unanswered_calls=sum(part.unanswered_calls for part in parts),
    )
