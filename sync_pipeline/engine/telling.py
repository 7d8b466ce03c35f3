"""What happens in a run, told to programs: events with numbers, and never a text of a document."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.errors import SyncPipelineError

if TYPE_CHECKING:
    from sync_pipeline.core.ports import Attributes

EVENTS: Final = "sync_pipeline.events"
"""Logger of what happens in every run: for files, and not for a terminal."""

_events: Final = logging.getLogger(EVENTS)
_events.addHandler(logging.NullHandler())
_events.propagate = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What is being worked on."""

    run_id: str
    scope: str
    """Its key."""
    step: str


_whereabouts: ContextVar[Whereabouts | None] = ContextVar("sync_pipeline_step", default=None)


def whereabouts() -> Whereabouts | None:
    """What this thread is working on; None outside of steps."""
    return _whereabouts.get()


@contextmanager
def working_on(where: Whereabouts) -> Iterator[None]:
    """Have everything that is logged inside the ``with`` say what it is about."""
    token = _whereabouts.set(where)
    try:
        yield
    finally:
        _whereabouts.reset(token)


def tell(level: int, event: str, message: str, **fields: Any) -> None:
    """Log an event.

    Args:
        level: As ``logging`` has it.
        event: One word that never changes.
        message: The same for people.
        fields: Values that JSON has a form for; what is None is left out.
    """
    _events.log(level, message, extra={"event": event, "fields": fields})


def span_facts(**facts: str | float) -> Attributes:
    """The same as attributes of a span, in a name space of our own."""
    return {f"sync_pipeline.{name}": fact for name, fact in facts.items()}


def error_told(error: BaseException) -> dict[str, Any]:
    """An error for programs: its class, what happened and what to do; of others where it was.

    Messages of others may quote data, so they are left out.
    """
    name = type(error).__name__
    if isinstance(error, SyncPipelineError):
        return {"code": name, "message": error.what, "remedy": str(error.remedy) or None}
    return {
        "code": name,
        "message": "not foreseen; its message is left out, for it may quote data",
        "at": [
            f"{place.filename}:{place.lineno} {place.name}"
            for place in traceback.extract_tb(error.__traceback__)
        ],
    }
