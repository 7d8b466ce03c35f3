"""What one run over one landing works with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from sync_pipeline.core.errors import LandingBusyError, StoppedError
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.liveness import BEATS_PER_LEASE
from sync_pipeline.core.ports import (
    LandingFence,
    LandingStore,
    OpenOrigin,
    Progress,
    RecordOrigin,
    StopSignal,
)
from sync_pipeline.core.waiting import wait
from sync_pipeline.engine.context import SilentProgress, SyncContext, never_stop
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.engine.repeating import repeating

HELD_SECONDS: Final = 30.0
"""How long whoever follows changes that never cease lands before others may."""
PATIENCE_SECONDS: Final = 45.0
"""Longer than that."""
_TRY_EVERY_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingContext:
    """Where records land, where they come from, and who is told meanwhile."""

    store: LandingStore
    open_origin: OpenOrigin
    lease_ttl_seconds: float = 60.0
    patience_seconds: float = 0.0
    """How long another run that lands the same records is waited for."""
    progress: Progress = field(default_factory=SilentProgress)
    should_stop: StopSignal = never_stop
    seconds: Callable[[], float] = time.perf_counter

    @classmethod
    def of(cls, landings: Landings, sync: SyncContext) -> Self:
        """That of an installation."""
        return cls(
            store=landings.store,
            open_origin=landings.open_origin,
            lease_ttl_seconds=sync.options.lease_ttl_seconds,
            patience_seconds=PATIENCE_SECONDS,
            progress=sync.progress,
            should_stop=sync.should_stop,
            seconds=sync.seconds,
        )

    def checkpoint(self, landing: Landing) -> None:
        """Stop here if asked to.

        Raises:
            StoppedError: asked to stop; the pass goes on where it was.
        """
        if self.should_stop():
            raise StoppedError(
                f"landing {landing.name!r} was stopped after a page; the next run goes on there"
            )


@contextmanager
def landing_lease(
    context: LandingContext, landing: Landing, *, owner: str
) -> Iterator[LandingFence]:
    """Hold the right to land, renewed by itself, for the length of the ``with``.

    Raises:
        LandingBusyError: another run has it, and keeps it.
        StoppedError: asked to stop while waiting for it.
    """
    ttl_seconds = context.lease_ttl_seconds
    fence = _acquired(context, landing, owner=owner)
    renew = partial(context.store.renew, fence, ttl_seconds=ttl_seconds)
    every_seconds = ttl_seconds / BEATS_PER_LEASE
    with repeating(renew, every_seconds=every_seconds, name="sync-pipeline-landing-lease"):
        try:
            yield fence
        finally:
            context.store.release(fence)


def _acquired(context: LandingContext, landing: Landing, *, owner: str) -> LandingFence:
    """Take the right to land; whoever follows changes gives it back every now and then."""
    began = context.seconds()
    while True:
        try:
            return context.store.acquire(
                landing.name, owner=owner, ttl_seconds=context.lease_ttl_seconds
            )
        except LandingBusyError:
            if context.seconds() - began >= context.patience_seconds:
                raise
        wait(_TRY_EVERY_SECONDS)


@contextmanager
def opened_origin(context: LandingContext, landing: Landing) -> Iterator[RecordOrigin]:
    """The origin of a landing, closed at the end."""
    origin = context.open_origin(landing)
    try:
        yield origin
    finally:
        origin.close()
