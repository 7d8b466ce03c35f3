"""Fills the measured part of ``docs/embedding.md`` from the newest results.

``python -m benchmarks.runtime_tables`` renews what stands between ``<!-- measured -->`` and
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

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "embedding.md"
FOLDER: Final = RESULTS_FOLDER / "runtimes"
NAMES: Final = ("runtimes", "beside_embedding")


def main(arguments: Sequence[str]) -> int:
    return renew_page(
        PAGE,
        folder=FOLDER,
        renew=renew,
        module="benchmarks.runtime_tables",
        check="--check" in arguments,
    )


def renew(text: str, results: Results) -> str:
    """The page with its measured part as the results have it."""
    run = f"{measured_on(results)}, the bundled model; medians."
    outcomes = [outcome for name in NAMES if (outcome := results.outcome(name)) is not None]
    part = "\n\n".join((run, *map(_shown_outcome, outcomes)))
    return with_measured_part(text, part)


def _shown_outcome(outcome: Outcome) -> str:
    rows = [[figure.label, _value(figure), limit_shown(figure)] for figure in outcome.figures]
    return "\n\n".join(
        (f"**{outcome.title}.** {' '.join(outcome.notes)}", table(["", "measured", "limit"], rows))
    )


def _value(figure: Figure) -> str:
    value = shown(figure.value, figure.unit)
    return value if figure.holds is not False else f"{value}, not kept"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
