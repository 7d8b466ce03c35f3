"""A REST system with every fault at once, and a process that is killed again and again.

With ``SYNC_PIPELINE_LANDING_PRODUCTS=109000`` it is the size of a real catalogue: `make landing`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sync_pipeline_tests.landing.rest_child import CONFIRMED, PAGE_SIZE, REQUESTS_AHEAD
from sync_pipeline_tests.landing.site import LandingSite
from sync_pipeline_tests.landing.told import tell
from sync_pipeline_tests.origins.rest_server import (
    Catalogue,
    Credentials,
    Erp,
    product_of,
    running_erp,
)

COUNT = int(os.environ.get("SYNC_PIPELINE_LANDING_PRODUCTS", "3000"))
IS_LONG = COUNT > 5000
KILLS = 20 if IS_LONG else 4
STEP = PAGE_SIZE - 2

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(3600 if IS_LONG else 300)]


@dataclass(slots=True)
class Hostile:
    """The system, and whoever lands from it."""

    site: LandingSite
    erp: Erp
    kills: list[str] = field(default_factory=list)

    @contextmanager
    def child(self) -> Iterator[subprocess.Popen[str]]:
        url = self.site.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "sync_pipeline_tests.landing.rest_child", url]
        with subprocess.Popen(
            [*command, self.erp.url], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def land(self) -> dict[str, Any]:
        """Land without being killed."""
        with self.child() as process:
            said, _ = process.communicate(timeout=1800)
            assert process.returncode == 0
        report: dict[str, Any] = json.loads(said)
        return report

    def kill_when(self, is_time: Callable[[], bool], *, told: str) -> bool:
        """Land, and kill it at a moment; False where it was done before."""
        with self.child() as process:
            while process.poll() is None:
                if is_time():
                    process.kill()
                    process.wait()
                    self.kills.append(told)
                    return process.returncode == -signal.SIGKILL
                time.sleep(0.001)
        return False

    def alive(self) -> dict[str, dict[str, Any]]:
        """What the system has, by id; of a repeated one the newest."""
        products = [it for it in self.erp.catalogue.products() if "ID" in it]
        products.sort(key=lambda it: str(it["last_modified"]))
        return {str(it["ID"]): it for it in products if not it["Smazano"]}

    def is_waiting_for_a_lock(self) -> bool:
        return bool(
            self.site.sql(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            )
        )


def number(position: int) -> str:
    return f"{position:08}"


@pytest.fixture
def hostile(engine: Engine) -> Iterator[Hostile]:
    catalogue = Catalogue.of(COUNT)
    with running_erp(catalogue, credentials=Credentials(requests_per_token=40)) as erp:
        yield Hostile(LandingSite(engine, landing=CONFIRMED), erp)


def disturb(erp: Erp, chance: random.Random) -> list[str]:
    """Change the catalogue, and have every fault; the ids of what is deleted."""
    catalogue = erp.catalogue
    changed = chance.sample(range(COUNT), COUNT // 100)
    for position in changed:
        catalogue.update(number(position), Nazev=f"Nový název {position}")
    gone = [it for it in chance.sample(range(COUNT), 30) if it not in changed]
    for position in gone:
        catalogue.delete(number(position))
    for position in range(10):
        catalogue.update(number(position * 7 + 3), Cena="12,50")
    catalogue.insert(product_of(5, Nazev="Podruhé"))
    for position in (100, 200, 300):
        catalogue.insert_without_id(product_of(position), before=number(position))
    erp.before_page[4] = lambda it: it.delete(number(11))
    erp.before_page[9] = lambda it: it.delete(number(STEP * 6 + 1))
    erp.faults.rate_429, erp.faults.rate_500 = 0.05, 0.05
    erp.faults.rate_reset = erp.faults.rate_cut = erp.faults.rate_html = 0.01
    erp.faults.empty_once_at = {STEP * 9}
    erp.pages.clear()
    erp.faults.counted.clear()
    return [number(it) for it in gone]


def kill_while_it_fetches(hostile: Hostile, chance: random.Random) -> None:
    """Kill whoever lands at random pages, each time a later one."""
    erp, pages = hostile.erp, COUNT // STEP
    for moment in sorted(chance.sample(range(1, pages - 1), min(KILLS, pages - 3))):
        target = max(moment, len(erp.pages) + 1)
        hostile.kill_when(lambda at=target: len(erp.pages) >= at, told=f"page {target}")  # type: ignore[misc]
        assert len(hostile.site.ids()) == COUNT


def kill_while_it_applies(hostile: Hostile, *, deleted: str) -> None:
    """Kill whoever lands while the row that is to be deleted is waited for."""
    with hostile.site.engine.begin() as holder:
        row = text("SELECT FROM landing.products WHERE id = :id FOR UPDATE")
        holder.execute(row, {"id": deleted})
        assert hostile.kill_when(hostile.is_waiting_for_a_lock, told="apply")
    assert len(hostile.site.ids()) == COUNT


def check_exact(hostile: Hostile) -> None:
    """Compare every row with the record of the system."""
    alive = hostile.alive()
    landed = {str(row["id"]): row for row in hostile.site.rows()}
    assert landed.keys() == alive.keys()
    assert {key: row["name"] for key, row in landed.items()} == {
        key: it["Nazev"] for key, it in alive.items()
    }
    prices = {key: it["Cena"] for key, it in alive.items() if not isinstance(it["Cena"], str)}
    assert {key: float(landed[key]["price"]) for key in prices} == prices
    assert all(landed[key]["price"] is None for key in alive.keys() - prices.keys())


def served_twice(erp: Erp) -> int:
    """How many pages were cut that had been cut before."""
    served = Counter(page.params.get("offset") for page in erp.pages)
    return sum(times - 1 for times in served.values())


def test_it_lands_exactly_however_often_it_is_killed(hostile: Hostile) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable
    erp = hostile.erp
    first = hostile.land()
    gone = disturb(erp, chance)
    kill_while_it_fetches(hostile, chance)
    kill_while_it_applies(hostile, deleted=gone[0])
    asked = sum(erp.requests.values())

    report = hostile.land()

    # A login, and the records that the list did not have.
    assert report["resumed"]
    assert sum(erp.requests.values()) - asked < 60
    twice = served_twice(erp)
    lost = sum(erp.faults.counted[it] for it in ("reset", "cut", "html"))
    assert twice <= len(hostile.kills) * REQUESTS_AHEAD + lost + 2 * report["mended_seams"] + 2
    landed = set(hostile.site.ids())
    assert (first["rows"], first["new"]) == (COUNT, COUNT)
    assert landed >= hostile.alive().keys()
    assert landed.isdisjoint(gone)
    assert report["rejected"]["wrong_type"] >= 10
    assert report["rejected"]["no_id"] >= 3
    erp.before_page.clear()
    tell(
        "a hostile system",
        products=COUNT,
        kills=len(hostile.kills),
        pages_cut=len(erp.pages),
        pages_cut_twice=twice,
        faults=dict(erp.faults.counted),
        new=report["new"],
        changed=report["changed"],
        deleted=report["deleted"],
        rejected=report["rejected"],
    )

    # Nobody touches anything during the next pass: what went in the middle of that one goes now.
    hostile.land()
    check_exact(hostile)
    before = hostile.site.marks()
    unchanged = hostile.land()

    assert (unchanged["new"], unchanged["changed"], unchanged["deleted"]) == (0, 0, 0)
    assert hostile.site.marks() == before
