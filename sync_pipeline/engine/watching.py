"""Steps as others see them while they run: events at start and end, and a span."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from sync_pipeline.core.errors import StoppedError
from sync_pipeline.core.reports import Counts
from sync_pipeline.engine.staged import EmbeddedTexts
from sync_pipeline.engine.telling import Whereabouts, error_told, span_facts, tell, working_on

if TYPE_CHECKING:
    from sync_pipeline.core.ports import Span
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext

SeenStep = Literal["export", "compare", "embed", "seal", "upsert", "cleanup"]
"""A step as it is watched: that of embedding in its parts."""

P = ParamSpec("P")
R = TypeVar("R")


def watched(step: SeenStep, *, of: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a step tell when it begins and how it ends.

    Args:
        step: Its name.
        of: The argument that says of which scope and run it is, and what that had done before:
            what the step before handed over. None where scope and run are arguments themselves.
    """

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        @wraps(work)
        def told(*arguments: P.args, **named: P.kwargs) -> R:
            sync: Any = arguments[0]
            about = _About.of(named, handed_over=of)
            where = Whereabouts(run_id=about.run_id, scope=about.scope.key, step=step)
            facts = span_facts(run_id=where.run_id, scope=where.scope)
            with working_on(where), sync.tracer.span(step, facts) as span:
                return _tell_of(sync, step, about.counts, lambda: work(*arguments, **named), span)

        return told

    return decorate


@dataclass(frozen=True, slots=True)
class _About:
    """What a step is about."""

    scope: Scope
    run_id: str
    counts: Counts
    """Of the run before this step."""

    @classmethod
    def of(cls, named: Mapping[str, Any], *, handed_over: str | None) -> Self:
        """Read from the arguments of a step."""
        if handed_over is None:
            return cls(named["scope"], named["run_id"], named.get("so_far", Counts()))
        before = named[handed_over]
        return cls(before.scope, before.run_id, before.counts)


def _tell_of(
    sync: SyncContext, step: SeenStep, before: Counts, work: Callable[[], R], span: Span
) -> R:
    began = sync.seconds()
    tell(logging.INFO, "step_started", f"{step} begins")
    try:
        done = work()
    except StoppedError as stop:
        tell(
            logging.WARNING,
            "step_stopped",
            f"{step} was stopped",
            counts=None if stop.counts is None else _since(before, stop.counts),
            seconds=sync.seconds() - began,
            error=error_told(stop),
        )
        raise
    except BaseException as error:
        tell(
            logging.ERROR,
            "step_failed",
            f"{step} failed",
            seconds=sync.seconds() - began,
            error=error_told(error),
        )
        raise
    counts = _own(done, before=before)
    tell(
        logging.INFO,
        "step_ended",
        f"{step} ended",
        counts=counts,
        seconds=sync.seconds() - began,
    )
    span.note(span_facts(**counts))
    return done


def _own(done: object, *, before: Counts) -> dict[str, int]:
    """What a step has done itself, without zeros."""
    if isinstance(done, EmbeddedTexts):
        return _since(Counts(), done.counts)
    counts = done if isinstance(done, Counts) else getattr(done, "counts", before)
    return _since(before, counts)


def _since(before: Counts, now: Counts) -> dict[str, int]:
    known = before.numbers()
    return {name: n - known[name] for name, n in now.numbers().items() if n != known[name]}
