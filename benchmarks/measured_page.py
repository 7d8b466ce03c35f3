"""Renews what the results say in a page that is otherwise written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.home import REPOSITORY
from benchmarks.results import Results

_PART: Final = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def with_measured_part(text: str, part: str) -> str:
    """A page with this between ``<!-- measured -->`` and ``<!-- end -->``."""
    return _PART.sub(lambda found: f"{found[1]}{part}\n{found[2]}", text)


def measured_on(results: Results) -> str:
    """When, on which machine and beside what; the sentence goes on after it."""
    machine = results.machine
    return (
        f"Measured on {results.date}: {machine['cpu']}, {machine['cores']} cores that others used "
        f"too (load {machine['load_average_before']} before)"
    )


def newest_in(folder: Path) -> Path:
    """The youngest results file of a folder."""
    return max(folder.glob("????-??-??-*.json"))


def renew_page(
    page: Path, *, folder: Path, renew: Callable[[str, Results], str], module: str, check: bool
) -> int:
    """Write the page as the youngest results have it.

    Args:
        page: The page.
        folder: Where its results are.
        renew: Gives the text of the page with its measured parts renewed.
        module: What a person runs to renew it.
        check: Write nothing, and say where the page is out of date.

    Returns:
        The exit code: 1 where a checked page is out of date.
    """
    results = Results.read(newest_in(folder))
    return renew_text(page, renew=lambda text: renew(text, results), module=module, check=check)


def renew_text(page: Path, *, renew: Callable[[str], str], module: str, check: bool = False) -> int:
    """Write the page as ``renew`` makes it of its text; the rest as in ``renew_page``."""
    text = page.read_text(encoding="utf-8")
    renewed = renew(text)
    if renewed == text:
        return 0
    shown = page.relative_to(REPOSITORY)
    if check:
        print(f"{shown} is out of date: run `python -m {module}`")
        return 1
    page.write_text(renewed, encoding="utf-8")
    print(f"wrote {shown}")
    return 0
