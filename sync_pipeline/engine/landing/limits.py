"""The limit on what one apply may delete, and what is said where it is reached."""

from __future__ import annotations

from sync_pipeline.core.errors import LandingDeletionsRefusedError
from sync_pipeline.core.landing.absence import DeletionVerdict, judge_deletions
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import Applied


def judge_for(landing: Landing, deletions: int, rows: int) -> DeletionVerdict:
    """Measure deletes of a landing against its limit."""
    return judge_deletions(deletions, table_rows=rows, policy=landing.deletions.policy)


def require_allowed(landing: Landing, applied: Applied) -> None:
    """Fail where deletes were refused; everything else was done.

    Raises:
        LandingDeletionsRefusedError: they were.
    """
    refused = applied.refused
    if refused is None:
        return
    raise LandingDeletionsRefusedError(
        landing=landing.name,
        table=landing.table,
        deletions=refused.deletions,
        rows=refused.table_rows,
        allowed=refused.allowed,
        approved=refused.approved,
        new=applied.new,
        changed=applied.changed,
    )
