"""Which providers are asked, and which have failed (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sync_pipeline.core.breaker import Breaker


class BreakersReader(Protocol):
    """The circuit breakers of providers, to be read."""

    def list_all(self, providers: Sequence[str]) -> list[Breaker]:
        """How each of these stands, in their order."""


class Breakers(BreakersReader, Protocol):
    """The circuit breakers of providers, one per provider for all processes together."""

    def may_ask(self, provider: str) -> bool:
        """Whether to ask it now; of those who come after its pause one may."""

    def note_success(self, provider: str) -> None:
        """Close it."""

    def note_failure(
        self,
        provider: str,
        *,
        error_code: str,
        error: str,
        wait_seconds: float | None = None,
        is_lasting: bool = False,
    ) -> None:
        """Note a call that failed, see ``Breaker.after_failure``."""
