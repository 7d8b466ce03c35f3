"""Takes the measurements: ``python -m benchmarks.run --suite quick``.

Everything runs on this machine, in one go, so that every limit was measured
beside the figure that has to keep it. Prints tables, writes a whole suite to
``results/<date>-<suite>.json`` and exits 1 if a limit was not kept.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Also as `python benchmarks/run.py`, which puts this folder on the path, not the one above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.child import BenchmarkError
from benchmarks.machine import machine_facts, package_versions
from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.results import RESULTS_FOLDER, Figure, Outcome, Results
from benchmarks.suites import ALONE, BENCHMARKS, OF_SIZES
from benchmarks.workbench import SIZES, Workbench, open_bench

ALL: Final = {**BENCHMARKS, **OF_SIZES, **ALONE}


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    # `kill` and `timeout` end the run like Ctrl-C does: the server is stopped, the folder removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    results = Results(
        suite=options.suite,
        date=datetime.now(UTC).date().isoformat(),
        scale=options.scale,
        machine=machine_facts(),
        versions=package_versions(),
    )
    folder = _results_folder(options)
    with open_bench(
        options.suite,
        say=lambda text: console.print(f"[dim]{text}[/]", highlight=False),
        scale=options.scale,
        work=options.work,
    ) as bench:
        for name in options.only or (OF_SIZES if options.suite == "sizes" else BENCHMARKS):
            outcome = _measure(bench, name, console)
            results = replace(results, outcomes=(*results.outcomes, outcome))
            console.print(outcome_table(outcome))
            if folder is not None:
                # At once: a suite takes most of an hour, and what was measured is worth keeping.
                console.print(f"Results so far: {results.write(folder)}", highlight=False)
    if folder is None:
        console.print("Not kept, for it is not a whole suite; --out FOLDER keeps it.")
    for outcome, figure in results.broken:
        console.print(f"[red]not kept[/]: {outcome.title}: {figure.label}", highlight=False)
    has_failed = any(outcome.has_failed for outcome in results.outcomes)
    return 1 if results.broken or has_failed else 0


def outcome_table(outcome: Outcome) -> Table:
    """One benchmark for people."""
    caption = "\n".join(outcome.notes) or None
    if outcome.skipped is not None:
        caption = f"Not measured: {outcome.skipped}."
    table = Table(title=outcome.title, caption=caption, caption_justify="left")
    table.add_column("figure")
    table.add_column("median", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("kept")
    table.add_column("limit comes from", style="dim")
    for figure in outcome.figures:
        table.add_row(figure.label, shown(figure.value, figure.unit), *_judgement(figure))
    return table


def _judgement(figure: Figure) -> tuple[str, str, str]:
    if figure.limit is None:
        return "", "", ""
    kept = "[green]yes[/]" if figure.holds else "[red]no[/]"
    return limit_shown(figure), kept, figure.limit.reason


def _measure(bench: Workbench, name: str, console: Console) -> Outcome:
    """Run one benchmark; where it fails, the others go on.

    The results file does not say why, for messages name folders of this machine.
    """
    bench.say(f"{name} ...")
    began = time.perf_counter()
    benchmark = ALL[name]
    try:
        outcome = benchmark.measure(bench)
    except BenchmarkError as error:
        console.print(f"[red]{name} failed[/]: {escape(str(error))}", highlight=False)
        outcome = Outcome(name=name, title=benchmark.title, skipped="it failed", has_failed=True)
    return replace(outcome, seconds=round(time.perf_counter() - began, 1))


def _results_folder(options: argparse.Namespace) -> Path | None:
    """Where to write; a part of a suite must not replace a whole one that the page quotes."""
    if options.out is not None:
        return Path(options.out)
    is_whole = options.only is None and options.scale == 1
    return RESULTS_FOLDER if is_whole else None


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure sync-pipeline on this machine.")
    parser.add_argument("--suite", choices=list(SIZES), default="quick")
    parser.add_argument(
        "--only",
        choices=list(ALL),
        action="append",
        metavar="NAME",
        help=f"one of {', '.join(ALL)}; may be given several times",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the results file; a whole suite has one of its own"
    )
    parser.add_argument("--work", type=Path, help="folder for databases and indexes")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="below 1: fewer rows, to try the benchmarks out; most limits do not apply then",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
