"""Cutting texts into passes through a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

CPU_PASS_TOKENS: Final = 512
"""Most tokens, padding included, that a CPU works on at once.

Measured with the bundled model and English catalogue texts of 22 tokens, texts per second of
CPU time: passes of 384 to 768 tokens 465 in bfloat16 and 160 in float32; sentence-transformers'
``encode`` with 64 texts each 289 and 74; its best batch size (16) 391 and 129. Beyond that the
activations fall out of the CPU's caches.
"""


def plan_passes(
    lengths: Sequence[int], *, max_texts: int, max_tokens: int | None
) -> Iterator[list[int]]:
    """Cut texts into passes of like length.

    Args:
        lengths: Tokens of each text.
        max_texts: Most texts in a pass.
        max_tokens: Most tokens in a pass when each text is padded to its longest; None for no
            limit. A single text may have more.

    Yields:
        Positions in ``lengths``, longest texts first.
    """
    held: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        too_wide = (
            max_tokens is not None and held and (len(held) + 1) * lengths[held[0]] > max_tokens
        )
        if too_wide or len(held) == max_texts:
            yield held
            held = []
        held.append(place)
    if held:
        yield held
