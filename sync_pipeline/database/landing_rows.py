"""Rows of the tables of landings as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sync_pipeline.core.landing.absence import DeletionVerdict
from sync_pipeline.core.landing.completions import Completion
from sync_pipeline.core.landing.passes import PassState
from sync_pipeline.core.ports import Applied, LandingRecord


def pass_state(row: Mapping[str, Any]) -> PassState:
    """A row of ``landing_pass``, with the columns that are named like its fields."""
    return PassState(**{**row, "unknown_fields": frozenset(row["unknown_fields"])})


def landing_record(
    landing: str,
    row: Mapping[str, Any] | None,
    opened: Mapping[str, Any] | None,
    *,
    views: frozenset[tuple[str, str]],
) -> LandingRecord:
    """A row of ``landing_cursor`` and that of an open pass; None for either that there is not."""
    open_pass = None if opened is None else pass_state(opened)
    if row is None:
        return LandingRecord(landing=landing, rows=0, open_pass=open_pass, views=views)
    return LandingRecord(
        landing=landing,
        rows=row["rows"],
        mapping_digest=row["mapping_digest"],
        complete_at=row["complete_at"],
        completions=completions_of(row["completions"]),
        applied_at=row["applied_at"],
        changed_at=row["changed_at"],
        token=row["follow_token"],
        needs_full_pass=row["needs_full_pass"],
        failed_at=row["failed_at"],
        error=row["error"],
        not_before=row["not_before"],
        open_pass=open_pass,
        rejected=row["rejected"],
        views=views,
    )


def completions_of(recorded: Sequence[Sequence[str]]) -> tuple[Completion, ...]:
    """Pairs of moments as JSON has them."""
    return tuple(
        Completion(datetime.fromisoformat(applied_at), datetime.fromisoformat(complete_at))
        for applied_at, complete_at in recorded
    )


def applied_of(recorded: Mapping[str, Any]) -> Applied:
    """What ``landing_pass`` keeps of an apply."""
    refused = recorded["refused"]
    return Applied(
        **{**recorded, "refused": None if refused is None else DeletionVerdict(**refused)}
    )
