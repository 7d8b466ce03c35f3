"""Fills the measured part of ``docs/service.md`` from the newest results of ``make bench-service``.

``python -m benchmarks.service_tables`` renews what stands between ``<!-- measured -->`` and
``<!-- end -->``; with ``--check`` it exits 1 where that is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measured_page import measured_on, renew_page, with_measured_part
from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Figure, Outcome, Results
from benchmarks.service import CLIENTS, PARTS, QUANTILES, STATES, State, clients_shown

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "service.md"
FOLDER: Final = RESULTS_FOLDER / "service"
_NAMES: Final = (
    {f"p{q}": f"{q} of 100 searches within" for q in QUANTILES}
    | {"throughput": "searches"}
    | {part: f"of it {part}, median" for part in PARTS}
)
"""What is known of each load, by the middle of its key."""


def main(arguments: Sequence[str]) -> int:
    return renew_page(
        PAGE,
        folder=FOLDER,
        renew=renew,
        module="benchmarks.service_tables",
        check="--check" in arguments,
    )


def renew(text: str, results: Results) -> str:
    """The page with its measured part as the results have it."""
    outcome = results.outcome("service")
    if outcome is None:
        raise ValueError("these results have no benchmark of the service")
    notes = " ".join(outcome.notes)
    run = f"{measured_on(results)}, 55,000 documents, the bundled model. {notes}"
    part = "\n\n".join([run, *(_loads(outcome, state) for state in STATES), _others(outcome)])
    return with_measured_part(text, part)


def _loads(outcome: Outcome, state: State) -> str:
    """A column per number of clients."""
    rows = [
        [label, *(_value(outcome.figure(f"{state}/{name}/{clients}")) for clients in CLIENTS)]
        for name, label in _NAMES.items()
    ]
    title = f"**An index {STATES[state]}**"
    return f"{title}\n\n{table(['', *map(clients_shown, CLIENTS)], rows)}"


def _others(outcome: Outcome) -> str:
    """What is no load of clients alone."""
    in_loads = [
        f"{state}/{name}/{clients}" for state in STATES for name in _NAMES for clients in CLIENTS
    ]
    others = [figure for figure in outcome.figures if figure.key not in in_loads]
    return table(["", "measured"], [[figure.label, _value(figure)] for figure in others])


def _value(figure: Figure) -> str:
    value = shown(figure.value, figure.unit)
    if figure.holds is None:
        return value
    limit = limit_shown(figure)
    return f"{value} ({limit})" if figure.holds else f"{value} (not {limit})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
