"""Rebuilding a lost index from the embedding cache."""

from __future__ import annotations

from benchmarks.home import require
from benchmarks.results import Figure, Outcome
from benchmarks.shard import collection_folder, count_differences
from benchmarks.workbench import Workbench

TITLE = "Rebuilding a lost index"
MIN_DOCUMENTS_PER_SECOND = 10_000


def measure(bench: Workbench) -> Outcome:
    home = bench.synced_home
    seconds: list[float] = []
    documents = 0
    for _ in range(min(3, bench.sizes.repetitions)):
        home.lose_index()
        sync = home.sync()
        documents = sync.totals["documents"]
        require(sync.totals["new"] == documents, "every point is written again")
        require(sync.totals["embedded_texts"] == 0, "nothing is embedded again")
        seconds.append(sync.seconds)
    folder = collection_folder(home.index_folder)
    require(count_differences(home.database_url, folder) == 0, "the index is the source")
    return Outcome(
        name="rebuild",
        title=TITLE,
        figures=(
            Figure(key="documents", label="documents", unit="documents", samples=(documents,)),
            Figure(key="sync", label="sync, start to end", unit="s", samples=tuple(seconds)),
            Figure(
                key="speed",
                label="documents per second",
                unit="documents/s",
                samples=tuple(documents / taken for taken in seconds),
                limit=bench.limit(
                    MIN_DOCUMENTS_PER_SECOND, "process start included", is_minimum=True
                ),
            ),
        ),
    )
