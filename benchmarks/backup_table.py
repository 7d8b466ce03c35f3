"""Fills the measured part of ``docs/backup-and-restore.md`` from the newest results.

``python -m benchmarks.backup_table`` renews what stands between ``<!-- measured -->`` and
``<!-- end -->``; with ``--check`` it exits 1 where that is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.numbers_shown import shown
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Figure, Results

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "backup-and-restore.md"
FOLDER: Final = RESULTS_FOLDER / "backup"
MEGA: Final = 1_000_000
_PART: Final = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    text = PAGE.read_text(encoding="utf-8")
    renewed = renew(text, Results.read(newest()))
    if renewed == text:
        return 0
    if "--check" in arguments:
        print("docs/backup-and-restore.md is out of date: run `python -m benchmarks.backup_table`")
        return 1
    PAGE.write_text(renewed, encoding="utf-8")
    print("wrote docs/backup-and-restore.md")
    return 0


def newest() -> Path:
    """The youngest results file."""
    return max(FOLDER.glob("????-??-??-*.json"))


def renew(text: str, results: Results) -> str:
    """The page with its measured part as the results have it."""
    outcome = results.outcome("backup")
    assert outcome is not None
    machine = results.machine
    rows = [[figure.label, _shown(figure)] for figure in outcome.figures]
    run = (
        f"Measured on {results.date}: {machine['cpu']}, {machine['cores']} cores that others used "
        f"too (load {machine['load_average_before']} before), embedded PostgreSQL and index, the "
        "bundled model; times are of whole commands, from start to end."
    )
    part = f"{run}\n\n{table(['', 'measured'], rows)}"
    return _PART.sub(lambda found: f"{found[1]}{part}\n{found[2]}", text)


def _shown(figure: Figure) -> str:
    if figure.unit == "bytes":
        return shown(figure.value / MEGA, "MB")
    return shown(figure.value, figure.unit if figure.unit == "s" else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
