"""What every step of a run needs: its scope, signs of life, a clean stop, clear failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from sync_pipeline.core.ports import Fence
from sync_pipeline.core.reports import Counts, Step, shown_counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.failures import as_dagster_failures
from sync_pipeline.defs.recording import recording_failure
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.engine.steps.sync import Reached
from sync_pipeline.engine.stopping import counted

StepContext = dg.AssetExecutionContext | dg.OpExecutionContext
"""Dagster's context of an asset, or of an op of one that is made of several."""

HoldScope = Callable[..., AbstractContextManager[Fence]]
"""``engine.lease.scope_lease`` or ``shared_lease``."""


@dataclass(slots=True, kw_only=True)
class ScopeStep:
    """One scope's turn in one step of a run."""

    sync: SyncContext
    scope: Scope
    fence: Fence
    run_id: str
    done: Counts
    """By the run so far: set at the end of the step, which may still be stopped then."""


@contextmanager
def scope_step(
    context: StepContext,
    sync: SyncContext,
    *,
    reached: Reached | None,
    hold: HoldScope = scope_lease,
) -> Iterator[ScopeStep]:
    """Do a step of a scope.

    Args:
        context: Which scope and run.
        sync: The ports.
        reached: What the step before this one handed over; None for the first.
        hold: How the scope is held: alone, or together with other steps of the run.
    """
    scope, run_id = Scope.from_key(context.partition_key), context.run.run_id
    before = Counts() if reached is None else reached.counts
    step: ScopeStep | None = None
    with (
        beating(
            sync.heartbeats,
            run_id=run_id,
            step_key=context.get_step_execution_context().step.key,
            lease_ttl_seconds=sync.options.lease_ttl_seconds,
        ),
        sync.tracer.within(run_id),
        recording_failure(context, sync, reached=reached),
        as_dagster_failures(retry_number=context.retry_number),
        counted(lambda: before if step is None else step.done),
        stopping_on_signals(sync) as stoppable,
        hold(stoppable, scope=scope, owner=run_id) as fence,
    ):
        stoppable.checkpoint(scope=scope)
        step = ScopeStep(sync=stoppable, scope=scope, fence=fence, run_id=run_id, done=before)
        yield step


def shown(step: Step, counts: Counts, *, seconds: float, **more: object) -> dict[str, Any]:
    """A step's result as metadata that people read; seconds to the millisecond."""
    facts = {name: value for name, value in more.items() if value is not None}
    return {**shown_counts(step, counts), "seconds": round(seconds, 3), **facts}
