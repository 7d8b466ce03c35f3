"""What every runtime promises, and how the lean ones see their work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RuntimeName = Literal["numpy", "onnx", "torch"]
RuntimeChoice = Literal["auto", "numpy", "onnx", "torch"]
Side = Literal["document", "query"]

LEAN: Final[tuple[RuntimeName, ...]] = ("numpy", "onnx")
"""Those that do without torch; for models of a known kind only."""


class Runtime(Protocol):
    """A model in memory; used by one thread at a time.

    It takes texts, not tokens: models of unknown kinds decide themselves what becomes of a text.
    """

    pass_tokens: int | None
    """Most tokens of one pass, padding included; None for no limit."""

    def encode(self, texts: Sequence[str], *, prompt: str, side: Side) -> NDArray[np.float32]:
        """Compute the vectors of texts in one pass, in their order.

        Args:
            texts: At least one.
            prompt: Put before each of them.
            side: What they are, where the model treats search texts otherwise.

        Returns:
            One row per text, of any length, shape ``(len(texts), dimension)``.

        Raises:
            MemoryError: there are too many.
        """


class Forward(Protocol):
    """Computes the vectors of tokenized texts with the weights of a BERT encoder."""

    def __call__(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One row per text, shape ``(len(tokens), hidden)``; no text is without a token."""
