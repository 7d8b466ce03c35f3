"""Embedding many texts overnight, for less (the contract of ``embedding`` and ``database``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How far a service is with a batch."""

    is_over: bool
    """Whether nothing more will come; what is there may be less than all."""
    is_queue_full: bool = False
    """Whether it was refused only because so much waits there already."""
    done: int = 0
    """Texts that have an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """The answer to one text of a batch."""

    text_hash: str
    vector: NDArray[np.float32] | None
    """L2-normalised; None where the service could not embed the text, or its answer is of no
    use."""
    tokens: int
    """That it took, as the service says."""


class BatchEmbedder(Protocol):
    """Embeds documents by the batch: handed over now, collected within a day."""

    from_texts: int
    """Fewer texts are not worth waiting for: they are embedded call by call."""
    max_batch_texts: int
    """Most texts of one batch."""

    def submit(self, texts: Mapping[str, str], *, name: str) -> str:
        """Hand texts over.

        Args:
            texts: By hash; at most ``max_batch_texts``.
            name: By which ``find`` knows the batch again.

        Returns:
            What the service calls it.

        Raises:
            ConfigurationError: key refused, unknown model, no such interface there.
            TransientError: nobody knows whether it was handed over; ``find`` does.
        """

    def find(self, name: str) -> str | None:
        """What the service calls the batch of a name; None where it has none that lives."""

    def look(self, batch_id: str) -> BatchProgress:
        """How far a batch is; one that the service does not know is over, without answers."""

    def iter_answers(self, batch_id: str) -> Iterator[BatchAnswer]:
        """The answers of a batch that is over, each text once, in any order.

        Texts without any answer are left out.
        """

    def discard(self, batch_id: str) -> None:
        """Remove texts and answers from the service; failing at that is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A batch that was planned, and not collected so far."""

    name: str
    batch_id: str | None
    """What the service calls it; None where nobody has noted that it was handed over."""
    text_hashes: frozenset[str]
    """All of its texts."""
    age_seconds: float
    """Since it was planned."""


class EmbeddingBatches(Protocol):
    """Which texts are in which batch, so that no text is handed over twice."""

    def plan(self, *, name: str, cache_key: str, text_hashes: Sequence[str]) -> set[str]:
        """Keep texts for a batch that is about to be handed over.

        Args:
            name: Of the batch; none has it so far.
            cache_key: Under which the vectors will be kept.
            text_hashes: That it is to have.

        Returns:
            Those that it may have: no other batch that is open has them. Without any there is
            no such batch.
        """

    def note(self, *, name: str, batch_id: str) -> None:
        """Note that a batch was handed over."""

    def list_open(self, *, cache_key: str, text_hashes: Sequence[str]) -> list[OpenBatch]:
        """Batches that have any of the texts, the oldest first."""

    def close(self, *, name: str) -> None:
        """Forget a batch; closing twice is not an error."""
