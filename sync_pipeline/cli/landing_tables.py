"""Landings as tables and lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sync_pipeline.cli import render
from sync_pipeline.cli.tables import add_row, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from sync_pipeline.core.landing.report import LandingReport
    from sync_pipeline.engine.landing.ages import LandingAge


_SUMMED: Final = ("fetched", "requests")
_MINUTES_UNTIL: Final = 5400.0
"""Older passes are told in hours."""


def reports_table(reports: Sequence[LandingReport]) -> Table:
    """One row per landing that ran."""
    table = new_table(
        "landing", "mode", "status", "+fetched", "+rows", "+new", "+changed", "+same", "+deleted",
        "+rejected", "+seconds",
    )  # fmt: skip
    for report in reports:
        add_row(
            table, report.name, report.mode, report.status, report.fetched, report.rows,
            report.new, report.changed, report.unchanged, report.deleted,
            sum(report.rejected.values()), report.fetch_seconds + report.apply_seconds,
        )  # fmt: skip
    return table


def report_remarks(reports: Sequence[LandingReport], *, duration_seconds: float) -> Iterator[str]:
    """What the table cannot say: what was noticed, and what went wrong."""
    fetched, requests = (sum(getattr(it, name) for it in reports) for name in _SUMMED)
    waited = sum(report.waited_seconds for report in reports)
    told = f", {waited:.0f} s of it waiting as asked" if waited >= 1 else ""
    yield (f"{fetched:,} records in {duration_seconds:.1f} s and {requests:,} requests{told}.")
    for report in reports:
        yield from (f"{report.name}: {note}." for note in report.notes)
        if report.rejected:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(report.rejected.items()))
            yield (
                f"{report.name}: what could not be used: {reasons}; "
                f"`sync-pipeline land rejected {report.name}` names it."
            )
        if report.unknown_fields:
            yield (
                f"{report.name}: fields that the settings do not name: "
                f"{', '.join(report.unknown_fields)}."
            )
        if report.error:
            yield f"{report.name}: {report.error}"


def followed(report: LandingReport) -> str:
    """One line per batch of followed changes."""
    if report.error:
        return f"{report.name}: {report.error}"
    seconds = report.fetch_seconds + report.apply_seconds
    return (
        f"{report.name}: {report.new} new, {report.changed} changed, {report.unchanged} as before, "
        f"{report.deleted} deleted in {seconds:.1f} s"
    )


def statuses_table(ages: Sequence[LandingAge], *, kinds: Mapping[str, str]) -> Table:
    """One row per landing of the settings."""
    table = new_table(
        "landing", "from", "table", "+rows", "last complete", "", "+rejected", "under way"
    )
    for age in ages:
        kind = kinds.get(age.name, "")
        add_row(
            table, age.name, kind if kind == "table" else f"{kind} {age.connection}", age.table,
            age.rows, _ago(age.age_seconds), "" if age.is_fresh else "OLD", age.rejected,
            _under_way(age),
        )  # fmt: skip
    return table


def status_remarks(ages: Sequence[LandingAge]) -> Iterator[str]:
    """Why landings are as they are, and what to do."""
    yield from render.landing_remarks(ages)
    for age in ages:
        if age.needs_full_pass is not None:
            yield f"Landing {age.name} needs a full pass: {age.needs_full_pass}."
        if age.rejected:
            yield f"`sync-pipeline land rejected {age.name}` names what could not be used."


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return (
        f"{seconds / 60:.0f} min ago" if seconds < _MINUTES_UNTIL else f"{seconds / 3600:.1f} h ago"
    )


def _under_way(age: LandingAge) -> str:
    """How far a pass is that has begun."""
    found = age.open_pass
    if found is None:
        return ""
    of = "" if found.total is None else f" of {found.total:,}"
    return f"{found.mode}, {found.records:,}{of} records"
