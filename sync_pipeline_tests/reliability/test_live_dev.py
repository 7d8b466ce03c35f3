"""A running ``sync-pipeline dev`` whose processes are killed at random, and what comes of it.

Minutes of waiting for many real processes, so `make test` leaves it out and `make chaos` runs it.
``SYNC_PIPELINE_CHAOS_SECONDS`` is how long rows are changed and processes killed.
``SYNC_PIPELINE_CHAOS_SEED`` makes the same choices again, as far as the timing lets it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline.defs.run_history import MAX_SILENCE
from sync_pipeline.defs.sensors import dead_runs_sensor
from sync_pipeline_tests.reliability.catalogue import Catalogue
from sync_pipeline_tests.reliability.dev_instance import (
    FASTER,
    PARTS,
    DevInstance,
    kill,
    wait_for,
)
from sync_pipeline_tests.reliability.program import LEASE_SECONDS

DURATION: Final = os.environ.get("SYNC_PIPELINE_CHAOS_SECONDS")
SECONDS: Final = float(DURATION or 0)
SEED: Final = int(os.environ.get("SYNC_PIPELINE_CHAOS_SEED", random.randrange(10**6)))  # noqa: S311 - test data
MIN_KILLS: Final = 2
EVERYTHING: Final = "everything at once"
ACME: Final = "acme"
LONG_RUN_ROWS: Final = 3000
"""A third of them in each scope, five to a write: seconds of work."""
HEAL_SECONDS: Final = (
    200
    + sum(FASTER.values())
    + 4 * LEASE_SECONDS
    + MAX_SILENCE.total_seconds()
    + float(dead_runs_sensor.minimum_interval_seconds or 0)
)
"""Longest way from the last kill to an index in step: a start, a run that has to be given up."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dagster,
    pytest.mark.skipif(DURATION is None, reason="takes minutes: `make chaos` runs it"),
    pytest.mark.timeout(SECONDS + 2 * HEAL_SECONDS),
]


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=150, seed=3)
    yield catalogue
    catalogue.close()


@pytest.fixture
def dev(catalogue: Catalogue, database_url: str, tmp_path: Path) -> Iterator[DevInstance]:
    """It runs, and nothing of it survives the test."""
    del catalogue  # there have to be tables
    dev = DevInstance(tmp_path / "home", database=database_url)
    try:
        dev.start()
        yield dev
    finally:
        dev.kill_everything()


@pytest.fixture
def followed(dev: DevInstance) -> DevInstance:
    """With everything that turns a committed change into a run."""
    installed, told = dev.command("feed", "install")
    assert installed == 0, told
    dev.wait_until_ready()
    dev.start_sensor("changed_rows_sensor")
    return dev


