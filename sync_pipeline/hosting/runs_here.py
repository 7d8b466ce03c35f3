"""One run of a job in this process, recorded in Dagster's history, and what ended it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import OUTAGES, SyncPipelineError
from sync_pipeline.core.reports import Counts
from sync_pipeline.defs.dagster_private import MAX_RETRIES_TAG, StepFailureData
from sync_pipeline.defs.failures import COUNTS_FACT, ERROR_FACT, STOPPED_FACT
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline.engine.telling import span_facts

ORIGIN_TAG: Final = "sync_pipeline/origin"
"""Run tag that tells runs of the command line from those that Dagster started."""

OUTAGE_NAMES: Final = frozenset(kind.__name__ for kind in OUTAGES)

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Without a line on the terminal for every event."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended a run before its end."""

    message: str
    """Without a traceback."""
    error_name: str | None = None
    """Class name of the error; None where none of a step's own ended it."""
    stopped_reason: str | None = None
    """As in ``ScopeReport``."""
    counts: Counts | None = None
    """What a stopped run had done."""


def run_here(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    sync: SyncContext,
    *,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
    partition_key: str | None = None,
    **about: str,
) -> tuple[dg.ExecuteInProcessResult, Ending | None]:
    """Run a job to its end.

    Args:
        instance: Records it.
        job: With its resources.
        sync: Takes signs of life, and the span of the run.
        config: Of the run.
        tags: Beside those of every run here.
        partition_key: Of the run, where the job has partitions.
        about: What its span says it is about.

    Returns:
        Its result, and what ended it before its end; None where nothing did.
    """
    run_id = str(uuid.uuid4())
    # From before the run is made: killed at any moment after that, it can be told to be dead.
    facts = span_facts(run_id=run_id, job=job.name, **about)
    with (
        sync.tracer.run(run_id, facts) as span,
        beating(sync.heartbeats, run_id=run_id, lease_ttl_seconds=sync.options.lease_ttl_seconds),
    ):
        result = job.execute_in_process(
            run_id=run_id,
            run_config={**config, **_QUIET},
            instance=instance,
            partition_key=partition_key,
            raise_on_error=False,
            tags={
                ORIGIN_TAG: "cli",
                # Whoever typed the command sees that it failed; the daemon must not repeat it.
                MAX_RETRIES_TAG: "0",
                **tags,
            },
        )
        ending = _ending(result)
        if ending is not None:
            span.fail(ending.error_name or "RunFailed")
    # What is left of them is forgotten by whoever looks for dead runs next.
    with suppress(SyncPipelineError):
        sync.heartbeats.forget([run_id])
    return result, ending


def _ending(result: dg.ExecuteInProcessResult) -> Ending | None:
    """What ended a run before its end; None where nothing did."""
    for event in result.all_events:
        if event.is_step_failure:
            return _step_ending(event.step_failure_data)
    broken = [
        check
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    if broken:
        names = ", ".join(sorted(check.check_name for check in broken))
        return Ending(f"synced, but a check of the index failed: {names}", "AssetCheckFailed")
    if not result.success:
        return Ending("the run ended early; its events in `sync-pipeline dev` say why", "RunFailed")
    return None


def _step_ending(data: StepFailureData) -> Ending:
    if data.user_failure_data is None:
        # Not from a step's own code: Dagster could not start it or load its input.
        return Ending(str(data.error.message).strip() if data.error else "the step failed")
    facts: dict[str, Any] = {
        name: fact.value for name, fact in data.user_failure_data.metadata.items()
    }
    return Ending(
        str(data.user_failure_data.description),
        error_name=facts.get(ERROR_FACT),
        stopped_reason=facts.get(STOPPED_FACT),
        counts=Counts(**facts[COUNTS_FACT]) if COUNTS_FACT in facts else None,
    )
