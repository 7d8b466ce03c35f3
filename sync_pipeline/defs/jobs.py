"""What can be started: the sync of a scope, and the daily tidying up."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from pydantic import Field

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.asset_checks import scope_checks
from sync_pipeline.defs.assets import exported_documents, stale_cleanup, upserted_points
from sync_pipeline.defs.dagster_private import RETRY_STRATEGY_TAG, UnresolvedAssetJobDefinition
from sync_pipeline.defs.embedding import embedded_documents
from sync_pipeline.defs.executors import IN_PROCESS, big_scope_executor
from sync_pipeline.defs.failures import as_dagster_failures
from sync_pipeline.defs.io_managers import delete_manifests
from sync_pipeline.defs.landing import with_landed_deps
from sync_pipeline.defs.partitions import PARTITIONS_NAME
from sync_pipeline.defs.run_history import (
    RunRetention,
    close_dead_runs,
    delete_old_runs,
    iter_failed_runs,
)
from sync_pipeline.defs.run_scopes import BIG_SCOPE_JOB
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline.engine.context import RunOptions, SyncContext
from sync_pipeline.engine.index import optimize_index
from sync_pipeline.engine.removal.maintenance import (
    VanishedPolicy,
    leftover_partitions,
    remove_vanished,
    sweep_orphans,
)
from sync_pipeline.engine.roles import serving_by_record
from sync_pipeline.engine.staged import run_folder
from sync_pipeline.engine.switching import drop_expired, try_again
from sync_pipeline.settings import Settings

ASSETS = (exported_documents, embedded_documents, upserted_points, stale_cleanup)
"""Of a sync, each the input of the next."""
CHECKS = (scope_checks,)

LEFTOVERS_LOOK_BACK: Final = timedelta(days=7)
"""The job runs daily; this covers a week in which it did not."""
RUN_COSTS_KEPT: Final = timedelta(days=100)
"""Long enough to ask what a run of the last quarter cost."""

# In one process: a run costs 0.3 s instead of 5 s, and the steps share one loaded model.
sync_scope_job = dg.define_asset_job(
    "sync_scope_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    executor_def=IN_PROCESS,
    description="Brings one scope in step: export, embed, upsert, clean up, check.",
)


def build_big_scope_job(settings: Settings) -> UnresolvedAssetJobDefinition:
    """The same for a scope so big that its steps are shared out among workers.

    Tried again as a whole: a step that is skipped because an earlier run had done it would work
    on files that this run does not have, and everything embedded is in the cache anyway.
    """
    return dg.define_asset_job(
        BIG_SCOPE_JOB,
        selection=dg.AssetSelection.assets(*ASSETS),
        executor_def=big_scope_executor(settings),
        tags={RETRY_STRATEGY_TAG: "ALL_STEPS"},
        description="Brings one big scope in step, its missing texts embedded by several workers.",
    )


sync_big_scope_job = build_big_scope_job(Settings())
"""Names the job to whoever asks for runs of it; that of the settings is in ``definitions``."""


def build_sync_assets(landings: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The assets of a sync, downstream of these landings, by name."""
    return with_landed_deps(ASSETS, landings, first=exported_documents)


ENVIRONMENT_TAG: Final = "sync_pipeline/environment"
"""Run tag that names the environment of the settings file, where one is chosen."""


def environment_tags(environment: NamedEnvironment | None) -> dict[str, str]:
    """Tags of every run of an environment."""
    return {} if environment is None else {ENVIRONMENT_TAG: environment.name}


def job_of(*, is_big: bool) -> str:
    """Name the job that syncs one scope."""
    return BIG_SCOPE_JOB if is_big else sync_scope_job.name


def run_config(options: RunOptions, *, scope: Scope) -> dict[str, Any]:
    """What a run of ``sync_scope_job`` is told: of the options those that are about this scope."""
    steps: dict[str, dict[str, object]] = {
        "exported_documents": {"mode": options.mode},
        "embedded_documents": {"change_digest": options.change_digests.get(scope.key)},
        "stale_cleanup": {
            "max_deleted_fraction": options.max_deleted_fraction,
            "approve_deletions": options.approve_deletions,
        },
    }
    return {"ops": {step: {"config": config} for step, config in steps.items()}}


class VanishedConfig(dg.Config):
    """When the documents of tenants without rows are removed."""

    grace_days: int = Field(default=7, ge=0, description="Days that they are kept.")
    max_removed_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of all scopes removed at once; 1 confirms that they are gone.",
    )

    @property
    def policy(self) -> VanishedPolicy:
        """The same for the engine."""
        return VanishedPolicy(
            grace=timedelta(days=self.grace_days), max_removed_fraction=self.max_removed_fraction
        )


class RetentionConfig(dg.Config):
    """How long finished runs stay in the history."""

    successful_days: int = Field(default=14, ge=1, description="Days for successful runs.")
    failed_days: int = Field(default=90, ge=1, description="Days for failed and cancelled runs.")


def forget_partition(instance: dg.DagsterInstance, sync: SyncContext, key: str) -> None:
    """Delete the partition of a scope that was removed, and what its assets last handed over."""
    instance.delete_dynamic_partition(PARTITIONS_NAME, key)
    assets = [asset.key.path[-1] for asset in ASSETS]
    delete_manifests(sync.staging, assets, partition_key=key)


