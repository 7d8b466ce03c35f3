"""A sync that finds nothing to do, and the proof that it does nothing."""

from __future__ import annotations

import json

from benchmarks.home import Home
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.shard import collection_folder, write_stamps
from benchmarks.workbench import Workbench

TITLE = "Nothing changed"
MAX_COMPARED_SECONDS = 5.0
MAX_SKIPPED_SECONDS = 2.0
RECORDS = ("index_state", "embedding_cache", "quarantine", "generation")
"""State tables with a row per document, text or collection."""
_NOTE = (
    "Counted in a comparison of every document. Besides, each scope notes its lease and the time "
    "of its success: a few rows per scope, whatever its size."
)


def measure(bench: Workbench) -> Outcome:
    home = bench.synced_home
    compared = bench.unchanged_seconds
    runs = [home.sync() for _ in range(bench.sizes.repetitions)]
    scopes_skipped = sum(scope["status"] == "skipped" for scope in runs[-1].scopes)
    scopes_skipped += bench.catalogue.scopes - len(runs[-1].scopes)
    proof = _prove(bench, home)
    none = Limit(value=0, reason="nothing changed")
    return Outcome(
        name="nothing_changed",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(bench.sizes.rows,)),
            Figure(
                key="compared",
                label="sync all --force: every document compared",
                unit="s",
                samples=compared,
                limit=bench.limit(MAX_COMPARED_SECONDS, "process start included"),
            ),
            Figure(
                key="skipped",
                label="sync all: unchanged scopes left out",
                unit="s",
                samples=tuple(run.seconds for run in runs),
                limit=bench.limit(MAX_SKIPPED_SECONDS, "process start included"),
            ),
            Figure(
                key="scopes_skipped",
                label="scopes that sync all left out",
                unit="scopes",
                samples=(scopes_skipped,),
            ),
            *(
                Figure(key=f"proof/{key}", label=label, unit="", samples=(number,), limit=none)
                for key, (label, number) in proof.items()
            ),
        ),
        notes=(_NOTE,),
    )


def _prove(bench: Workbench, home: Home) -> dict[str, tuple[str, float]]:
    """Count what a comparison of every document writes and loads."""
    folder = collection_folder(home.index_folder)
    stamps, writes = write_stamps(folder), home.writes()
    answer = bench.new_folder("modules")
    home.run_module("benchmarks.modules_loaded", str(answer), "--json", "sync", "all", "--force")
    after = home.writes()
    written = sum(after[table] - writes[table] for table in RECORDS)
    loaded = json.loads(answer.read_text(encoding="utf-8"))
    return {
        "state_writes": (f"rows written to {', '.join(RECORDS)}", written),
        "index_writes": ("changes of any point in the index", write_stamps(folder) != stamps),
        "models": ("model libraries imported", len(loaded)),
    }
