"""Real crashes: SIGKILL at every call that matters, then one clean sync.

``SYNC_PIPELINE_CHAOS=20`` kills twenty times at each place instead of once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.reliability.catalogue import SCOPES, Catalogue, Found

REPETITIONS: Final = int(os.environ.get("SYNC_PIPELINE_CHAOS", "1"))

PLACES: Final = (
    ("scopes.acquire", "after", 1),
    ("source.open_snapshot", "after", 1),
    ("snapshot.iter_rows.next", "before", 1),
    ("writer.write", "after", 1),
    ("quarantine.replace", "before", 1),
    ("quarantine.replace", "after", 1),
    ("store.iter_digests.next", "before", 1),
    ("state.iter_digests.next", "before", 2),
    ("cache.claim", "before", 1),
    ("cache.claim", "after", 1),
    ("embedder.embed", "before", 1),
    ("embedder.embed", "after", 1),
    ("canaries.replace", "before", 1),
    ("embedder.embed", "before", 2),
    ("embedder.embed", "after", 2),
    ("cache.put", "before", 1),
    ("cache.put", "after", 1),
    ("cache.get", "after", 1),
    ("scopes.note_writing", "after", 1),
    ("scopes.check", "after", 1),
    ("store.upsert", "before", 1),
    ("store.upsert", "after", 1),
    ("store.upsert", "after", 3),
    ("store.write_payloads", "before", 1),
    ("store.write_payloads", "after", 1),
    ("state.record_synced", "before", 1),
    ("state.record_synced", "after", 1),
    ("state.record_synced", "before", 3),
    ("cache.release", "before", 1),
    ("cache.release", "after", 1),
    ("store.delete", "before", 1),
    ("store.delete", "after", 1),
    ("store.delete", "before", 2),
    ("state.delete", "before", 1),
    ("state.delete", "after", 1),
    ("state.take_departed", "before", 1),
    ("state.take_departed", "after", 1),
    ("scopes.record_success", "before", 1),
    ("scopes.record_success", "after", 1),
    ("staging.delete", "before", 1),
    ("scopes.release", "before", 1),
    ("scopes.release", "after", 1),
    ("store.upsert", "after", 5),
)
"""``(port method, before or after, number of the call)``."""


class Driver:
    """Talks to ``crash_driver``; see there."""

    def __init__(self, home: Path, *, database: str) -> None:
        self.home = home
        self.log = home / "embedded.log"
        settings = {
            "DATABASE_URL": database,
            "SYNC_PIPELINE_HOME": str(home),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
            "SYNC_PIPELINE__EMBEDDING__DIMENSION": "16",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline_tests.reliability.crash_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for what became of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"scopes": SCOPES} | request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def kill(self, *, place: str, when: str, number: int) -> None:
        """Sync every scope, and be killed on the way."""
        kill = {"place": place, "when": when, "number": number}
        killed = self.ask(kill=kill)
        assert killed["signal"] == signal.SIGKILL, f"never came to {kill}: {killed}"

    def sync(self) -> dict[str, Any]:
        """Sync every scope, undisturbed; the reports, and what is in the index then."""
        result = self.ask()
        assert "reports" in result["answer"], result
        answer: dict[str, Any] = result["answer"]
        return answer

    def embedded_twice(self) -> set[str]:
        """Texts that were embedded although their vector had been kept."""
        kept: set[str] = set()
        again: set[str] = set()
        for line in self.log.read_text().splitlines():
            word, _, key = line.partition(" ")
            if word == "put":
                kept.add(key)
            elif key in kept:
                again.add(key)
        return again


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=120, seed=7)
    yield catalogue
    catalogue.close()


@pytest.fixture
def driver(catalogue: Catalogue, database_url: str, tmp_path: Path) -> Iterator[Driver]:
    del catalogue  # there have to be tables
    driver = Driver(tmp_path / "home", database=database_url)
    yield driver
    driver.close()


def assert_one_sync_mends_all(driver: Driver, catalogue: Catalogue) -> None:
    """Verification is clean, and the points are exactly the rows: none lost, twice or foreign."""
    seen = driver.sync()
    points = [Found(*point) for point in seen["points"]]
    assert seen["differences"] == {}
    assert len(points) == len(set(points))
    assert set(points) == catalogue.expected()
    assert driver.embedded_twice() == set()


@pytest.mark.slow
@pytest.mark.parametrize("places", [PLACES[::2], PLACES[1::2]], ids=["one half", "other half"])
def test_a_kill_at_any_call_is_mended_by_one_clean_run(
    driver: Driver, catalogue: Catalogue, places: Sequence[tuple[str, str, int]]
) -> None:
    """S9: killed at every call that matters, one run puts everything right."""
    assert_one_sync_mends_all(driver, catalogue)

    for _ in range(REPETITIONS):
        for place, when, number in places:
            catalogue.change(share=0.2)

            driver.kill(place=place, when=when, number=number)

            assert_one_sync_mends_all(driver, catalogue)


@pytest.mark.slow
def test_kills_in_a_row_do_not_add_up(driver: Driver, catalogue: Catalogue) -> None:
    """S9: kills before the last one has been mended leave no more to mend."""
    choose = random.Random(11)  # noqa: S311 - test data
    for _ in range(8 * REPETITIONS):
        place, when, number = choose.choice(PLACES)
        catalogue.change(share=0.05)
        driver.ask(kill={"place": place, "when": when, "number": number})

    assert_one_sync_mends_all(driver, catalogue)

    assert sum(report["embedded_texts"] for report in driver.sync()["reports"]) == 0
