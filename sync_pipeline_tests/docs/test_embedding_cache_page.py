"""The figures of docs/embedding-cache.md are those of the newest measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.numbers_shown import shown
from benchmarks.results import RESULTS_FOLDER, Figure, Results
from sync_pipeline.core.canaries import CHANGED_MODEL_COSINE, SAME_MODEL_COSINE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "embedding-cache.md"


def measured() -> list[Figure]:
    """Figures of the newest results file."""
    newest = max((RESULTS_FOLDER / "canaries").glob("*.json"))
    (outcome,) = Results.read(newest).outcomes
    return list(outcome.figures)


@pytest.mark.parametrize("figure", measured(), ids=lambda figure: figure.key)
def test_a_figure_is_shown_as_it_was_measured_and_keeps_its_limit(figure: Figure) -> None:
    line = f"| {figure.label} | {shown(figure.value, '')} | "

    assert line in PAGE.read_text(encoding="utf-8")
    assert figure.holds


@pytest.mark.parametrize("tolerance", [SAME_MODEL_COSINE, CHANGED_MODEL_COSINE])
def test_the_tolerances_are_those_of_the_code(tolerance: float) -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert f"{tolerance}" in text
    assert f" {round((1 - tolerance) * 1_000_000):,} |" in text
