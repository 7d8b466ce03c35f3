"""First full sync with free vectors: what the pipeline itself costs, beside its bare parts."""

from __future__ import annotations

import json
from statistics import median

from benchmarks.home import require
from benchmarks.results import Figure, Outcome
from benchmarks.shard import collection_folder, count_differences
from benchmarks.workbench import Workbench

TITLE = "First sync, pipeline alone"
MAX_RATIO = 2.5
GOAL_SECONDS = 6.0
PARTS = {
    "read": "read all rows",
    "hash": "make and hash payloads",
    "embed": "hashing vectors",
    "state": "copy the state",
    "upsert": "upsert the points",
}
STEPS = ("export", "embed", "upsert", "cleanup")


def measure(bench: Workbench) -> Outcome:
    size = bench.catalogue
    syncs: list[float] = []
    scripts: list[float] = []
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    steps: dict[str, list[float]] = {step: [] for step in STEPS}
    for repetition in range(min(3, bench.sizes.repetitions)):
        home = bench.new_home(size, provider="hashing")
        sync = home.sync()
        syncs.append(sync.seconds)
        for step, taken in steps.items():
            taken.append(sum(scope["seconds"][step] for scope in sync.scopes))
        if repetition == 0:
            folder = collection_folder(home.index_folder)
            require(count_differences(home.database_url, folder) == 0, "the index is the source")
        for part, seconds in _bare(bench, home.database_url, "--with-state")[1].items():
            parts[part].append(seconds)
        scripts.append(_bare(bench, home.database_url)[0])
        bench.server.drop(home.database_url)
    together = [sum(of) for of in zip(*parts.values(), strict=True)]
    return Outcome(
        name="first_sync_pipeline",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(size.rows,)),
            Figure(
                key="sync",
                label="sync, start to end",
                unit="s",
                samples=tuple(syncs),
                limit=bench.limit(GOAL_SECONDS, "goal on two cores"),
            ),
            *(
                Figure(key=f"step/{step}", label=f"sync: {step}", unit="s", samples=tuple(seconds))
                for step, seconds in steps.items()
            ),
            *(
                Figure(key=f"part/{part}", label=label, unit="s", samples=tuple(parts[part]))
                for part, label in PARTS.items()
            ),
            Figure(key="parts", label="bare parts together", unit="s", samples=tuple(together)),
            Figure(
                key="script",
                label="bare script without state, start to end",
                unit="s",
                samples=tuple(scripts),
            ),
            Figure(
                key="ratio",
                label="sync / bare parts",
                unit="x",
                samples=(median(syncs) / median(together),),
                limit=bench.limit(MAX_RATIO, "bare parts together"),
            ),
            Figure(
                key="ratio_script",
                label="sync / bare script",
                unit="x",
                samples=(median(syncs) / median(scripts),),
            ),
        ),
    )


def _bare(bench: Workbench, url: str, *words: str) -> tuple[float, dict[str, float]]:
    """Run the bare script: seconds from start to end, and of each part."""
    folder = bench.new_folder("bare")
    folder.mkdir()
    finished = bench.run_module(
        "benchmarks.bare", "--database", url, "--index", "shard", *words, folder=folder
    )
    return finished.seconds, json.loads(finished.output)["seconds"]
