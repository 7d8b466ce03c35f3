"""An embedder that does to its own process what a text says; for worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.embedding.hashing import HashingEmbedder

DIE = "die before all others"
LACK_MEMORY = "lack memory"
LACK_MODEL = "lack the model"
MISCOUNT = "miscount"
TAKE_LONG = "take long"
LONG_SECONDS = 1.0


class ObedientEmbedder(HashingEmbedder):
    """Hashing vectors for all other texts."""

    def __init__(self, *, threads: int | None = None) -> None:
        super().__init__(dimension=64, max_batch=128)
        self._threads = threads

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Obey, then embed."""
        for text in texts:
            _obey(text)
        return super().embed(texts)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Tell the number of threads."""
        return (self._threads or 0) if texts else 0


def _obey(text: str) -> None:
    if text == DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    if text == LACK_MEMORY:
        raise MemoryError("the model ran out of memory")
    if text == LACK_MODEL:
        raise ModelUnavailableError(model="a-model", reason="its weights are damaged")
    if text == MISCOUNT:
        raise ValueError("two and two are five")
    if text == TAKE_LONG:
        time.sleep(LONG_SECONDS)
