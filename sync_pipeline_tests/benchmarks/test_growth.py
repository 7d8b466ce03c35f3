"""Growth is judged without what every run costs whatever its size."""

import pytest

from benchmarks.growth import Step, per_row_microseconds


def step(rows: int, *seconds: float) -> Step:
    return Step(rows=rows, seconds={"first": seconds}, peak_mib=300.0, index_mib=10.0)


def test_the_start_of_the_process_is_no_cost_of_a_row() -> None:
    smallest = step(100, 3.0, 9.0, 2.0)

    per_row = [
        per_row_microseconds(larger, smallest=smallest, command="first")
        for larger in (step(10_100, 4.0), step(100_100, 13.0))
    ]

    assert per_row == pytest.approx([100.0, 100.0])
