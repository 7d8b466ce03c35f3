"""From commit to searchable, with the change feed and its follower.

Both times are the database's: a clock read after the commit, and the moment
from which the state records the document, which is after the index confirmed it.
So nothing asks the index while it works.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError, ChildFailedError
from benchmarks.home import Home
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench

TITLE = "Freshness"
DEADLINE_SECONDS: Final = 120.0
"""Longest wait for one change; the first one also waits for the follower to start."""
POLL_SECONDS: Final = 0.05

_CHANGE: Final = """
UPDATE materials SET name = name || %(word)s, updated_at = now()
WHERE id = (SELECT id FROM materials ORDER BY md5(id::text || %(word)s) LIMIT 1)
RETURNING id::text
"""
_SYNCED: Final = """
SELECT extract(epoch FROM last_synced_at - %(committed)s)::float8
FROM sync_pipeline.index_state
WHERE entity_type = 'material' AND db_id = %(row)s AND last_synced_at > %(committed)s
"""


def measure(bench: Workbench) -> Outcome:
    size = CatalogueSize(rows=bench.sizes.rivals_rows)
    home = bench.new_home(size, provider="sentence-transformers")
    home.run_module("benchmarks.stand_in_vectors")
    home.sync()
    try:
        home.run("feed", "install")
    except ChildFailedError:
        return Outcome(
            name="freshness",
            title=TITLE,
            skipped="this version has no `sync-pipeline feed install`",
        )
    with _following(home):
        bench.say("freshness: waiting for the follower")
        # The first one also waits for the model to be loaded.
        change_and_wait(home, word=" warm-up")
        waits = [
            change_and_wait(home, word=f" change {number}")
            for number in range(bench.sizes.freshness_changes)
        ]
    ninety_fifth = statistics.quantiles(waits, n=20, method="inclusive")[-1]
    return Outcome(
        name="freshness",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(size.rows,)),
            Figure(key="wait", label="commit to searchable", unit="s", samples=tuple(waits)),
            Figure(
                key="wait_95",
                label="commit to searchable, 95 of 100",
                unit="s",
                samples=(ninety_fifth,),
            ),
        ),
    )


def change_and_wait(home: Home, *, word: str) -> float:
    """Change one material; seconds from its commit until its new text is searchable.

    Raises:
        BenchmarkError: it did not become searchable.
    """
    with psycopg.connect(home.database_url, autocommit=True) as connection:
        changed = connection.execute(_CHANGE, {"word": word}).fetchone()
        committed = connection.execute("SELECT clock_timestamp()").fetchone()
        assert changed is not None
        assert committed is not None
        asked = {"row": changed[0], "committed": committed[0]}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            found = connection.execute(_SYNCED, asked).fetchone()
            if found is not None:
                return float(found[0])
            time.sleep(POLL_SECONDS)
    raise BenchmarkError(f"a change was not searchable within {DEADLINE_SECONDS:g} s")


@contextmanager
def _following(home: Home) -> Iterator[None]:
    """``sync-pipeline feed follow`` for the length of the ``with``."""
    process = subprocess.Popen(
        [home.program, "feed", "follow"],
        env=home.environment,
        cwd=home.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
