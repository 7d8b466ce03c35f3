"""A deterministic failure is charged to exactly one item; a systemic one to none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from sync_pipeline.core.errors import OutOfSpaceError, PermanentError

T = TypeVar("T")
R = TypeVar("R")

MAX_CULPRITS_WITHOUT_SUCCESS: Final = 16
"""After so many single failures and no success the fault is not in the items."""


def apply_bisecting(
    items: Sequence[T],
    apply: Callable[[Sequence[T]], R],
    *,
    blame: Callable[[T, PermanentError], None],
) -> Iterator[tuple[Sequence[T], R]]:
    """Apply to all items at once; halve on failure until each culprit stands alone.

    A ``MemoryError`` halves too: the batch was too large and nobody is to
    blame, unless a single item is already too much.

    Args:
        items: What to apply to; order is kept.
        apply: Takes a run of items; all or nothing.
        blame: Told of every single item that fails by itself.

    Yields:
        Each run of items that succeeded, with its result.

    Raises:
        PermanentError: item after item fails and none succeeds: a wrong model, not a
            wrong text. Nobody is blamed for that beyond the first few.
        OutOfSpaceError: at once; smaller batches do not help.
    """
    pending = [items] if items else []
    culprits, has_success = 0, False
    while pending:
        run = pending.pop()
        try:
            result = apply(run)
        except OutOfSpaceError:
            raise
        except (PermanentError, MemoryError) as error:
            if len(run) > 1:
                half = len(run) // 2
                pending += [run[half:], run[:half]]
                continue
            culprits += 1
            if culprits > MAX_CULPRITS_WITHOUT_SUCCESS and not has_success:
                raise
            blame(run[0], _as_permanent(error))
        else:
            has_success = True
            yield run, result


def _as_permanent(error: PermanentError | MemoryError) -> PermanentError:
    if isinstance(error, PermanentError):
        return error
    return PermanentError("this item alone needs more memory than there is")
