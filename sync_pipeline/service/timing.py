"""Where the time of a search goes: noted where it is spent, read where it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.ports import Lease, VectorStore

Part = Literal["waiting", "embedding", "index", "rest"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""Until the model or the index is free; the pass of the model; the index; all that is ours."""


@dataclass(slots=True)
class PartSeconds:
    """Seconds of one search by part."""

    seconds: dict[Part, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def server_timing(self) -> str:
        """The value of a ``Server-Timing`` header, in milliseconds."""
        return ", ".join(f"{part};dur={1000 * self.seconds[part]:.2f}" for part in PARTS)


_current: ContextVar[PartSeconds | None] = ContextVar("sync_pipeline_part_seconds", default=None)


@contextmanager
def timed_search() -> Iterator[PartSeconds]:
    """Measure what is done in this context; complete once the ``with`` has ended."""
    spent = PartSeconds()
    token = _current.set(spent)
    began = time.perf_counter()
    try:
        yield spent
    finally:
        _current.reset(token)
        noted = sum(spent.seconds.values())
        spent.seconds["rest"] = max(time.perf_counter() - began - noted, 0.0)


def note(part: Part, seconds: float) -> None:
    """Note what a part took, if it is of a search that is measured."""
    spent = _current.get()
    if spent is not None:
        spent.seconds[part] += seconds


def timed_lease(
    lease: Lease[VectorStore], *, on_busy: Callable[[], None]
) -> Callable[[], AbstractContextManager[VectorStore]]:
    """The same lease, with the time until it is given and the time that it is used for noted.

    Args:
        lease: Of the index.
        on_busy: Called where it is not given.
    """

    @contextmanager
    def leased() -> Iterator[VectorStore]:
        asked = time.perf_counter()
        given = None
        try:
            with lease() as store:
                given = time.perf_counter()
                note("waiting", given - asked)
                try:
                    yield store
                finally:
                    note("index", time.perf_counter() - given)
        except TransientError:
            if given is None:
                note("waiting", time.perf_counter() - asked)
                on_busy()
            raise

    return leased
