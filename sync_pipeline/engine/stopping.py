"""What a stop takes along: the counts of the run until then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.reports import Counts


@contextmanager
def counted(counts: Callable[[], Counts]) -> Iterator[None]:
    """Have a stop inside the ``with`` say what was done, unless a place further in has said it.

    Args:
        counts: Of the run so far, all steps together; asked when it stops.
    """
    try:
        yield
    except StoppedError as stop:
        if stop.counts is None:
            stop.counts = counts()
        raise