class Killer:
    """Chooses when and who: every kind of process has the same chance, whoever is there.

    Half of the time it waits until ``dev`` has come up, for there is more to be killed then.
    """

    def __init__(self, dev: DevInstance, *, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.choose = random.Random(seed)  # noqa: S311 - test data
        self._dev = dev
        self._at: float
        self._is_patient: bool
        self._wait()

    def look(self) -> None:
        """Kill something if it is time."""
        if time.monotonic() < self._at or (self._is_patient and not self._dev.is_ready()):
            return
        if self._is_patient:
            # It has come up; now it gets to work.
            self._at, self._is_patient = time.monotonic() + self.choose.uniform(1, 8), False
            return
        parts = self._dev.parts()
        kinds = sorted(kind for kind in parts if kind in PARTS)
        if kinds:
            kind = self.choose.choice([*kinds, EVERYTHING])
            self._kill(kind, parts.get(kind, []))
            self._wait()

    def _wait(self) -> None:
        self._at = time.monotonic() + self.choose.uniform(2, 6)
        self._is_patient = self.choose.random() < 0.5

    def _kill(self, kind: str, processes: list[psutil.Process]) -> None:
        self.kills[kind] += 1
        if kind == EVERYTHING:
            self._dev.kill_everything()
        else:
            kill(self.choose.choice(sorted(processes, key=lambda process: process.pid)))


def test_a_running_dev_whose_processes_are_killed_loses_nothing(
    catalogue: Catalogue, followed: DevInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """S9, S13, S35, S36, S37: kills of any process at any moment while rows change."""
    dev, killer = followed, Killer(followed, seed=SEED)
    began = time.monotonic()
    changed = 0

    while time.monotonic() < began + SECONDS or killer.kills.total() < MIN_KILLS:
        changed += catalogue.change(share=0.05)
        killer.look()
        dev.supervise()
        time.sleep(killer.choose.uniform(0.2, 1))
    stopped_writing = time.monotonic()
    wait_until_in_step(dev, "all")
    healed = time.monotonic() - stopped_writing
    runs = dev.count_runs()
    ended = dev.stop()
    wait_for(lambda: not dev.parts() or None, seconds=60, what="end of its processes")
    synced, report = dev.command("sync", "all", "--force")
    verified, found = dev.command("verify", "all")
    points = dev.points()

    with capsys.disabled():
        sys.stdout.write(
            f"\nseed {SEED}: {time.monotonic() - began:.0f} seconds, {changed} rows changed, "
            f"{killer.kills.total()} kills ({tally(killer.kills)}), {dev.starts} starts, "
            f"runs: {tally(runs)}; in step {healed:.0f} seconds after the last change\n"
        )
    assert ended == 0
    assert (synced, verified) == (0, 0), (report, found)
    assert len(points) == len(set(points))
    assert set(points) == catalogue.expected()


def test_s35_a_run_that_is_cancelled_in_the_interface_ends_cleanly(
    catalogue: Catalogue, dev: DevInstance
) -> None:
    run_id = start_long_run(dev, catalogue)

    dev.terminate(run_id)
    status = wait_for(lambda: dev.finished(run_id), seconds=HEAL_SECONDS, what="end of the run")
    holder = dev.lease_holder(ACME)
    again = dev.launch(ACME)
    outcome = wait_for(lambda: dev.finished(again), seconds=HEAL_SECONDS, what="end of the next")

    assert (status, holder, outcome) == ("CANCELED", None, "SUCCESS")
    assert dev.command("verify", "tenant", ACME)[0] == 0


def test_s37_a_run_whose_processes_were_killed_is_closed_and_run_again(
    catalogue: Catalogue, dev: DevInstance
) -> None:
    """S34 to S37: daemon, code server and run worker are gone in the middle of a run."""
    run_id = start_long_run(dev, catalogue)

    parts = dev.parts()
    for kind in ("daemon", "code server proxy", "code server", "run worker"):
        for process in parts[kind]:
            kill(process)
    wait_for(dev.ended, seconds=HEAL_SECONDS, what="end of a dev without a daemon")
    dev.supervise()
    dev.wait_until_ready()
    status = wait_for(lambda: dev.finished(run_id), seconds=HEAL_SECONDS, what="end of the run")
    wait_until_in_step(dev, "tenant", ACME)

    assert status == "FAILURE"
    assert dev.lease_holder(ACME) is None


@pytest.mark.parametrize("kind", ["feed follower", "code server proxy", "code server"])
def test_a_part_whose_end_nobody_would_notice_comes_back_by_itself(
    dev: DevInstance, kind: str
) -> None:
    """Without it `dev` looks alive, and follows no change or can start no run."""
    dev.wait_until_ready()
    killed = {process.pid for process in dev.parts()[kind]}

    for process in dev.parts()[kind]:
        kill(process)

    def again() -> bool | None:
        return any(process.pid not in killed for process in dev.parts()[kind]) or None

    wait_for(again, seconds=HEAL_SECONDS, what=f"new {kind}")
    dev.wait_until_ready()
    run_id = dev.launch(ACME)
    status = wait_for(lambda: dev.finished(run_id), seconds=HEAL_SECONDS, what="end of a run")
    assert (status, dev.ended()) == ("SUCCESS", None)


def test_a_sync_that_is_asked_for_is_done_though_parts_are_killed(
    catalogue: Catalogue, dev: DevInstance
) -> None:
    """The scopes have no partition yet; the sensor's process dies while it is at work on them."""
    del catalogue
    dev.wait_until_ready()
    requests = dev.sync().requests
    made = requests.add(requested_by="a test", scope_keys=["global", ACME], force=True)

    for _ in range(3):
        time.sleep(4)
        for process in dev.parts()["code server"]:
            kill(process)

    def ended() -> str | None:
        dev.supervise()
        request = requests.get(made.request_id)
        assert request is not None
        return None if request.status in ("pending", "started") else request.status

    status = wait_for(ended, seconds=HEAL_SECONDS, what="end of the request")
    request = requests.get(made.request_id)
    assert request is not None
    assert (status, request.error) == ("done", None)
    dev.wait_until_ready()
    # A run whose process was killed is run again, with the tags of the first.
    assert set(dev.runs_of_request(made.request_id)) == {"global", ACME}
    recorded = {run.scope_key: run for run in dev.sync().runs.get_many([*request.run_ids.values()])}
    assert {run.status for run in recorded.values()} == {"success"}
    assert set(recorded) == {"global", ACME}


def start_long_run(dev: DevInstance, catalogue: Catalogue) -> str:
    """A full sync of a scope that has come to its writes; its id."""
    dev.wait_until_ready()
    wait_until_in_step(dev, "all")
    catalogue.insert(LONG_RUN_ROWS)
    run_id = dev.launch(ACME)
    wait_for(
        lambda: dev.lease_holder(ACME) == run_id or None,
        seconds=HEAL_SECONDS,
        what="run under way",
    )
    return run_id


def wait_until_in_step(dev: DevInstance, *scopes: str) -> None:
    """Wait until ``dev`` runs, no run is under way, and the scopes are as the source.

    Raises:
        AssertionError: it took too long; with what was missing last.
    """
    missing: object = None

    def is_in_step() -> bool:
        nonlocal missing
        dev.supervise()
        try:
            missing = dev.unfinished_runs()
        except OSError as error:
            missing = error
        if not missing:
            verified, missing = dev.command("verify", *scopes)
            return verified == 0
        return False

    try:
        wait_for(lambda: is_in_step() or None, seconds=HEAL_SECONDS, what="index in step")
    except AssertionError as error:
        raise AssertionError(f"{error}: {missing}") from error


def tally(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
