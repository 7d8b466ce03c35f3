"""``embedded_documents``: compared once, embedded in parts wherever there is room, sealed.

Where little is missing it is embedded by the first of the three ops, and nothing is mapped. So
an asset of one step and this one differ by the step that seals.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg
from pydantic import Field

from sync_pipeline.core.hashing import RENDERING_VERSION
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.failures import RETRIES
from sync_pipeline.defs.io_managers import IO_MANAGER_KEY
from sync_pipeline.defs.partitions import scope_partitions
from sync_pipeline.defs.run_scopes import BIG_SCOPE_JOB
from sync_pipeline.defs.steps import ScopeStep, scope_step, shown
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import shared_lease
from sync_pipeline.engine.staged import (
    EmbeddedTexts,
    StagedChanges,
    StagedComparison,
    StagedExport,
)
from sync_pipeline.engine.steps.change_set import compare_scope
from sync_pipeline.engine.steps.embed import embed_missing, embed_part
from sync_pipeline.engine.steps.sync import current_export, sealed_changes
from sync_pipeline.processes import process_name

EMBEDDING_POOL: Final = "embedding"
"""Pool of Dagster that bounds how many parts are embedded at once: of GPUs, or calls of an API."""


class EmbedConfig(dg.Config):
    """What one run is held to."""

    change_digest: str | None = Field(
        default=None,
        description="Identifies the changes of a saved plan; the run is refused if it would make "
        "any others. Empty: whatever the comparison finds.",
    )


@dg.op(
    out={
        "comparison": dg.Out(StagedComparison, io_manager_key=IO_MANAGER_KEY),
        "parts": dg.DynamicOut(int, io_manager_key=IO_MANAGER_KEY),
    },
    code_version=RENDERING_VERSION,
    retry_policy=RETRIES,
)
def compare_documents(
    context: dg.OpExecutionContext,
    config: EmbedConfig,
    sync: dg.ResourceParam[SyncContext],
    exported_documents: StagedExport,
) -> Iterator[dg.Output[StagedComparison] | dg.DynamicOutput[int]]:
    """Find out what the index needs; embed it where it is little, else share it out by parts."""
    with scope_step(context, sync, reached=exported_documents, hold=_kept_if_shared_out) as step:
        export = current_export(
            step.sync, export=exported_documents, run_id=step.run_id, fence=step.fence
        )
        comparison = compare_scope(
            step.sync, export=export, fence=step.fence, planned=config.change_digest
        )
        is_shared_out = _is_shared_out(context, comparison, step=step)
        if not is_shared_out:
            comparison = embed_missing(step.sync, comparison=comparison)
            # Mapped ops hold it from now on; without any nobody does.
            step.sync.leases.release(step.fence)
        step.done = comparison.counts
    yield dg.Output(comparison, "comparison")
    if is_shared_out:
        for number in range(len(comparison.missing)):
            yield dg.DynamicOutput(number, output_name="parts", mapping_key=f"part_{number:04d}")


def _is_shared_out(
    context: dg.OpExecutionContext, comparison: StagedComparison, *, step: ScopeStep
) -> bool:
    """Whether parts become steps: in a job whose executor has others do them, where it pays."""
    limit = step.sync.options.fan_out_texts
    return context.run.job_name == BIG_SCOPE_JOB and comparison.missing_texts > limit


@contextmanager
def _kept_if_shared_out(sync: SyncContext, *, scope: Scope, owner: str) -> Iterator[Fence]:
    """Hold a scope, and give it back where the step fails: then nobody goes on with it."""
    with shared_lease(sync, scope=scope, owner=owner) as fence:
        try:
            yield fence
        except BaseException:
            sync.leases.release(fence)
            raise


@dg.op(
    out=dg.Out(EmbeddedTexts, io_manager_key=IO_MANAGER_KEY),
    code_version=RENDERING_VERSION,
    retry_policy=RETRIES,
    pool=EMBEDDING_POOL,
)
def embed_texts(
    context: dg.OpExecutionContext,
    sync: dg.ResourceParam[SyncContext],
    comparison: StagedComparison,
    number: int,
) -> dg.Output[EmbeddedTexts]:
    """Embed one part of the missing texts into the cache."""
    with scope_step(context, sync, reached=comparison, hold=shared_lease) as step:
        part = comparison.missing[number]
        embedded = embed_part(
            step.sync,
            part,
            scope=step.scope,
            run_id=step.run_id,
            so_far=comparison.counts,
            total=part.texts,
        )
        step.done = comparison.counts + embedded.counts
    return dg.Output(
        embedded,
        metadata={
            "worker": process_name(),
            "texts": part.texts,
            **{name: count for name, count in embedded.counts.numbers().items() if count},
            "seconds": round(embedded.seconds, 3),
        },
    )


@dg.op(
    out=dg.Out(StagedChanges, io_manager_key=IO_MANAGER_KEY),
    code_version=RENDERING_VERSION,
    retry_policy=RETRIES,
)
def seal_changes(
    context: dg.OpExecutionContext,
    sync: dg.ResourceParam[SyncContext],
    comparison: StagedComparison,
    parts: list[EmbeddedTexts],
) -> dg.Output[StagedChanges]:
    """Make one change set of what was compared and what was embedded."""
    with scope_step(context, sync, reached=comparison) as step:
        staged = sealed_changes(
            step.sync,
            comparison=comparison,
            embedded=parts,
            run_id=step.run_id,
            fence=step.fence,
        )
        step.done = staged.counts
    return dg.Output(
        staged,
        metadata=shown(
            "embed",
            staged.counts,
            seconds=staged.seconds.embed,
            unknown=staged.unknown,
            note=staged.note if staged.counts.pending else None,
            parts=len(parts) or None,
        ),
    )


@dg.graph_asset(
    partitions_def=scope_partitions,
    group_name="sync",
    kinds={"python", "parquet"},
    code_version=RENDERING_VERSION,
    config=dg.ConfigMapping(
        config_schema=EmbedConfig.to_fields_dict(),
        config_fn=lambda config: {compare_documents.name: {"config": config}},
    ),
)
def embedded_documents(exported_documents: StagedExport) -> StagedChanges:
    """What has to be written to and deleted from the index, with every vector it needs.

    Vectors are in the embedding cache; the index is not written yet.
    """
    comparison, parts = compare_documents(exported_documents)
    embedded = parts.map(lambda number: embed_texts(comparison, number))
    changes: StagedChanges = seal_changes(comparison, embedded.collect())
    return changes
