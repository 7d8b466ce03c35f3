"""What is measured in the index at the end of every run; the questions are in ``engine.checks``."""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.assets import stale_cleanup
from sync_pipeline.defs.failures import RETRIES, as_dagster_failures
from sync_pipeline.defs.recording import record_failed_checks
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.checks import check_scope

CLAIMS: Final = {
    "points_match_rows": "The scope has a point for every row that can have one.",
    "points_carry_their_scope": "Everything that a point says about its owner names this scope.",
    "vectors_are_valid": "Vectors have the model's dimension, are finite and of length 1.",
    "known_document_is_found": "A document is found by its own text.",
}
"""What the checks claim. Dagster shows the latest answer of any scope; ``scope_key`` says whose."""

# A check with a partition of its own is a preview in Dagster 1.13.27.


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(claim, asset=stale_cleanup, description=text)
        for claim, text in CLAIMS.items()
    ],
    retry_policy=RETRIES,
)
def scope_checks(
    context: dg.AssetCheckExecutionContext, sync: dg.ResourceParam[SyncContext]
) -> Iterator[dg.AssetCheckResult]:
    """Look at the scope in the index: how many points, whose, with which vectors, found or not."""
    scope = Scope.from_key(context.partition_key)
    run_id = context.run.run_id
    try:
        with as_dagster_failures(retry_number=context.retry_number):
            results = check_scope(sync, scope=scope, seed=run_id)
    except dg.Failure as failure:
        error = f"synced, but the index could not be checked: {failure.description}"
        record_failed_checks(sync, run_id=run_id, scope_key=scope.key, error=error)
        raise
    broken = sorted(result.claim for result in results if not result.passed)
    if broken:
        error = f"synced, but a check of the index failed: {', '.join(broken)}"
        record_failed_checks(sync, run_id=run_id, scope_key=scope.key, error=error)
    for result in results:
        yield dg.AssetCheckResult(
            check_name=result.claim,
            asset_key=stale_cleanup.key,
            passed=result.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"scope_key": scope.key, **result.facts},
        )
