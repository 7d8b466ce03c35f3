"""Fills the measured part of ``docs/backup-and-restore.md`` from the newest results.

``python -m benchmarks.backup_table`` renews what stands between ``<!-- measured -->`` and
``<!-- end -->``; with ``--check`` it exits 1 where that is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measured_page import measured_on, renew_page, with_measured_part
from benchmarks.numbers_shown import shown
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Figure, Results

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "backup-and-restore.md"
FOLDER: Final = RESULTS_FOLDER / "backup"
MEGA: Final = 1_000_000


def main(arguments: Sequence[str]) -> int:
    return renew_page(
        PAGE,
        folder=FOLDER,
        renew=renew,
        module="benchmarks.backup_table",
        check="--check" in arguments,
    )


def renew(text: str, results: Results) -> str:
    """The page with its measured part as the results have it."""
    outcome = results.outcome("backup")
    assert outcome is not None
    rows = [[figure.label, _shown(figure)] for figure in outcome.figures]
    run = (
        f"{measured_on(results)}, embedded PostgreSQL and index, the "
        "bundled model; times are of whole commands, from start to end."
    )
    part = f"{run}\n\n{table(['', 'measured'], rows)}"
    return with_measured_part(text, part)


def _shown(figure: Figure) -> str:
    if figure.unit == "bytes":
        return shown(figure.value / MEGA, "MB")
    return shown(figure.value, figure.unit if figure.unit == "s" else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
