"""First full sync with the real model, beside the bare model on the same distinct texts."""

from __future__ import annotations

from statistics import median

from benchmarks.catalogue import CatalogueSize
from benchmarks.home import require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench, distinct_texts

TITLE = "First sync with the real model"
MAX_RATIO = 1.15


def measure(bench: Workbench) -> Outcome:
    size = CatalogueSize(rows=bench.sizes.model_rows)
    texts = distinct_texts(size)
    best = bench.best_model
    alone: list[float] = []
    encoding: list[float] = []
    syncs: list[float] = []
    for _ in range(bench.sizes.model_repetitions):
        report, finished = bench.run_bare_model(texts, [best])
        alone.append(finished.seconds)
        encoding.append(report.runs[0].seconds)
        sync = bench.new_home(size, provider="sentence-transformers").sync()
        require(sync.totals["embedded_texts"] == len(texts), "each distinct text is embedded once")
        syncs.append(sync.seconds)
    return Outcome(
        name="first_sync_model",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(size.rows,)),
            Figure(key="texts", label="distinct texts", unit="texts", samples=(len(texts),)),
            Figure(key="sync", label="sync, start to end", unit="s", samples=tuple(syncs)),
            Figure(key="model", label="bare model, start to end", unit="s", samples=tuple(alone)),
            Figure(
                key="encoding",
                label="bare model, encoding alone",
                unit="s",
                samples=tuple(encoding),
            ),
            Figure(
                key="ratio",
                label="sync / bare model, start to end",
                unit="x",
                samples=(median(syncs) / median(alone),),
                limit=bench.limit(MAX_RATIO, "bare model in its best configuration"),
            ),
            Figure(
                key="ratio_encoding",
                label="sync / bare model, encoding alone",
                unit="x",
                samples=(median(syncs) / median(encoding),),
                # Loading takes longer than the few texts of the quick suite.
                limit=bench.limit(MAX_RATIO, "bare model without start and loading")
                if bench.suite == "full"
                else None,
            ),
        ),
        notes=(f"Bare model: {best.label}.",),
    )
