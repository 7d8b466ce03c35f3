"""What answers have cost, and whether anybody still waits for them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from sync_pipeline.core.errors import StoppedError


@dataclass(slots=True)
class Cost:
    """Requests and waits; whoever asks adds to it, one thread at a time."""

    requests: int = 0
    """Failed attempts and logins among them."""
    waited_seconds: float = 0.0
    """Because the origin asked for it, or a limit of the settings."""

    def add(self, other: Cost) -> None:
        """Count what something else has cost as well."""
        self.requests += other.requests
        self.waited_seconds += other.waited_seconds


is_dropped: Final[ContextVar[Callable[[], bool]]] = ContextVar("is_dropped")
"""Whether nobody waits any more for what this context asks for."""


def check_wanted() -> None:
    """Go on only while somebody waits for the answer.

    Raises:
        StoppedError: nobody does.
    """
    if is_dropped.get(_never)():
        raise StoppedError("stopped asking for a page that nobody waits for any more")


def while_wanted(sleep: Callable[[float], None]) -> Callable[[float], None]:
    """A sleep that ends when nobody waits for the answer any more; for ``core.waiting.wait``."""

    def checked(seconds: float) -> None:
        check_wanted()
        sleep(seconds)

    return checked


def _never() -> bool:
    return False
