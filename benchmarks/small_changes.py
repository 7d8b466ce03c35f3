"""Syncs after small changes: the cost follows what changed, not what exists."""

from __future__ import annotations

from statistics import median

from benchmarks import source
from benchmarks.home import require
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.shard import collection_folder, count_differences
from benchmarks.workbench import Workbench, sample_texts

TITLE = "Small changes"
MODEL_FACTOR = 1.5
PAYLOAD_SECONDS = 1.0


def measure(bench: Workbench) -> Outcome:
    """Change 1 % of the texts, delete 0.5 % and insert 0.5 %; then change 1 % of the prices.

    A sync that finds nothing is measured between any two of them: what the machine does
    beside it in one minute is not what it does in the next.
    """
    home, size = bench.synced_home, bench.catalogue
    unchanged_seconds: list[float] = []
    changed, moved = size.rows // 100, size.rows // 200
    texts_seconds: list[float] = []
    payload_seconds: list[float] = []
    embedded = payload_embedded = 0
    for repetition in range(min(3, bench.sizes.repetitions)):
        round_ = 10 * (repetition + 1)
        unchanged_seconds.append(home.sync("--force").seconds)
        source.change_texts(home.database_url, count=changed, round_=round_)
        source.delete_rows(home.database_url, count=moved, round_=round_ + 1)
        source.insert_rows(home.database_url, count=moved, round_=round_ + 2, size=size)
        sync = home.sync()
        texts_seconds.append(sync.seconds)
        embedded = max(embedded, sync.totals["embedded_texts"])
        require(sync.totals["deleted"] == moved, "as many points go as rows")
        require(sync.totals["new"] == moved, "as many points come as rows")
        unchanged_seconds.append(home.sync("--force").seconds)
        source.change_prices(home.database_url, count=changed, round_=round_ + 3)
        sync = home.sync()
        payload_seconds.append(sync.seconds)
        payload_embedded += sync.totals["embedded_texts"]
        require(sync.totals["payload_changed"] == changed, "as many payloads as prices")
    folder = collection_folder(home.index_folder)
    require(count_differences(home.database_url, folder) == 0, "the index is the source")
    texts = [f"{text} revision 1" for text in sample_texts(size, embedded)]
    report, _ = bench.run_bare_model(texts, [bench.best_model])
    unchanged = median(unchanged_seconds)
    encoding = report.runs[0].seconds * embedded / len(texts)
    allowed = unchanged + MODEL_FACTOR * encoding + report.load_seconds
    return Outcome(
        name="small_changes",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(size.rows,)),
            Figure(
                key="unchanged",
                label="nothing changed, between the others",
                unit="s",
                samples=tuple(unchanged_seconds),
            ),
            Figure(key="texts", label="texts embedded", unit="texts", samples=(embedded,)),
            Figure(key="load", label="bare model: load", unit="s", samples=(report.load_seconds,)),
            Figure(key="encoding", label="bare model: encode", unit="s", samples=(encoding,)),
            Figure(
                key="mixed",
                label="1 % of texts changed, 0.5 % deleted, 0.5 % new",
                unit="s",
                samples=tuple(texts_seconds),
                limit=bench.limit(allowed, f"nothing changed + {MODEL_FACTOR} x encode + load"),
            ),
            Figure(
                key="payload",
                label="1 % of prices changed",
                unit="s",
                samples=tuple(payload_seconds),
                limit=bench.limit(
                    unchanged + PAYLOAD_SECONDS, f"nothing changed + {PAYLOAD_SECONDS:g} s"
                ),
            ),
            Figure(
                key="payload_embedded",
                label="texts embedded for changed prices",
                unit="texts",
                samples=(payload_embedded,),
                limit=Limit(value=0, reason="no text changed"),
            ),
        ),
    )
