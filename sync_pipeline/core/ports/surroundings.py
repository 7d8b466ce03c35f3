"""What the engine is given by whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, Self, TypeAlias, TypeVar

T = TypeVar("T")
Lease = Callable[[], AbstractContextManager[T]]
"""Opens something for the length of a ``with``."""


class Progress(Protocol):
    """Where a step tells how far it is."""

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        """``done`` of ``total`` items of ``step`` are finished."""


StopSignal = Callable[[], bool]
"""Whether somebody asked to stop; steps ask between batches."""


Attributes: TypeAlias = Mapping[str, str | int | float | bool]
"""What a span says about what it measures, by name; never a text of a document or a query."""

NO_ATTRIBUTES: Final[Attributes] = {}


class Span(Protocol):
    """Something that takes time, as a trace shows it; used after its end it does nothing."""

    def note(self, attributes: Attributes) -> None:
        """Say more about it."""

    def rename(self, name: str) -> None:
        """Call it something else, where its name is known late."""

    def fail(self, code: str) -> None:
        """Mark it as failed, with the class of the error."""


class Tracer(Protocol):
    """Where spans go. Nothing here raises, waits for whoever collects them, or costs where off."""

    def span(
        self, name: str, attributes: Attributes = NO_ATTRIBUTES
    ) -> AbstractContextManager[Span]:
        """Measure the ``with``, inside the span of this context or in a trace of its own.

        It fails with the error that ends the ``with``: its class is told, and not its message.
        """

    def request(self, name: str, *, traceparent: str | None) -> AbstractContextManager[Span]:
        """The same of a request, inside the trace of who asks, as W3C's header names it."""

    def run(
        self, run_id: str, attributes: Attributes = NO_ATTRIBUTES
    ) -> AbstractContextManager[Span]:
        """Measure a run, whoever executes its steps; see ``within``."""

    def within(self, run_id: str) -> AbstractContextManager[None]:
        """Have spans inside the ``with`` belong to that of a run, measured by any process."""


class NoTracer:
    """Measures nothing; also the span of everything, for what is made for nobody costs the most."""

    def span(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> Self:  # noqa: ARG002
        """Do nothing."""
        return self

    def request(self, name: str, *, traceparent: str | None) -> Self:  # noqa: ARG002
        """Do nothing."""
        return self

    def run(self, run_id: str, attributes: Attributes = NO_ATTRIBUTES) -> Self:  # noqa: ARG002
        """Do nothing."""
        return self

    def within(self, run_id: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def note(self, attributes: Attributes) -> None:
        """Do nothing."""

    def rename(self, name: str) -> None:
        """Do nothing."""

    def fail(self, code: str) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


_NOTHING: Final = nullcontext()
