"""Arithmetic that all embedders share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to length 1, in float32 whatever precision the model worked in.

    A row of zeros stays one: it has no direction, and the caller's check names it.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