@dg.op
def remove_vanished_scopes(
    context: dg.OpExecutionContext, config: VanishedConfig, sync: dg.ResourceParam[SyncContext]
) -> None:
    """Mark tenants without rows, remove those whose time of grace is over, and their partitions."""
    with (
        as_dagster_failures(retry_number=context.retry_number),
        stopping_on_signals(sync) as stoppable,
    ):
        partitions = context.instance.get_dynamic_partitions(PARTITIONS_NAME)
        rows = sync.source.count_by_scope(sync.entities)
        report = remove_vanished(
            serving_by_record(stoppable), rows=rows, owner=context.run_id, policy=config.policy
        )
        # Also those of which only other settings have synced anything.
        recorded = [record.scope_key for record in serving_by_record(sync).scopes.list_all()]
        leftover = leftover_partitions(partitions, rows=rows, recorded=recorded)
        for key in leftover:
            forget_partition(context.instance, sync, key)
    context.add_output_metadata(
        {**asdict(report), "removed": list(report.removed), "partitions_removed": len(leftover)}
    )


@dg.op
def remove_orphaned_points(
    context: dg.OpExecutionContext, config: VanishedConfig, sync: dg.ResourceParam[SyncContext]
) -> None:
    """Remove what a late write brought back of tenants that are gone altogether."""
    with (
        as_dagster_failures(retry_number=context.retry_number),
        stopping_on_signals(sync) as stoppable,
    ):
        report = sweep_orphans(
            serving_by_record(stoppable), owner=context.run_id, policy=config.policy
        )
    context.add_output_metadata({**asdict(report), "removed": list(report.removed)})


@dg.op
def remove_old_runs(
    context: dg.OpExecutionContext,
    config: RetentionConfig,
    sync: dg.ResourceParam[SyncContext],
) -> None:
    """Bound the history of runs and requests, and end runs whose process was killed."""
    closed = close_dead_runs(context.instance, sync)
    report = delete_old_runs(
        context.instance,
        now=datetime.now(tz=UTC),
        retention=RunRetention(
            successful=timedelta(days=config.successful_days),
            failed=timedelta(days=config.failed_days),
        ),
    )
    # Dagster's history is bounded first: should our tables not answer, it has been.
    oldest = timedelta(days=config.failed_days).total_seconds()
    with as_dagster_failures(retry_number=context.retry_number):
        records = sync.runs.purge(min_age_seconds=oldest)
        requests = sync.requests.purge(min_age_seconds=oldest)
    context.add_output_metadata(
        {
            **asdict(report),
            "dead_runs_closed": closed,
            "run_records": records,
            "requests": requests,
        }
    )


@dg.op
def remove_leftover_files(
    context: dg.OpExecutionContext, sync: dg.ResourceParam[SyncContext]
) -> None:
    """Delete what failed runs left in the staging area; no run works on another one's files."""
    since = datetime.now(tz=UTC) - LEFTOVERS_LOOK_BACK
    folders = [
        run_folder(scope=Scope.from_key(key), run_id=run_id)
        for key, run_id in iter_failed_runs(context.instance, since=since)
    ]
    with as_dagster_failures(retry_number=context.retry_number):
        for folder in folders:
            sync.staging.delete(folder)
    context.add_output_metadata({"failed_runs": len(folders)})


@dg.op
def drop_old_generations(
    context: dg.OpExecutionContext, sync: dg.ResourceParam[SyncContext]
) -> None:
    """Drop generations whose time is over, and try once more what was kept from serving."""
    with (
        as_dagster_failures(retry_number=context.retry_number),
        stopping_on_signals(sync) as stoppable,
    ):
        dropped = drop_expired(stoppable)
        switched = try_again(stoppable)
    context.add_output_metadata(
        {
            "dropped": [gone.collection for gone in dropped],
            "serves": (switched.serves if switched is not None else None) or "as before",
            "refused": (switched.reason if switched is not None else None) or "nothing",
        }
    )


@dg.op
def sum_up_old_costs(context: dg.OpExecutionContext, sync: dg.ResourceParam[SyncContext]) -> None:
    """Keep what embedding took per scope and day, and no more per run, once it is old."""
    oldest = datetime.now(tz=UTC) - RUN_COSTS_KEPT
    with as_dagster_failures(retry_number=context.retry_number):
        summed = sync.ledger.forget_runs(before=oldest.date())
    context.add_output_metadata({"run_costs": summed})


@dg.op
def build_search_index(context: dg.OpExecutionContext, sync: dg.ResourceParam[SyncContext]) -> None:
    """Make searches fast over what was written since, where the index does not by itself."""
    began = sync.seconds()
    with as_dagster_failures(retry_number=context.retry_number):
        was_due = optimize_index(sync)
    context.add_output_metadata({"was_due": was_due, "seconds": round(sync.seconds() - began, 3)})


def build_maintenance_job(settings: Settings) -> dg.JobDefinition:
    """The daily job; what the settings say is its run config, which one run can override."""
    vanished = VanishedConfig(grace_days=settings.sync.vanished_grace_days)
    config: dict[str, Any] = {
        "remove_vanished_scopes": vanished,
        "remove_orphaned_points": vanished,
        "remove_old_runs": RetentionConfig(
            successful_days=settings.schedule.run_retention_days,
            failed_days=settings.schedule.failed_run_retention_days,
        ),
    }

    @dg.job(
        name="maintenance_job",
        executor_def=IN_PROCESS,
        config=dg.RunConfig(ops=config),
        description="Removes documents of tenants that are gone, failed runs' files, old runs and "
        "old generations of the index; builds the search index where it is due.",
    )
    def maintenance_job() -> None:
        # Independent of each other: one that fails does not keep the others from their work.
        remove_vanished_scopes()
        remove_orphaned_points()
        remove_leftover_files()
        remove_old_runs()
        drop_old_generations()
        sum_up_old_costs()
        build_search_index()

    return maintenance_job
