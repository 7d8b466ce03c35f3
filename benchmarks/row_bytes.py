"""What a row, a point, a vector and a run take on disk: the ground of ``plan --scale``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.catalogue import CatalogueSize
from benchmarks.home import Home, require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.stores.edge.files import folder_bytes

TITLE = "Bytes per row, vector and run"
ROWS: Final = 20_000
TENANTS: Final = 40
NOTES: Final = (
    "Tables with their indexes, right after a first sync, so without what updates leave behind.",
    (
        "Staged files are the most that lay there while the largest scope was synced, looked at "
        "every 20 ms; they are gone when it is in step."
    ),
    (
        "Runs are of small tenants in which nothing changed, one run each, with its events; the "
        "seconds are of one process that executes run after run."
    ),
)

# Not an estimate: the size of every file of a table.
_SIZES: Final = """
SELECT c.relname, pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = %s
"""


def measure(bench: Workbench) -> Outcome:
    """Sync two sizes of catalogue; what the larger one takes more is divided by its rows."""
    rows = max(2_000, round(ROWS * bench.scale))
    small = _synced(bench, rows=rows // 4)
    large = _synced(bench, rows=rows)
    more = rows - rows // 4
    more_global = CatalogueSize(rows=rows).global_rows - CatalogueSize(rows=rows // 4).global_rows
    vectors = large["vectors"] - small["vectors"]
    runs = _runs(bench)
    per_row = {
        "index_state": ("record of a document in PostgreSQL", more),
        "staging": ("staged files of a first sync, per document of the scope", more_global),
        "index": ("embedded index on disk, per point", more),
        "embedding_cache": ("vector in the cache, in PostgreSQL", vectors),
        "source": ("row of the source, for comparison", more),
    }
    return Outcome(
        name="row_bytes",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(rows,)),
            Figure(key="dimension", label="numbers per vector", unit="", samples=(384,)),
            *(
                Figure(
                    key=key,
                    label=label,
                    unit="bytes",
                    samples=((large[key] - small[key]) / divisor,),
                )
                for key, (label, divisor) in per_row.items()
            ),
            *runs,
        ),
        notes=NOTES,
    )


def _synced(bench: Workbench, *, rows: int) -> dict[str, float]:
    home = bench.new_home(CatalogueSize(rows=rows), provider="hashing")
    with _watched(home.folder / "staging") as staging:
        first = home.sync()
    require(first.totals["new"] == rows, "every row becomes a point")
    tables = _table_bytes(home, "sync_pipeline")
    with psycopg.connect(home.database_url) as connection:
        counted = connection.execute(
            "SELECT count(*) FROM sync_pipeline.embedding_cache"
        ).fetchone()
    found = {
        "index_state": tables["index_state"],
        "embedding_cache": tables["embedding_cache"],
        "vectors": float(counted[0]) if counted else 0.0,
        "source": sum(_table_bytes(home, "public").values()),
        "staging": max(staging),
        "index": folder_bytes(home.index_folder),
    }
    bench.server.drop(home.database_url)
    home.lose_index()
    return found


@contextmanager
def _watched(folder: Path) -> Iterator[list[float]]:
    """How large a folder is, again and again meanwhile."""
    seen: list[float] = [0.0]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            # Files come and go while they are counted.
            with suppress(OSError):
                seen.append(sum(path.lstat().st_size for path in folder.rglob("*")))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def _runs(bench: Workbench) -> list[Figure]:
    """Sync every scope once more, although nothing changed: what a run leaves behind."""
    size = CatalogueSize(rows=2_000, tenants=TENANTS)
    home = bench.new_home(size, provider="hashing")
    home.sync()
    before = _dagster(home)
    again = home.sync("--force")
    after = _dagster(home)
    made = after["runs"] - before["runs"]
    require(made == TENANTS + 1, "every scope is a run")
    bench.server.drop(home.database_url)
    return [
        Figure(
            key="run_bytes",
            label="run in Dagster's tables",
            unit="bytes",
            samples=((after["bytes"] - before["bytes"]) / made,),
        ),
        Figure(
            key="run_events",
            label="events of a run",
            unit="events",
            samples=((after["events"] - before["events"]) / made,),
        ),
        Figure(
            key="run_seconds",
            label="run of a small tenant in which nothing changed",
            unit="s",
            samples=(again.seconds / made,),
        ),
    ]


def _dagster(home: Home) -> Mapping[str, float]:
    with psycopg.connect(home.database_url) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM dagster.runs), (SELECT count(*) FROM dagster.event_logs)"
        ).fetchone()
    runs, events = counted or (0, 0)
    sizes = _table_bytes(home, "dagster")
    return {"runs": runs, "events": events, "bytes": sum(sizes.values())}


def _table_bytes(home: Home, schema: str) -> dict[str, float]:
    with psycopg.connect(home.database_url) as connection:
        return {name: float(size) for name, size in connection.execute(_SIZES, [schema])}
