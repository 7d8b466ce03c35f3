"""How time and memory grow with the catalogue, without the model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.catalogue import CatalogueSize
from benchmarks.home import require
from benchmarks.names import COMMANDS
from benchmarks.results import Figure, Outcome
from benchmarks.shard import collection_folder
from benchmarks.workbench import MIN_ROWS, Workbench

TITLE = "Growth"
MAX_TIME_GROWTH = 1.2
MAX_MEMORY_GROWTH = 1.3
MAX_MEMORY_MIB = 600

_REPETITIONS: Final = {0: (3, 5), 100_000: (1, 3), 1_000_000: (1, 1)}
"""From how many rows on, how many first syncs there are, and how many of the others after each.
What hardly any row costs is taken off, so the smallest catalogues need the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One size of catalogue."""

    rows: int
    seconds: Mapping[str, tuple[float, ...]]
    """Per command, of every repetition."""
    peak_mib: float
    """Most memory of a first sync, of one that finds nothing, or of a verification."""
    index_mib: float
    """Of that, what the open index takes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One first sync and what follows it.

    Seconds per command, the most memory of any of them, and the index's part.
    """

    seconds: Mapping[str, Sequence[float]]
    peak_bytes: int
    index_bytes: int


def measure(bench: Workbench) -> Outcome:
    """Sync catalogues of several sizes.

    What a command costs with hardly any row is subtracted before times are
    divided by rows, or the start of the process would hide how they grow.
    """
    if not bench.sizes.growth_rows:
        return Outcome(name="growth", title=TITLE, skipped="only in the full suite")
    smallest = measure_step(bench, rows=MIN_ROWS)
    steps = [measure_step(bench, rows=rows) for rows in bench.sizes.growth_rows]
    figures: list[Figure] = []
    for step in steps:
        figures += _sizes(step, smallest=smallest)
    for before, after in itertools.pairwise(steps):
        figures += _growths(bench, smallest=smallest, before=before, after=after)
    figures += _memory(bench, before=steps[-2], after=steps[-1])
    return Outcome(
        name="growth",
        title=TITLE,
        figures=tuple(figures),
        notes=(f"What {MIN_ROWS} rows cost is taken off before times are divided by rows.",),
    )


def measure_step(bench: Workbench, *, rows: int) -> Step:
    """Sync and verify catalogues of one size; the largest only once."""
    bench.say(f"growth: {rows:,} rows")
    firsts, others = _REPETITIONS[max(size for size in _REPETITIONS if size <= rows)]
    runs = [_run_once(bench, rows=rows, others=others) for _ in range(firsts)]
    return Step(
        rows=rows,
        seconds={
            command: tuple(itertools.chain.from_iterable(run.seconds[command] for run in runs))
            for command in COMMANDS
        },
        peak_mib=max(run.peak_bytes for run in runs) / 2**20,
        index_mib=max(run.index_bytes for run in runs) / 2**20,
    )


def _run_once(bench: Workbench, *, rows: int, others: int) -> _Run:
    home = bench.new_home(CatalogueSize(rows=rows), provider="hashing")
    first = home.sync(is_watched=True)
    require(first.totals["new"] == rows, "every row becomes a point")
    unchanged = [home.sync("--force", is_watched=True) for _ in range(others)]
    require(unchanged[-1].totals["unchanged"] == rows, "nothing has changed")
    verify = [home.verify(is_watched=True) for _ in range(others)]
    folder = collection_folder(home.index_folder)
    index_bytes = int(home.run_module("benchmarks.index_memory", str(folder)).output)
    bench.server.drop(home.database_url)
    home.lose_index()
    return _Run(
        seconds={
            "first": [first.seconds],
            "unchanged": [run.seconds for run in unchanged],
            "verify": [run.seconds for run in verify],
        },
        peak_bytes=max(run.peak_bytes for run in (first, *unchanged, *verify)),
        index_bytes=index_bytes,
    )


def per_row_microseconds(step: Step, *, smallest: Step, command: str) -> float:
    """What each further row costs."""
    more = median(step.seconds[command]) - median(smallest.seconds[command])
    return 1e6 * more / (step.rows - smallest.rows)


def _sizes(step: Step, *, smallest: Step) -> list[Figure]:
    shown = f"{step.rows:,} rows"
    figures = [
        Figure(
            key=f"memory/{step.rows}",
            label=f"sync and verify, {shown}: peak memory",
            unit="MiB",
            samples=(step.peak_mib,),
        ),
        Figure(
            key=f"memory_index/{step.rows}",
            label=f"of it the open index, {shown}",
            unit="MiB",
            samples=(step.index_mib,),
        ),
    ]
    for command, label in COMMANDS.items():
        per_row = per_row_microseconds(step, smallest=smallest, command=command)
        figures += [
            Figure(
                key=f"seconds/{command}/{step.rows}",
                label=f"{label}, {shown}",
                unit="s",
                samples=step.seconds[command],
            ),
            Figure(
                key=f"per_row/{command}/{step.rows}",
                label=f"{label}, {shown}: per row",
                unit="us",
                samples=(per_row,),
            ),
        ]
    return figures


def _growths(bench: Workbench, *, smallest: Step, before: Step, after: Step) -> list[Figure]:
    return [
        Figure(
            key=f"growth/{command}/{after.rows}",
            label=f"{label}: time per row, {after.rows:,} / {before.rows:,} rows",
            unit="x",
            samples=(
                per_row_microseconds(after, smallest=smallest, command=command)
                / per_row_microseconds(before, smallest=smallest, command=command),
            ),
            limit=bench.limit(MAX_TIME_GROWTH, "time per row of the smaller catalogue"),
        )
        for command, label in COMMANDS.items()
    ]


def _memory(bench: Workbench, *, before: Step, after: Step) -> list[Figure]:
    return [
        Figure(
            key="memory_growth",
            label=f"peak memory, {after.rows:,} / {before.rows:,} rows",
            unit="x",
            samples=(after.peak_mib / before.peak_mib,),
            limit=bench.limit(MAX_MEMORY_GROWTH, "peak memory of the smaller catalogue"),
        ),
        Figure(
            key="memory_peak",
            label=f"sync and verify, {after.rows:,} rows: peak memory",
            unit="MiB",
            samples=(after.peak_mib,),
            limit=bench.limit(MAX_MEMORY_MIB, "without the model"),
        ),
    ]
