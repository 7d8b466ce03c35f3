"""Bars of the last runs, as numbers for an SVG that needs neither style nor script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sync_pipeline.core.ports import SyncRun

WIDTH: Final = 400
HEIGHT: Final = 112
LEAST_COLUMNS: Final = 12
"""Room is kept for so many runs, so that a first one is no wall."""
_GAP: Final = 0.28
"""Share of a column that is left free."""
_LEAST: Final = 2.0
"""Height of the smallest part that is not nothing: it has to be seen."""


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle; ``series`` is the place of its number, from 0."""

    x: float
    y: float
    width: float
    height: float
    series: int


@dataclass(frozen=True, slots=True)
class Column:
    """One run."""

    x: float
    width: float
    parts: tuple[Part, ...]
    words: str
    """What it shows, for people who point at it or hear it."""
    has_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Stacked bars, one per run, the oldest first."""

    title: str
    series: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[SyncRun, tuple[str, ...]], ...]
    """The same as a table: per run a number per series."""
    summary: str


def run_charts(runs: Sequence[SyncRun]) -> list[Chart]:
    """What the last runs did, how long it took them, and what the cache saved them.

    Args:
        runs: The one that ended last first.
    """
    ordered = [run for run in reversed(runs) if run.status != "skipped"]
    if not ordered:
        return []
    changed = [run.counts.new + run.counts.changed + run.counts.payload_changed for run in ordered]
    documents = [
        (float(number), float(run.counts.unchanged))
        for run, number in zip(ordered, changed, strict=True)
    ]
    seconds = [
        (run.seconds.export, run.seconds.embed, run.seconds.upsert, run.seconds.cleanup)
        for run in ordered
    ]
    texts = [(float(run.counts.cache_hits), float(run.counts.embedded_texts)) for run in ordered]
    hits = sum(run.counts.cache_hits for run in ordered)
    all_texts = hits + sum(run.counts.embedded_texts for run in ordered)
    saved = f"{hits * 100 // all_texts} % from the cache" if all_texts else "no texts to embed"
    slowest = max(run.seconds.total for run in ordered)
    return [
        _chart(
            "Documents",
            ("written", "unchanged"),
            ordered,
            documents,
            digits=0,
            summary=f"{sum(changed):,} written",
        ),
        _chart(
            "Seconds by step",
            ("export", "embed", "upsert", "cleanup"),
            ordered,
            seconds,
            digits=1,
            summary=f"longest {slowest:,.1f} s",
        ),
        _chart("Texts", ("from cache", "embedded"), ordered, texts, digits=0, summary=saved),
    ]


def slot_width(columns: int) -> float:
    """Room of one run."""
    return WIDTH / max(columns, LEAST_COLUMNS)


def stacked(values: Sequence[Sequence[float]]) -> list[tuple[Part, ...]]:
    """Rectangles of stacked bars in ``WIDTH`` by ``HEIGHT``, the highest one as high as that."""
    slot = slot_width(len(values))
    highest = max((sum(numbers) for numbers in values), default=0.0)
    bars = []
    for place, numbers in enumerate(values):
        top, parts = float(HEIGHT), []
        for series, height in enumerate(_heights(numbers, highest=highest)):
            if not height:
                continue
            top -= height
            parts.append(
                Part(
                    x=round(slot * (place + _GAP / 2), 2),
                    y=round(top, 2),
                    width=round(slot * (1 - _GAP), 2),
                    height=round(height, 2),
                    series=series,
                )
            )
        bars.append(tuple(parts))
    return bars


def _heights(numbers: Sequence[float], *, highest: float) -> list[float]:
    """In proportion, what is small made large enough to be seen at the cost of the largest."""
    heights = [max(number / highest * HEIGHT, _LEAST) if number > 0 else 0.0 for number in numbers]
    excess = sum(heights) - HEIGHT
    if excess > 0:
        largest = heights.index(max(heights))
        heights[largest] -= excess
    return heights


def _chart(
    title: str,
    series: tuple[str, ...],
    runs: Sequence[SyncRun],
    values: Sequence[tuple[float, ...]],
    *,
    digits: int,
    summary: str,
) -> Chart:
    slot = slot_width(len(runs))
    shown = [tuple(f"{number:,.{digits}f}" for number in numbers) for numbers in values]
    return Chart(
        title=title,
        series=series,
        columns=tuple(
            Column(
                x=round(slot * place, 2),
                width=round(slot, 2),
                parts=parts,
                words=f"{run.scope_key}: "
                + ", ".join(f"{it} {name}" for it, name in zip(words, series, strict=True))
                + (", failed" if run.status == "failed" else ""),
                has_failed=run.status == "failed",
            )
            for place, (run, parts, words) in enumerate(
                zip(runs, stacked(values), shown, strict=True)
            )
        ),
        rows=tuple(zip(runs, shown, strict=True)),
        summary=summary,
    )
