"""Draws the plots of ``docs/performance.md`` from the newest results files.

``python -m benchmarks.plots``, in the environment of ``benchmarks/requirements.txt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

import matplotlib as mpl

mpl.use("svg")
# Ids in the file follow from its content, so that drawing again changes nothing.
mpl.rcParams.update(
    {
        "svg.hashsalt": "sync-pipeline",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "figure.figsize": (7.2, 3.4),
        "figure.constrained_layout.use": True,
    }
)

from matplotlib import pyplot as plt  # noqa: E402 - after its back end is chosen
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure as Drawing  # noqa: E402

from benchmarks.images import FOLDER, IMAGES  # noqa: E402
from benchmarks.names import COMMANDS, CONTENDERS, PROVIDERS, SCENARIOS  # noqa: E402
from benchmarks.results import (  # noqa: E402
    RESULTS_FOLDER,
    SUITES,
    Outcome,
    Results,
    fullest,
    newest_of_each,
)

COLOURS: Final = ("#2f6f8f", "#d08a3e", "#7a9e57", "#8a6fa8", "#b0564f")
DTYPE_COLOURS: Final = {"float32": COLOURS[0], "bfloat16": COLOURS[1]}
STYLES: Final = ("--", "-")


def main() -> int:
    runs = {path.name: Results.read(path) for path in newest_of_each(RESULTS_FOLDER, SUITES)}
    if not runs:
        print("no results to draw: run `make bench` first")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    origins = {run.suite: name for name, run in runs.items()}
    for run, outcome in fullest(list(runs.values()), tuple(DRAWERS)):
        if outcome.skipped is None:
            drawing = DRAWERS[outcome.name](outcome)
            target = FOLDER / IMAGES[outcome.name]
            # The page's test compares the description with the file that the page quotes.
            drawing.savefig(target, metadata={"Date": None, "Description": origins[run.suite]})
            plt.close(drawing)
            print(f"drew docs/images/{target.name}")
    return 0


def draw_model_speed(outcome: Outcome) -> Drawing:
    """Texts per second by batch size: a line per number format and threads."""
    drawing, axes = plt.subplots()
    lines: dict[tuple[str, int], dict[int, float]] = {}
    for key, figure in outcome.series("speed").items():
        dtype, batch, threads, order = key.split("/")
        if order == "sorted":
            lines.setdefault((dtype, int(threads)), {})[int(batch)] = figure.value
    for (dtype, count), speeds in lines.items():
        axes.plot(
            list(speeds),
            list(speeds.values()),
            STYLES[count > 1],
            marker="o",
            color=DTYPE_COLOURS[dtype],
            label=f"{dtype}, {count} thread{'s' if count > 1 else ''}",
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="texts per batch", ylabel="texts per second", ylim=0)
    _finish(drawing, axes)
    return drawing


def draw_first_sync(outcome: Outcome) -> Drawing:
    """Steps of the sync above the bare parts, as stacked bars."""
    drawing, axes = plt.subplots(figsize=(7.2, 2.4))
    sync = {name: figure.value for name, figure in outcome.series("step").items()}
    sync["start, history"] = max(0.0, outcome.figure("sync").value - sum(sync.values()))
    parts = {name: figure.value for name, figure in outcome.series("part").items()}
    for line, bars in enumerate((parts, sync)):
        left = 0.0
        for place, (name, seconds) in enumerate(bars.items()):
            axes.barh(line, seconds, left=left, color=COLOURS[place % len(COLOURS)])
            if seconds > outcome.figure("sync").value / 14:
                axes.text(left + seconds / 2, line, name, ha="center", va="center", color="white")
            left += seconds
    axes.set_yticks([0, 1], ["bare parts", "sync"])
    axes.set(xlabel="seconds")
    axes.grid(axis="x", alpha=0.3)
    return drawing


def draw_growth(outcome: Outcome) -> Drawing:
    """Microseconds per row and memory by size of catalogue."""
    drawing, (left, right) = plt.subplots(ncols=2)
    sizes = sorted(map(int, outcome.series("memory")))
    for colour, (command, label) in zip(COLOURS, COMMANDS.items(), strict=False):
        per_row = [outcome.figure(f"per_row/{command}/{size}").value for size in sizes]
        left.plot(sizes, per_row, marker="o", color=colour, label=label)
    left.set(xlabel="rows", ylabel="microseconds per row", xscale="log", ylim=0)
    _finish(drawing, left)
    memory = [outcome.figure(f"memory/{size}").value for size in sizes]
    right.plot(sizes, memory, marker="o", color=COLOURS[3])
    right.set(xlabel="rows", ylabel="peak memory, MiB", xscale="log", ylim=0)
    right.grid(alpha=0.3)
    return drawing


def draw_side_by_side(outcome: Outcome) -> Drawing:
    """Seconds per scenario and contender; one field per kind of vectors."""
    kinds = [provider for provider in PROVIDERS if outcome.series(provider)]
    height = 3.2 * len(kinds)
    drawing, fields = plt.subplots(nrows=len(kinds), figsize=(7.2, height), squeeze=False)
    for axes, provider in zip(fields[:, 0], kinds, strict=True):
        cells = outcome.series(provider)
        for place, (name, label) in enumerate(CONTENDERS.items()):
            seconds = [cells[f"{name}/{scenario}"].value for scenario in SCENARIOS]
            at = [line + (place - 1) * 0.27 for line in range(len(SCENARIOS))]
            shown = label if axes is fields[0, 0] else None
            bars = axes.bar(at, seconds, width=0.25, color=COLOURS[place], label=shown)
            axes.bar_label(bars, fmt="%.2g", fontsize=7)
        axes.set_xticks(range(len(SCENARIOS)), [_broken(text) for text in SCENARIOS.values()])
        rows = cells["rows"].value
        axes.set(ylabel=f"seconds: {PROVIDERS[provider].lower()}, {rows:,.0f} rows")
        _finish(drawing, axes)
    return drawing


DRAWERS: Final[Mapping[str, Callable[[Outcome], Drawing]]] = {
    "model_speed": draw_model_speed,
    "first_sync_pipeline": draw_first_sync,
    "growth": draw_growth,
    "side_by_side": draw_side_by_side,
}


def _finish(drawing: Drawing, axes: Axes) -> None:
    """A grid, and one legend above all fields."""
    axes.grid(axis="y", alpha=0.3)
    if not drawing.legends:
        drawing.legend(loc="outside upper left", ncols=4, frameon=False)


def _broken(text: str) -> str:
    """A label on two lines."""
    words = text.split()
    half = (len(words) + 1) // 2
    return f"{' '.join(words[:half])}\n{' '.join(words[half:])}"


if __name__ == "__main__":
    sys.exit(main())
