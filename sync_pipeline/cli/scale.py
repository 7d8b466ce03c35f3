"""``plan --scale``, for people: what an installation of some size takes, and what gives way."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from sync_pipeline.core.scaling import HOUR, Limit, ScalePlan

DAY: Final = 24 * HOUR


def needs(plan: ScalePlan) -> list[tuple[str, str]]:
    """What is needed and how much, for tables on screens and pages."""
    return [
        ("first sync: embedding", duration(plan.first_embed_seconds)),
        ("first sync: the rest", duration(plan.first_write_seconds)),
        ("a night: runs", f"{plan.night_runs:,.0f}"),
        ("a night: submitting them", duration(plan.night_submit_seconds)),
        ("a night: comparing", duration(plan.night_compare_seconds)),
        ("a night: embedding", duration(plan.night_embed_seconds)),
        ("a night in all", duration(plan.night_seconds)),
        ("index on disk", size(plan.index_disk_bytes)),
        ("index in memory, all of it", size(plan.index_memory_bytes)),
        ("index in memory, at least", size(plan.index_least_memory_bytes)),
        ("staged files", size(plan.staging_bytes)),
        ("PostgreSQL: records of documents", size(plan.state_bytes)),
        ("PostgreSQL: cache of vectors", size(plan.cache_bytes)),
        ("PostgreSQL: Dagster, a night", size(plan.dagster_bytes_per_night)),
        ("PostgreSQL: Dagster, kept", size(plan.dagster_bytes)),
        ("PostgreSQL: connections", f"{plan.connections:,.0f}"),
    ]


def needs_table(plan: ScalePlan) -> Table:
    """What is needed."""
    table = Table("what", "how much", box=None)
    for what, much in needs(plan):
        table.add_row(what, much)
    return table


def limits_table(plan: ScalePlan) -> Table:
    """What every part is asked and carries, the fullest first."""
    table = Table("part", "asked", "carries", "full", box=None)
    for limit in plan.limits:
        asked, carried = (f"{_rounded(n)} {limit.unit}" for n in (limit.needed, limit.carried))
        table.add_row(limit.part, asked, carried, filled(limit))
    return table


def conclusions(plan: ScalePlan) -> list[str]:
    """What gives way, the first first, and what to do."""
    over = [f"{limit.part} gives way: {limit.remedy}." for limit in plan.limits if limit.load > 1]
    return over or [f"Nothing gives way; the fullest part is {plan.limits[0].part}."]


def filled(limit: Limit) -> str:
    """How full a part is; above 100 % it gives way."""
    return f"{limit.load:.0%}" if limit.load < 2 else f"{_rounded(limit.load)} x"  # noqa: PLR2004 - then it is more than full


def duration(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, length in (("d", DAY), ("h", HOUR), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{_rounded(seconds / length)} {unit}"
    return f"{_rounded(seconds)} s"


def size(size_bytes: float) -> str:
    """In the largest binary unit that fits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:  # noqa: PLR2004 - binary units
            return f"{_rounded(size_bytes)} {unit}"
        size_bytes /= 1024
    return f"{_rounded(size_bytes)} TiB"


def _rounded(number: float) -> str:
    """Two or more digits: nobody knows the third."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"  # noqa: PLR2004 - digits
