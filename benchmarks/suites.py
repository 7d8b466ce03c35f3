"""Every benchmark by name, in the order in which they run.

To add one, write a module with ``TITLE`` and ``measure(bench)``, and name it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks import (
    backup,
    beside_embedding,
    busy_neighbour,
    canaries,
    digest_check,
    embedding_pace,
    feed_writes,
    first_sync_model,
    first_sync_pipeline,
    freshness,
    growth,
    index_sizes,
    landing,
    landing_beside_loader,
    long_texts,
    model_speed,
    nothing_changed,
    rebuild,
    retrieval,
    row_bytes,
    runtimes,
    service,
    side_by_side,
    small_changes,
)
from benchmarks.results import Outcome
from benchmarks.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One module that measures."""

    title: str
    measure: Callable[[Workbench], Outcome]


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    module.__name__.rpartition(".")[2]: Benchmark(module.TITLE, module.measure)
    for module in (
        model_speed,
        busy_neighbour,
        first_sync_model,
        first_sync_pipeline,
        nothing_changed,
        small_changes,
        rebuild,
        growth,
        digest_check,
        feed_writes,
        freshness,
        side_by_side,
    )
}

OF_SIZES: Final[Mapping[str, Benchmark]] = {
    module.__name__.rpartition(".")[2]: Benchmark(module.TITLE, module.measure)
    for module in (index_sizes, long_texts)
}
"""Those of the suite ``sizes``: what an index costs to keep, and what it finds."""

ALONE: Final[Mapping[str, Benchmark]] = {
    "service": Benchmark(service.TITLE, service.measure),
    "canaries": Benchmark(canaries.TITLE, canaries.measure),
    "backup": Benchmark(backup.TITLE, backup.measure),
    "embedding_pace": Benchmark(embedding_pace.TITLE, embedding_pace.measure),
    "retrieval": Benchmark(retrieval.TITLE, retrieval.measure),
    "row_bytes": Benchmark(row_bytes.TITLE, row_bytes.measure),
    "landing": Benchmark(landing.TITLE, landing.measure),
    "landing_beside_loader": Benchmark(landing_beside_loader.TITLE, landing_beside_loader.measure),
    "runtimes": Benchmark(runtimes.TITLE, runtimes.measure),
    "beside_embedding": Benchmark(beside_embedding.TITLE, beside_embedding.measure),
}
"""Those that have a run and a results file of their own: ``make bench-service`` and its like."""
