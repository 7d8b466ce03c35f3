"""Real crashes: SIGKILL at every call that matters, then one clean sync.

``SYNC_PIPELINE_CHAOS=20`` kills twenty times at each place instead of once.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Final

import pytest

from sync_pipeline_tests.reliability.catalogue import Catalogue, Found
from sync_pipeline_tests.reliability.crashing import Driver

REPETITIONS: Final = int(os.environ.get("SYNC_PIPELINE_CHAOS", "1"))

PLACES: Final = (
    ("leases.acquire", "after", 1),
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
    ("leases.check", "after", 1),
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
    ("leases.release", "before", 1),
    ("leases.release", "after", 1),
    ("store.upsert", "after", 5),
)
"""``(port method, before or after, number of the call)``."""


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
