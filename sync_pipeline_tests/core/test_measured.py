"""Every measured number is the one of its result file."""

from __future__ import annotations

import pytest

from benchmarks.results import RESULTS_FOLDER, Results
from sync_pipeline.core import measured
from sync_pipeline.core.measured import Measured

NUMBERS = {name: value for name, value in vars(measured).items() if isinstance(value, Measured)}
KEPT = {name: number for name, number in NUMBERS.items() if number.file is not None}


@pytest.mark.parametrize("name", KEPT)
def test_a_number_is_the_one_of_its_file(name: str) -> None:
    number = KEPT[name]
    results = Results.read(RESULTS_FOLDER / str(number.file))

    def figure(path: str) -> float:
        outcome, _, key = path.partition(":")
        found = results.outcome(outcome)
        assert found is not None
        return found.figure(key).value

    divisor = figure(number.per) if isinstance(number.per, str) else number.per

    assert number.value == pytest.approx(figure(number.figure) / divisor * number.factor, rel=0.01)


def test_few_numbers_are_of_a_prototype() -> None:
    assert sorted(NUMBERS.keys() - KEPT.keys()) == ["SUBMITTED_PER_SECOND"]
