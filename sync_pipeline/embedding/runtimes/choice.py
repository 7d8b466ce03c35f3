"""Which runtime takes the next texts."""

from __future__ import annotations

from typing import Final

from sync_pipeline.embedding.runtimes.runtime import RuntimeChoice, RuntimeName, Side

NUMPY_BEFORE_ONNX: Final = 48
"""ONNX Runtime is ready 0.3 s later than numpy, and 5 ms a text faster."""
NUMPY_BEFORE_TORCH: Final = 1_000
"""torch is ready 7 s later than numpy, and 5 ms a text faster."""


def choose_runtime(
    *,
    wanted: RuntimeChoice,
    is_known: bool,
    is_exact: bool,
    has_onnx: bool,
    is_lasting: bool,
    side: Side,
    so_far: int,
    is_full: bool,
) -> RuntimeName:
    """Choose by how many texts are coming: what starts fast, or what works fast.

    What works in less than float32 does so for its speed. A few texts gain nothing from it, and
    are computed in float32: their vectors are what the others are rounded from.

    Args:
        wanted: By the settings.
        is_known: Whether others than torch can compute the model.
        is_exact: Whether it works in float32, and not in a format that torch alone is fast in.
        has_onnx: Whether ONNX Runtime is installed.
        is_lasting: Whether the process goes on to answer others, who wait.
        side: What the texts are.
        so_far: Texts that the model had in this process, those of this call included.
        is_full: Whether the call has as many texts as one may have, so that more will follow.
    """
    if wanted != "auto":
        return wanted
    if not is_known:
        return "torch"
    # One search text is in no runtime slower than in torch, however many there were.
    if side == "document" and (is_full or so_far > NUMPY_BEFORE_TORCH):
        return "onnx" if has_onnx and is_exact else "torch"
    return "onnx" if has_onnx and (is_lasting or so_far > NUMPY_BEFORE_ONNX) else "numpy"
