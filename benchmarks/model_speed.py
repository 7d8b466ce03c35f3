"""How fast the bare model is on this machine: number format, batch size, threads, order."""

from __future__ import annotations

from benchmarks.bare_model import ModelConfiguration
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import DTYPES, Workbench, fast_dtypes

TITLE = "Throughput of the bare model"


def measure(bench: Workbench) -> Outcome:
    report = bench.model_speed
    return Outcome(
        name="model_speed",
        title=TITLE,
        figures=(
            *(_figure(how, speeds) for how, speeds in report.speeds.items()),
            Figure(
                key="load",
                label="import the library and load the model",
                unit="s",
                samples=(report.load_seconds,),
            ),
        ),
        notes=(f"Fastest: {bench.best_model.label}.", *_left_out()),
    )


def _left_out() -> list[str]:
    """Number formats that were not measured."""
    left = [dtype for dtype in DTYPES if dtype not in fast_dtypes()]
    return [f"Not measured: {dtype}, which this processor only emulates." for dtype in left]


def _figure(how: ModelConfiguration, speeds: tuple[float, ...]) -> Figure:
    order = "sorted" if how.is_sorted else "unsorted"
    return Figure(
        key=f"speed/{how.dtype}/{how.batch_size}/{how.threads}/{order}",
        label=how.label,
        unit="texts/s",
        samples=speeds,
    )
