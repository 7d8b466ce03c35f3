"""Writes ``docs/performance.md`` from the newest results files; no number is typed by hand.

Each benchmark is shown from the fullest suite that measured it.

``python -m benchmarks.page`` writes it; with ``--check`` it exits 1 where it is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import prose
from benchmarks.images import IMAGES
from benchmarks.index_sizes import COLUMNS
from benchmarks.long_texts import FOUND, KEPT, KINDS, WAYS, WINDOW_CHARACTERS
from benchmarks.names import COMMANDS, CONTENDERS, PROVIDERS, SCENARIOS
from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.results import (
    RESULTS_FOLDER,
    SUITES,
    Figure,
    Outcome,
    Results,
    fullest,
    newest_of_each,
)

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def main(arguments: Sequence[str]) -> int:
    text = page(newest_of_each(RESULTS_FOLDER, SUITES))
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print("docs/performance.md is out of date: run `python -m benchmarks.page`")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print("wrote docs/performance.md")
    return 0


def page(paths: Sequence[Path]) -> str:
    """The whole page, from the results files of several suites, or from none."""
    if not paths:
        return f"{prose.HEAD.format(origin='benchmarks')}\n{prose.NO_RESULTS}"
    origins = " and ".join(f"benchmarks/results/{path.name}" for path in paths)
    runs = list(map(Results.read, paths))
    shown_runs = fullest(runs, tuple(prose.SECTIONS))
    outcomes = [outcome for _, outcome in shown_runs]
    parts = [
        prose.HEAD.format(origin=origins),
        prose.INTRODUCTION.format(**_facts(runs)),
        "## Limits",
        prose.LIMITS,
        limits_table(outcomes),
    ]
    for run, outcome in shown_runs:
        parts += _section(outcome, suite=run.suite if len(runs) > 1 else None)
    parts += [prose.REPEAT, _versions(runs[0])]
    return "\n\n".join(parts) + "\n"


def limits_table(outcomes: Sequence[Outcome]) -> str:
    """Every figure that has a limit."""
    rows = [
        (
            outcome.title,
            figure.label,
            shown(figure.value, figure.unit),
            limit_shown(figure),
            "yes" if figure.holds else "**no**",
        )
        for outcome in outcomes
        for figure in outcome.figures
        if figure.limit is not None
    ]
    return table(("Benchmark", "Figure", "Measured", "Limit", "Kept"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _facts(runs: Sequence[Results]) -> Mapping[str, object]:
    told = " and ".join(map(_run_told, runs))
    return {**runs[0].machine, "runs": told}


def _run_told(run: Results) -> str:
    """Suite, date, and how busy the machine was with other things."""
    load = run.machine.get("load_average_before")
    return f"`{run.suite}` of {run.date}" + (f" (load average {load} before it)" if load else "")


def _section(outcome: Outcome, *, suite: str | None) -> Iterator[str]:
    """One benchmark: what it measures, its numbers, its plot; its suite where there are several."""
    yield f"## {outcome.title}"
    yield prose.SECTIONS[outcome.name] + (f" Measured by the suite `{suite}`." if suite else "")
    if outcome.skipped is not None:
        yield f"Not measured in this run: {outcome.skipped}."
        return
    yield _LAYOUTS.get(outcome.name, figures_table)(outcome)
    if outcome.notes:
        yield "\n".join(f"- {note}" for note in outcome.notes)
    if outcome.name in IMAGES:
        yield f"![{outcome.title}](images/{IMAGES[outcome.name]})"


def figures_table(outcome: Outcome) -> str:
    """One line per figure."""
    has_limits = any(figure.limit for figure in outcome.figures)
    head = ("Figure", "Median", "Samples", *(["Limit", "From"] if has_limits else []))
    rows = []
    for figure in outcome.figures:
        row = [figure.label, shown(figure.value, figure.unit), str(len(figure.samples))]
        if has_limits:
            row += [limit_shown(figure), "" if figure.limit is None else figure.limit.reason]
        rows.append(row)
    return table(head, rows)


def _model_table(outcome: Outcome) -> str:
    """Texts per second: number format and threads across, batch size and order down."""
    cells = {tuple(key.split("/")): figure for key, figure in outcome.series("speed").items()}
    columns = list(dict.fromkeys((dtype, threads) for dtype, _, threads, _ in cells))
    lines = sorted({(order, int(batch)) for _, batch, _, order in cells})
    head = ["Texts/s", *(f"{dtype}, {threads} threads" for dtype, threads in columns)]
    rows = [
        [
            f"batches of {batch}" + ("" if order == "sorted" else ", in the order given"),
            *(
                _cell(cells.get((dtype, str(batch), threads, order)), unit="")
                for dtype, threads in columns
            ),
        ]
        for order, batch in lines
    ]
    return table(head, rows)


def _growth_table(outcome: Outcome) -> str:
    """Seconds, microseconds per row and memory by size of catalogue."""
    sizes = sorted(outcome.series("memory"), key=int)
    head = ["Rows", *map(str.capitalize, COMMANDS.values()), "Peak memory"]
    rows = [
        [
            f"{int(size):,}",
            *(
                f"{_shown(outcome, f'seconds/{command}/{size}')} "
                f"({_shown(outcome, f'per_row/{command}/{size}')} per row)"
                for command in COMMANDS
            ),
            _shown(outcome, f"memory/{size}"),
        ]
        for size in sizes
    ]
    return table(head, rows)


def _rivals_table(outcome: Outcome) -> str:
    """Seconds: contenders across, scenarios down; one table per kind of vectors."""
    tables = []
    for provider, vectors in PROVIDERS.items():
        cells = outcome.series(provider)
        if not cells:
            continue
        rows = [
            [label, *(_cell(cells.get(f"{name}/{scenario}")) for name in CONTENDERS)]
            for scenario, label in SCENARIOS.items()
        ]
        head = [f"{vectors}, {shown(cells['rows'].value, 'rows')}", *CONTENDERS.values()]
        tables.append(table(head, rows))
    return "\n\n".join(tables)


def _sizes_table(outcome: Outcome) -> str:
    """What was measured across, the options of an index down."""
    ways = list(outcome.series("recall"))
    rows = [
        [way, *(_sizes_cell(key, outcome.series(key).get(way)) for key in COLUMNS)] for way in ways
    ]
    return table(["Options", *(title for title, _ in COLUMNS.values())], rows)


def _sizes_cell(key: str, figure: Figure | None) -> str:
    """A median; of recall also the range."""
    cell = _cell(figure)
    if figure is None or key != "recall" or min(figure.samples) == max(figure.samples):
        return cell
    low, high = (shown(end(figure.samples), "") for end in (min, max))
    return f"{cell} ({low} to {high})"


def _long_texts_table(outcome: Outcome) -> str:
    """What is found by kind of comparison, what it costs by way of keeping, and the rest."""
    found = [
        [
            label,
            *(
                _cell(outcome.figure(f"{key}/{kind}/{place}"))
                for place in ("inside", "beyond")
                for key in FOUND
            ),
        ]
        for kind, label in KINDS.items()
    ]
    places = (f"first {WINDOW_CHARACTERS:,} characters", "later")
    kept = [
        [title, *(_cell(outcome.series(key).get(way)) for way in WAYS)]
        for key, (title, _) in KEPT.items()
    ]
    rest = [
        figure
        for figure in outcome.figures
        if figure.key.startswith(("searches/", "documents", "stale/"))
    ]
    return "\n\n".join(
        [
            table(
                ["Compared by", *(f"{it}, {place}" for place in places for it in FOUND.values())],
                found,
            ),
            table(["Kept as", *WAYS.values()], kept),
            table(["Figure", "Value"], [[it.label, shown(it.value, it.unit)] for it in rest]),
        ]
    )


_LAYOUTS: Final[Mapping[str, Callable[[Outcome], str]]] = {
    "model_speed": _model_table,
    "growth": _growth_table,
    "side_by_side": _rivals_table,
    "index_sizes": _sizes_table,
    "long_texts": _long_texts_table,
}


def _shown(outcome: Outcome, key: str) -> str:
    figure = outcome.figure(key)
    return shown(figure.value, figure.unit)


def _cell(figure: Figure | None, unit: str | None = None) -> str:
    if figure is None:
        return ""
    return shown(figure.value, figure.unit if unit is None else unit)


def _versions(results: Results) -> str:
    return ", ".join(f"{name} {version}" for name, version in results.versions.items()) + "."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
