"""Fills the measured parts of ``docs/long-runs.md`` and ``docs/scaling.md`` from kept results.

The pages are written by hand but for what stands between ``<!-- measured: NAME -->`` and
``<!-- end -->``. ``python -m benchmarks.acceptance.page`` renews those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from benchmarks.acceptance.tools_catalogue import LEAST, MOST
from benchmarks.home import REPOSITORY
from benchmarks.measured_page import renew_text
from benchmarks.numbers_shown import limit_shown, shown
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Figure, Outcome, Results

PAGES: Final = (REPOSITORY / "docs" / "long-runs.md", REPOSITORY / "docs" / "scaling.md")
FOLDER: Final = RESULTS_FOLDER / "acceptance"
MODULE: Final = "benchmarks.acceptance.page"
SUITES: Final = ("model-change", "tools-catalogue", "fan-out")

_PART: Final = re.compile(r"(<!-- measured: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    results = kept()
    for page in PAGES:
        renew_text(page, renew=lambda text: renew(text, results), module=MODULE)


def kept(folder: Path = FOLDER) -> dict[str, Results]:
    """The youngest results of each run that has some."""
    return {
        suite: Results.read(max(files))
        for suite in SUITES
        if (files := list(folder.glob(f"????-??-??-{suite}.json")))
    }


def renew(text: str, results: Mapping[str, Results]) -> str:
    """The page with its measured parts as the results have them.

    Raises:
        KeyError: the page asks for a run that there is not.
    """
    parts = {suite: measured_part(found) for suite, found in results.items()}
    return _PART.sub(lambda found: f"{found[1]}{parts[found['name']]}\n{found[3]}", text)


def measured_part(results: Results) -> str:
    """Where and when one run was, and what it counted."""
    machine = results.machine
    (outcome,) = results.outcomes
    about = (
        f"{results.date}, {machine['cpu']}, {machine['cores']} cores, load average "
        f"{machine['load_average_before']} before it; {outcome.seconds / 60:.0f} minutes; "
        f"{outcome.notes[0]}."
    )
    return f"{about}\n\n{_figures(outcome)}"


def _figures(outcome: Outcome) -> str:
    keys = {figure.key for figure in outcome.figures}
    rows = [
        (figure.label, _samples(figure), _limit(figure, keys=keys), _kept(figure))
        for figure in outcome.figures
        # Of a count that has to be exact, its other half says the same.
        if not figure.key.endswith(LEAST)
    ]
    return table(("Counted", "Value", "Limit", "Kept"), rows)


def _kept(figure: Figure) -> str:
    return {None: "", True: "yes", False: "**no**"}[figure.holds]


def _limit(figure: Figure, *, keys: AbstractSet[str]) -> str:
    if figure.limit is not None and figure.key.removesuffix(MOST) + LEAST in keys:
        return f"= {shown(figure.limit.value, figure.unit)}"
    return limit_shown(figure)


def _samples(figure: Figure) -> str:
    often = f" (median of {len(figure.samples)})" if len(figure.samples) > 1 else ""
    return f"{shown(figure.value, figure.unit)}{often}"


if __name__ == "__main__":
    main()
