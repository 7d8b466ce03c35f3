"""Ways to embed keep all cores busy, and a GPU that is not there is named."""

import pytest

from benchmarks.embedding_processes import Measurement, Way, cpu_ways, make_outcome

ONE = Way(device="cpu", dtype="float32", processes=1, threads=2)
TWO = Way(device="cpu", dtype="float32", processes=2, threads=1)
GPU = Way(device="cuda", dtype="bfloat16", processes=1, threads=2)


def measured(way: Way, speed: float) -> Measurement:
    size = 500.0 if way.processes > 1 else None
    return Measurement(way=way, texts_per_second=speed, mib_per_process=size)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        pytest.param(1, [(1, 1)], id="one core"),
        pytest.param(2, [(1, 2), (2, 1)], id="two cores"),
        pytest.param(12, [(1, 12), (2, 6), (4, 3), (8, 1)], id="twelve cores"),
    ],
)
def test_no_way_uses_more_threads_than_there_are_cores(
    cores: int, expected: list[tuple[int, int]]
) -> None:
    ways = cpu_ways("float32", cores=cores)

    assert [(way.processes, way.threads) for way in ways] == expected


def test_repetitions_of_a_way_are_samples_of_one_figure() -> None:
    outcome = make_outcome([measured(ONE, 10), measured(TWO, 20), measured(ONE, 12)])

    assert outcome.figure("speed/cpu/float32/1/2").samples == (10, 12)
    assert outcome.figure("speed/cpu/float32/2/1").samples == (20,)
    assert outcome.figure("memory").samples == (500.0,)


def test_a_gpu_is_a_figure_or_a_note() -> None:
    without, with_one = make_outcome([measured(ONE, 10)]), make_outcome([measured(GPU, 900)])

    assert without.notes == ("GPU: not measured, for torch finds none here.",)
    assert with_one.notes == ()
    assert with_one.figure("speed/cuda/bfloat16/1/2").label == "GPU, bfloat16"
