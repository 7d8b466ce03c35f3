"""What turns texts into vectors and term weights (the contract of ``embedding``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.point import SparseVector
from sync_pipeline.core.ports.batches import BatchEmbedder
from sync_pipeline.core.rate_limits import NOTHING_STATED, StatedLimits, Turn
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
    def by_batch(self) -> BatchEmbedder | None:
        """The same model for many texts at once, within a day and for less.

        None where there is no such thing, or nobody wants it.
        """

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


class RateLimiter(Protocol):
    """Keeps all that share it within the limits of one account with a service.

    Whoever wants to send a request takes a turn, waits as long as it says, and settles it when
    the answer is there. Turns are given in the order of asking, and none is given twice: what
    all together send in a minute stays within the limits, those of the settings and those that
    the service stated last, whichever are less.
    """

    def take(self, *, tokens: float, goes_ahead: bool = False) -> Turn:
        """Take a turn for one request; it counts at once, also where it is never used.

        Args:
            tokens: That it is expected to take.
            goes_ahead: Wait for no other request, only while the service answers nobody.

        Returns:
            How long to wait; without a place (``is_taken``) where that is more than
            ``core.rate_limits.MAX_QUEUE_SECONDS``.

        Raises:
            TransientError: where the turns are kept cannot be reached.
        """

    def settle(
        self, *, expected: float, taken: float, stated: StatedLimits = NOTHING_STATED
    ) -> None:
        """Correct a turn by what it took, and pass on what the answer states.

        Args:
            expected: Tokens that the turn was taken for.
            taken: Tokens that it took; 0 where it took none.
            stated: With ``closed_seconds`` nobody sends anything for so long, also not those
                who have a turn: they see it in ``blocked_seconds``.

        Raises:
            TransientError: where the turns are kept cannot be reached.
        """

    def blocked_seconds(self) -> float:
        """For how long from now nobody may send anything; 0: for no time.

        Raises:
            TransientError: where the turns are kept cannot be reached.
        """


class SparseEncoder(Protocol):
    """BM25 term weights."""

    sparse_id: str
    """Names language and parameters; part of the collection's fingerprint."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weigh the terms of documents."""

    def encode_query(self, text: str) -> SparseVector:
        """Weigh the terms of a search text."""
