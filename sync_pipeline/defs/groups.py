"""Many small scopes in one run: a run of its own costs each 57 events, a group one to four."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import dagster as dg
from pydantic import Field

from sync_pipeline.core.errors import (
    GroupFailedError,
    StoppedError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.grouping import GroupPolicy
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.core.reports import Counts, ScopeReport, SyncMode, shown_counts
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.assets import (
    CleanupConfig,
    exported_documents,
    stale_cleanup,
    upserted_points,
    with_limit,
)
from sync_pipeline.defs.dagster_private import (
    MATERIALIZED,
    RESUME_RETRY_TAG,
    materialization_planned,
)
from sync_pipeline.defs.embedding import embedded_documents
from sync_pipeline.defs.executors import IN_PROCESS
from sync_pipeline.defs.failures import RETRIES, as_dagster_failures
from sync_pipeline.defs.partitions import PARTITIONS_NAME, scope_partitions
from sync_pipeline.defs.recording import history_now, record_member
from sync_pipeline.defs.run_scopes import GROUP_JOB, GROUP_STEP
from sync_pipeline.defs.run_tags import priority_tags
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.group import Member, sync_group
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline.engine.switching import go_live_when_filled

GROUP_TAG: Final = "sync_pipeline/group"
"""Run tag for people: how many scopes, and the first of them."""

LANE_TAG: Final = "sync_pipeline/one_at_a_time"
"""Run tag of groups that wait for one another; ``dagster.yaml`` has the limit."""

MAX_PARENTS: Final = 10
"""How far back a repeated run looks for what was done already."""

SHOWN_COUNTS: Final = (
    "rows", "quarantined", "new", "changed", "payload_changed", "embedded_texts", "failed",
)  # fmt: skip
"""Of the steps before the last what a materialization shows where it is not 0; all counts of a
scope are in the record of its runs. Each costs 150 bytes, of which there are 10,000 a night."""

_BEFORE_CLEANUP: Final = (exported_documents, embedded_documents, upserted_points)


class GroupConfig(dg.Config):
    """Which scopes one run syncs."""

    scope_keys: list[str] = Field(description="`global` and ids of tenants, in their order.")
    mode: Literal["full", "incremental"] = Field(
        default="full", description="As of the asset exported_documents, for every scope."
    )
    max_deleted_fraction: float | None = Field(
        default=None, description="As of the asset stale_cleanup, for every scope."
    )


@dataclass(slots=True)
class _Tally:
    """What became of the scopes of a run so far."""

    keys: tuple[str, ...]
    before: int = 0
    """How many of them an earlier attempt has brought in step."""
    synced: int = 0
    skipped: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    """Of scopes that failed for good."""
    passing: dict[str, TransientError] = field(default_factory=dict)
    """Of scopes that are tried again."""
    counts: Counts = field(default_factory=Counts)
    unforeseen: Exception | None = None
    """The first error that is none of ours."""

    @property
    def not_begun(self) -> int:
        """Scopes that had no turn."""
        ended = self.before + self.synced + self.skipped + len(self.errors) + len(self.passing)
        return len(self.keys) - ended

    def begin(self, settled: Mapping[str, SyncRun]) -> list[str]:
        """Count what is known already; keys of the scopes that are left to sync."""
        for key in self.keys:
            known = settled.get(key)
            if known is None:
                continue
            self.before += known.status == "success"
            self.skipped += known.status == "skipped"
            if known.status == "failed":
                self.errors[key] = str(known.error)
        return [key for key in self.keys if key not in settled]

    def take(self, member: Member) -> None:
        """Count the outcome of a scope."""
        report = member.report
        self.counts += Counts(**report.numbers())
        if report.status == "success":
            self.synced += 1
        elif report.status == "skipped":
            self.skipped += 1
        else:
            self.errors[report.scope_key] = str(report.error)
        if member.error is not None and not isinstance(member.error, SyncPipelineError):
            self.unforeseen = self.unforeseen or member.error

    def facts(self) -> dict[str, Any]:
        """What Dagster shows of the run."""
        numbers = {name: count for name, count in self.counts.numbers().items() if count}
        outcome = {"synced": self.synced, "skipped": self.skipped, "synced_before": self.before}
        return {"scopes": len(self.keys), **outcome, **numbers}


@dg.op(
    name=GROUP_STEP,
    out=dg.Out(dg.Nothing),
    retry_policy=RETRIES,
    description="Syncs each scope with its own lease, record and error; a busy one is skipped.",
)
def sync_scopes_of_group(
    context: dg.OpExecutionContext, config: GroupConfig, sync: dg.ResourceParam[SyncContext]
) -> None:
    """Bring every scope of the group in step; its partition is materialized as soon as it is.

    A repeated run, and a repeated step, leave out what the attempts before have done. Not a
    generator: each time such a one is resumed Dagster puts its own answer to signals in place of
    ours.
    """
    is_last = context.retry_number >= RETRIES.max_retries
    with (
        beating(
            sync.heartbeats,
            run_id=context.run.run_id,
            step_key=GROUP_STEP,
            lease_ttl_seconds=sync.options.lease_ttl_seconds,
        ),
        sync.tracer.within(context.run.run_id),
        as_dagster_failures(retry_number=context.retry_number),
        stopping_on_signals(sync) as stoppable,
    ):
        tally = _Tally(tuple(dict.fromkeys(config.scope_keys)))
        todo = tally.begin(_settled(context.instance, sync, run=context.run))
        context.instance.add_dynamic_partitions(PARTITIONS_NAME, todo)
        limited = with_limit(
            stoppable, CleanupConfig(max_deleted_fraction=config.max_deleted_fraction)
        )
        unseen = _unseen_partitions(context.instance, keys=todo)
        began_at, began = history_now(), sync.seconds()
        members = sync_group(
            limited,
            scopes=[Scope.from_key(key) for key in todo],
            run_id=context.run.run_id,
            mode=config.mode,
        )
        for member in members:
            key = member.report.scope_key
            if isinstance(member.error, TransientError) and not (member.is_busy or is_last):
                tally.passing[key] = member.error
                continue
            if member.is_in_step:
                for event in _materializations(member, unseen=unseen.get(key, ())):
                    context.log_event(event)
            if member.report.status == "failed":
                _show_failed(context.instance, run=context.run, key=key)
            # Last: what is recorded is not done again, should the process be killed here.
            record_member(sync, member, run_id=context.run.run_id, started_at=began_at)
            tally.take(member)
            began_at = history_now()
        said = _switch(context, sync) if tally.synced else {}
        _finish(stoppable, tally)
    context.add_output_metadata(
        {**tally.facts(), "seconds": round(sync.seconds() - began, 3), **said}
    )


def build_group_job(**resources: object) -> dg.JobDefinition:
    """The job that syncs groups.

    Args:
        resources: By name, above all ``sync``. A sensor's job has to have its own, see
            ``dagster_private.with_bound_jobs``.
    """

    @dg.job(
        name=GROUP_JOB,
        executor_def=IN_PROCESS,
        resource_defs=resources,
        description="Brings a group of small scopes in step in one run, one after the other; the "
        "run fails at its end where some of them failed, and names them.",
    )
    def sync_group_job() -> None:
        sync_scopes_of_group()

    return sync_group_job


sync_group_job: Final = build_group_job()
"""Names the job to whoever asks for runs of it."""


def group_request(
    scopes: Sequence[Scope],
    *,
    priority: int,
    policy: GroupPolicy,
    mode: SyncMode = "full",
    max_deleted_fraction: float | None = None,
    run_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """Ask for the sync of a group.

    Args:
        scopes: What to sync, in this order.
        priority: Queued runs with a greater one are started first.
        policy: Whether groups wait for one another.
        mode: Which rows to look at.
        max_deleted_fraction: As in ``RunOptions``.
        run_key: Asked for twice under one key, it is one run; None makes every request a run.
        tags: More tags of the run.
    """
    config = {
        "scope_keys": [scope.key for scope in scopes],
        "mode": mode,
        "max_deleted_fraction": max_deleted_fraction,
    }
    return dg.RunRequest(
        job_name=GROUP_JOB,
        run_key=run_key,
        run_config={"ops": {GROUP_STEP: {"config": config}}},
        tags={
            GROUP_TAG: f"{len(scopes)} scopes, first {scopes[0].key}",
            **priority_tags(priority),
            **({LANE_TAG: "embedded index"} if policy.one_at_a_time else {}),
            **(tags or {}),
        },
    )


def _settled(
    instance: dg.DagsterInstance, sync: SyncContext, *, run: dg.DagsterRun
) -> dict[str, SyncRun]:
    """What is known already of scopes of this run, by key.

    An earlier attempt of the step has recorded its outcomes. Of the runs that this one repeats
    from failure only successes count.
    """
    before: list[str] = []
    parent = run
    resumed = run.tags.get(RESUME_RETRY_TAG) == "true"
    while resumed and parent.parent_run_id is not None and len(before) < MAX_PARENTS:
        before.append(parent.parent_run_id)
        found = instance.get_run_by_id(parent.parent_run_id)
        if found is None:
            break
        parent = found
    recorded = sync.runs.get_many([run.run_id, *before])
    own = {it.scope_key: it for it in recorded if it.run_id == run.run_id}
    return {it.scope_key: it for it in recorded if it.status == "success"} | own


def _unseen_partitions(
    instance: dg.DagsterInstance, *, keys: Sequence[str]
) -> dict[str, list[dg.AssetKey]]:
    """By scope key the assets before the last that Dagster does not show as materialized.

    One event of the last asset says that a scope is in step. Of the others one is written where
    the partition page would be wrong without it: mostly at the first sync.
    """
    unseen: dict[str, list[dg.AssetKey]] = {}
    for asset in _BEFORE_CLEANUP:
        statuses = instance.get_status_by_partition(asset.key, list(keys), scope_partitions) or {}
        for key in keys:
            if statuses.get(key) is not MATERIALIZED:
                unseen.setdefault(key, []).append(asset.key)
    return unseen


def _materializations(
    member: Member, *, unseen: Sequence[dg.AssetKey]
) -> Iterator[dg.AssetMaterialization]:
    """What tells Dagster that a scope is in step; what was done stands with the last asset."""
    report = member.report
    for asset_key in unseen:
        yield dg.AssetMaterialization(asset_key, partition=report.scope_key)
    numbers = report.numbers()
    yield dg.AssetMaterialization(
        stale_cleanup.key,
        partition=report.scope_key,
        metadata={
            **{name: numbers[name] for name in SHOWN_COUNTS if numbers[name]},
            **shown_counts("cleanup", report),
            "seconds": round(report.seconds.total, 3),
        },
    )


def _show_failed(instance: dg.DagsterInstance, *, run: dg.DagsterRun, key: str) -> None:
    """Have Dagster show the partition as failed once the run has ended: planned and not made."""
    planned = materialization_planned(
        job_name=run.job_name, step_key=GROUP_STEP, asset_key=stale_cleanup.key, partition=key
    )
    instance.report_dagster_event(planned, run_id=run.run_id)


def _switch(context: dg.OpExecutionContext, sync: SyncContext) -> dict[str, str]:
    """Let a new generation serve, where this group was the last to fill it; see ``stale_cleanup``.

    The scopes are in step by now: whatever keeps the generation from serving is told.
    """
    try:
        switched = go_live_when_filled(sync)
    except SyncPipelineError as error:
        context.log.warning("whether the new generation can serve is not known: %s", error)
        return {}
    if switched is None:
        return {}
    return {"note": str(switched.noted(ScopeReport(scope_key="", status="success")).note)}


def _finish(sync: SyncContext, tally: _Tally) -> None:
    """End the step as its scopes have.

    Raises:
        TransientError: of a scope that can be tried again.
        StoppedError: asked to stop before the last scope had its turn.
        GroupFailedError: scopes have failed for good, or were not begun.
    """
    if sync.should_stop():
        left = tally.not_begun + len(tally.passing)
        raise StoppedError(
            f"stopped in a group of {len(tally.keys)} scopes: {tally.synced + tally.before} are in "
            f"step, {left} were not begun, {len(tally.errors)} failed or were stopped. Re-execute "
            "this run from failure for the rest.",
            counts=tally.counts,
        )
    for error in tally.passing.values():
        raise error
    if not tally.errors and not tally.not_begun:
        return
    failed = GroupFailedError(
        scopes=len(tally.keys),
        synced=tally.synced + tally.before,
        skipped=tally.skipped,
        errors=tally.errors,
        not_begun=tally.not_begun,
    )
    raise failed from tally.unforeseen
