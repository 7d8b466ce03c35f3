"""Fills the measured part of ``docs/landing-speed.md`` from the newest results.

``python -m benchmarks.landing_tables`` renews what stands between ``<!-- measured: NAME -->`` and
``<!-- end -->``; with ``--check`` it exits 1 where that is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.landing import PHASES, SLOW_WAYS
from benchmarks.landing_beside_loader import STRATEGIES
from benchmarks.landing_ways import NAMES
from benchmarks.measured_page import renew_page
from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Figure, Outcome, Results

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "landing-speed.md"
FOLDER: Final = RESULTS_FOLDER / "landing"
COLUMNS: Final = {
    "seconds": "start to end",
    "cpu": "CPU",
    "memory": "most memory",
    "requests": "requests",
    "rows": "rows written",
    "wal": "written ahead",
    "events": "feed events",
}
_PART: Final = re.compile(r"(<!-- measured: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    return renew_page(
        PAGE,
        folder=FOLDER,
        renew=renew,
        module="benchmarks.landing_tables",
        check="--check" in arguments,
    )


def renew(text: str, results: Results) -> str:
    """The page with its measured parts as the results have them; one not measured stays."""

    def part(found: re.Match[str]) -> str:
        outcome = results.outcome(found["name"])
        if outcome is None:
            return found[0]
        return f"{found[1]}{_LAYOUTS[found['name']](results, outcome)}\n{found[3]}"

    return _PART.sub(part, text)


def _beside_dlt(results: Results, outcome: Outcome) -> str:
    """One table per phase with the ways down, then what is promised, then the slow API."""
    about = f"{_run(results)} {shown(outcome.figure('products').value, 'products')}."
    parts = [f"{about} {' '.join(outcome.notes)} Medians, with their range."]
    for phase, told in PHASES.items():
        head = [told.capitalize(), *COLUMNS.values()]
        columns = {key: outcome.series(f"{key}/{phase}") for key in COLUMNS}
        rows = [
            [label, *(_ranged(columns[key].get(name)) for key in COLUMNS)]
            for name, label in NAMES.items()
        ]
        parts.append(table(head, rows))
    slow = outcome.series("slow")
    rows = [[NAMES[name], _ranged(slow[name])] for name in SLOW_WAYS]
    parts.append(table(["First landing, 20 ms a page", "start to end"], rows))
    parts.append(_ratios(outcome))
    return "\n\n".join(parts)


def _ratios(outcome: Outcome) -> str:
    """What is measured down, as it comes and with CSV across."""
    ratios = outcome.series("ratio")
    rows = []
    for key, one in ratios.items():
        if not key.endswith("/merge_default"):
            continue
        label = one.label.partition(":")[0]
        tuned = ratios[key.replace("merge_default", "merge")]
        rows.append([label, _ranged(one), limit_shown(one), _kept(one), _ranged(tuned)])
    head = ["`sync-pipeline land` / dlt's merge", "as it comes", "limit", "kept", "with CSV"]
    return table(head, rows)


def _beside_loader(results: Results, outcome: Outcome) -> str:
    """What was seen down, the strategies across."""
    first = outcome.series(STRATEGIES[0])
    rows = []
    for key, one in first.items():
        label = one.label.removeprefix(f"{STRATEGIES[0]}: ")
        figures = [outcome.figure(f"{strategy}/{key}") for strategy in STRATEGIES]
        cells = [
            f"{shown(it.value, '%' if it.unit == '%' else '')}"
            + (", **not kept**" if it.holds is False else "")
            for it in figures
        ]
        rows.append([label, *cells, limit_shown(one)])
    head = ["Beside dlt's replace", *STRATEGIES, "limit"]
    return f"{_run(results)} {' '.join(outcome.notes)}\n\n{table(head, rows)}"


def _run(results: Results) -> str:
    machine = results.machine
    return (
        f"Measured on {results.date}: {machine['cpu']}, {machine['cores']} cores that others used "
        f"too (load {machine['load_average_before']} before)."
    )


def _ranged(figure: Figure | None) -> str:
    """A median, and from where to where the samples go where they differ."""
    if figure is None:
        return ""
    median = shown(figure.value, figure.unit if figure.unit in ("s", "x", "MiB", "MB") else "")
    low, high = (shown(end(figure.samples), "") for end in (min, max))
    return median if low == high else f"{median} ({low} to {high})"


def _kept(figure: Figure) -> str:
    return {None: "", True: "yes", False: "**no**"}[figure.holds]


_LAYOUTS: Final[Mapping[str, Callable[[Results, Outcome], str]]] = {
    "landing": _beside_dlt,
    "landing_beside_loader": _beside_loader,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
