"""How every long run ends: what it found on the terminal, in a file, and as an exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.results import RESULTS_FOLDER, Outcome, Results
from benchmarks.run import outcome_table


def tell(
    console: Console, outcome: Outcome, *, results: Results, out: Path | None, is_whole: bool
) -> int:
    """Print and keep what a run found.

    Args:
        console: Where to.
        outcome: What it found.
        results: What is kept beside it: the machine and the versions.
        out: The folder to keep it in; without one, only a whole run is kept, with the others.
        is_whole: Whether it ran as large as the documents quote it.

    Returns:
        The exit status: 1 where a limit is broken or the run failed.
    """
    results = replace(results, outcomes=(outcome,))
    console.print(outcome_table(outcome))
    if out is not None or is_whole:
        folder = out or RESULTS_FOLDER / "acceptance"
        console.print(f"Results: {results.write(folder)}", highlight=False)
    else:
        console.print("Not kept, for it is not the whole run; --out FOLDER keeps it.")
    for _, figure in results.broken:
        console.print(f"[red]not kept[/]: {figure.label}: {figure.value:g}", highlight=False)
    return 1 if results.broken or outcome.has_failed else 0
