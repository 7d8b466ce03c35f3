"""Which rows go because their record did not come, and how many may go at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.landing.passes import CompletePass, IncompletePass
from sync_pipeline.core.landing.spec import Confirmation


class AbsentRows(StrEnum):
    """Which absent rows of a pass go."""

    STAY = "stay"
    ALL = "all"
    LOOKED_UP = "looked_up"
    """Those whose record the origin was asked for and does not have."""
    TWICE_ABSENT = "twice_absent"
    """Those that the complete pass before this one did not have either."""


def rule_for_absent(judged: CompletePass | IncompletePass, *, confirm: Confirmation) -> AbsentRows:
    """Which absent rows may go; the only way from a pass to deletes of what it did not name."""
    if isinstance(judged, IncompletePass):
        return AbsentRows.STAY
    match confirm:
        case Confirmation.LOOKUP:
            return AbsentRows.LOOKED_UP
        case Confirmation.SECOND_PASS:
            return AbsentRows.TWICE_ABSENT
        case Confirmation.NONE:
            return AbsentRows.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionVerdict:
    """Whether the deletes of one pass may be done, all of them or none."""

    deletions: int
    table_rows: int
    allowed: int
    approved: int | None

    @property
    def is_allowed(self) -> bool:
        """Within the limit, or exactly what was approved."""
        return self.deletions <= self.allowed or self.deletions == self.approved


def judge_deletions(deletions: int, *, table_rows: int, policy: CleanupPolicy) -> DeletionVerdict:
    """Measure deletes against the limit.

    Args:
        deletions: Rows that would go, marked as gone or absent.
        table_rows: Rows before.
        policy: How much of the table one pass may delete.
    """
    return DeletionVerdict(
        deletions=deletions,
        table_rows=table_rows,
        allowed=policy.allowance(table_rows),
        approved=policy.approved_deletions,
    )
