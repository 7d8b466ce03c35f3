"""Which complete pass a table was the result of, at any moment since it landed first.

A scope that was synced at some moment is in sync with what the table held then. A pass that
changes nothing shows that the table held all along what that pass saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MOST_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Completion:
    """What a table was at least as new as, from some moment on."""

    applied_at: datetime
    """Since when it has held this."""
    complete_at: datetime
    """When the complete pass began that has shown so last."""


def noted(
    completions: Sequence[Completion], *, complete_at: datetime, content_at: datetime
) -> tuple[Completion, ...]:
    """The same with one more complete pass.

    Args:
        completions: Oldest first.
        complete_at: When the pass began.
        content_at: When the table was last changed, by this pass or by any other before it.
    """
    others = [it for it in completions if it.applied_at != content_at]
    return _thinned((*others, Completion(content_at, complete_at)))


def complete_before(completions: Sequence[Completion], moment: datetime) -> datetime | None:
    """What the table was at least as new as at a moment; None: nobody knows."""
    known = [it.complete_at for it in completions if it.applied_at <= moment]
    return max(known, default=None)


def _thinned(completions: tuple[Completion, ...]) -> tuple[Completion, ...]:
    """Not more than are kept; where one is left out, an older one is told, never a newer one."""
    if len(completions) <= MOST_KEPT:
        return completions
    half = MOST_KEPT // 2
    return (*completions[:-half:2], *completions[-half:])
