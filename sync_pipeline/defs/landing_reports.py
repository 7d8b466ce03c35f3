"""What one landing did as metadata that plots, and read again from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from sync_pipeline.core.landing.report import LandingReport

ROW_COUNT: Final = "dagster/row_count"
"""Shown by Dagster beside the asset."""
BY_REASON: Final = "rejected_by_reason"

_SECONDS: Final = frozenset({"waited_seconds", "fetch_seconds", "apply_seconds"})
_LISTS: Final = frozenset({"unknown_fields", "notes"})
_OF_THE_RUN: Final = frozenset({"name", "status", "run_id", "error"})
"""What Dagster shows of a run anyway."""


def shown(report: LandingReport) -> dict[str, Any]:
    """Every number under its field name, whole or with a fraction, as Dagster plots them."""
    facts: dict[str, Any] = {
        field.name: getattr(report, field.name)
        for field in fields(report)
        if field.name not in _OF_THE_RUN
    }
    facts |= {name: round(float(facts[name]), 3) for name in _SECONDS}
    facts |= {name: [*facts[name]] for name in _LISTS}
    facts["records_per_second"] = round(report.records_per_second, 1)
    facts["rejected"] = sum(report.rejected.values())
    facts[BY_REASON] = dict(report.rejected)
    facts[ROW_COUNT] = report.rows
    return {name: fact for name, fact in facts.items() if fact not in (None, [], {})}


def read_report(shown: Mapping[str, Any], *, name: str, run_id: str) -> LandingReport:
    """The report of a run that came to its end.

    Args:
        shown: Values of the metadata, as ``shown`` made them.
        name: Of the landing.
        run_id: Of the run.
    """
    known = {field.name for field in fields(LandingReport)}
    facts = {key: value for key, value in shown.items() if key in known}
    facts |= {key: tuple(facts[key]) for key in _LISTS & facts.keys()}
    facts["rejected"] = shown.get(BY_REASON, {})
    return LandingReport(name=name, run_id=run_id, **facts)
