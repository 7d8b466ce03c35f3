"""What the change feed costs the application: runs ``feed_cost``, which times every statement."""

from __future__ import annotations

import json

from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench

TITLE = "Cost of the change feed for writers"


def measure(bench: Workbench) -> Outcome:
    folder = bench.new_folder("feed")
    folder.mkdir()
    bench.run_module("benchmarks.feed_cost", "--out", "feed.json", folder=folder)
    lines = json.loads((folder / "feed.json").read_text(encoding="utf-8"))["statements"]
    return Outcome(
        name="feed_writes",
        title=TITLE,
        figures=tuple(
            Figure(
                key=f"added/{line['statement']}/{line['rows']}",
                label=f"{line['statement']}, {line['rows']:,} rows at once: added per row",
                unit="us",
                samples=(line["added_microseconds_per_row"],),
            )
            for line in lines
        ),
    )
