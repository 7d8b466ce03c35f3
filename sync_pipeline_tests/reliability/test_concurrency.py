"""S34 to S44: two of everything at once, and processes that will not die or will not wake."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline.core.errors import (
    MassDeletionRefusedError,
    ScopeBusyError,
    SourceUnavailableError,
    SupersededError,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import driver_url
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import scope_lease
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub
from sync_pipeline_tests.fakes.watched import When, watch_context
from sync_pipeline_tests.reliability.catalogue import Catalogue, Found
from sync_pipeline_tests.reliability.crashing import Driver
from sync_pipeline_tests.reliability.site import Site


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=60, seed=1)
    yield catalogue
    catalogue.close()


@pytest.fixture
def two_drivers(
    catalogue: Catalogue, database_url: str, tmp_path: Path
) -> Iterator[tuple[Driver, Driver]]:
    """Two processes on one installation."""
    del catalogue  # there have to be tables
    drivers = [Driver(tmp_path / "home", database=database_url) for _ in range(2)]
    yield drivers[0], drivers[1]
    for driver in drivers:
        driver.close()


@pytest.mark.parametrize(
    ("place", "when"),
    [
        pytest.param("source.open_snapshot", "after", id="in its snapshot"),
        pytest.param("cache.put", "after", id="after embedding"),
        pytest.param("leases.check", "after", id="just before a write"),
    ],
)
def test_s34_a_run_that_slept_past_its_lease_writes_nothing_newer_away(
    two_drivers: tuple[Driver, Driver], catalogue: Catalogue, place: str, when: str
) -> None:
    """A process stopped beyond its lease is overtaken; awake again, it stops."""
    sleeper, second = two_drivers
    second.sync()
    catalogue.rename_all("first")
    answer: dict[str, Any] = {}
    sleep = {"place": place, "when": when, "number": 1, "signal": signal.SIGSTOP}
    thread = threading.Thread(
        target=lambda: answer.update(sleeper.ask(kill=sleep, scopes=["acme"]))
    )
    thread.start()
    pid = wait_until_stopped(sleeper)
    catalogue.rename_all("second")

    seen = second.sync()
    os.kill(pid, signal.SIGCONT)
    thread.join(60)
    after = second.ask(do="look")["answer"]

    assert answer["answer"]["error"] == "SupersededError"
    assert {Found(*point) for point in seen["points"]} == catalogue.expected()
    assert after["points"] == seen["points"]


def wait_until_stopped(driver: Driver) -> int:
    """Process id of the sync that put itself to sleep."""
    note = driver.home / "stopped.pid"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if note.exists() and note.read_text():
            pid = int(note.read_text())
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return pid
        time.sleep(0.02)
    raise AssertionError("the run did not go to sleep")


def asleep_at(site: Site, place: str) -> SyncContext:
    """A context that falls asleep at a call, for longer than its lease.

    Meanwhile row ``m0003`` is inserted again and a whole second sync takes place.
    """
    slept = False

    def sleep(called: str, when: When) -> None:
        nonlocal slept
        if slept or (called, when) != (place, "before"):
            return
        slept = True
        site.sql(
            "INSERT INTO materials (id, tenant_id, name) VALUES ('m0003', 'acme', 'sand')",
            "UPDATE sync_pipeline.scope_lease SET expires_at = now() - interval '1 second'",
        )
        site.run()

    return watch_context(site.sync, sleep)


@pytest.mark.parametrize("kind", ["embedded", "server"])
def test_s15_s16_s34_a_process_that_slept_before_its_delete_spares_a_newer_point(
    site: Site, stub: QdrantStub, kind: str
) -> None:
    """A process that wakes up between its last look at the lease and its delete does no harm."""
    if kind == "server":
        site.store = lease_server_store(stub.url, api_key=None)
    site.fill(5)
    site.run()
    site.sql("DELETE FROM materials WHERE id IN ('m0003', 'm0005')")

    with pytest.raises(SupersededError, match="'acme'"):
        site.run(sync=asleep_at(site, "store.delete"))

    assert set(site.texts()) == {"m0001", "m0002", "m0003", "m0004"}
    assert site.texts()["m0003"] == "sand kg"
    assert site.is_clean()


def test_s15_s16_s34_a_process_that_slept_before_its_delete_spares_a_newer_record(
    site: Site,
) -> None:
    """Neither does one that wakes up when it is about to forget what it deleted."""
    site.fill(5)
    site.run()
    site.sql("DELETE FROM materials WHERE id IN ('m0003', 'm0005')")

    with pytest.raises(SupersededError, match="'acme'"):
        site.run(sync=asleep_at(site, "state.delete"))

    assert site.texts()["m0003"] == "sand kg"
    assert site.is_clean()


def test_s34_of_two_runs_of_one_scope_at_once_one_waits(site: Site) -> None:
    """While a run holds a scope, a second one is refused and told for how long."""
    site.fill(3)

    with (
        scope_lease(site.sync, scope=Scope("acme"), owner="first"),
        pytest.raises(ScopeBusyError, match="'acme' is being written by first") as busy,
    ):
        site.run()

    assert 0 < (busy.value.retry_after_seconds or 0) <= 60
    assert site.run().new == 3


def test_s34_many_threads_on_one_installation_end_in_step(site: Site) -> None:
    """Runs of several scopes at once do not disturb each other; a scope has one at a time."""
    scopes = ["global", "acme", "globex", "initech"]
    for key in scopes:
        site.fill(20, tenant=None if key == "global" else key, prefix=key)
    outcomes: list[str] = []

    def run(key: str) -> None:
        for _ in range(2):
            try:
                site.run(key)
                outcomes.append("done")
            except ScopeBusyError:
                outcomes.append("busy")

    threads = [threading.Thread(target=run, args=(key,)) for key in scopes * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == 16
    assert outcomes.count("done") >= 4
    for key in scopes:
        assert site.is_clean(key)
    assert sorted(site.embedder.embedded) == sorted(set(site.embedder.embedded))


def dagster_yaml() -> Any:
    return yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))


def test_s35_a_run_whose_processes_all_died_ends_by_itself() -> None:
    """Dagster's own watch over runs is on and bounded, or a dead run would block its scope."""
    monitoring = dagster_yaml()["run_monitoring"]

    assert monitoring["enabled"] is True
    assert 0 < monitoring["max_runtime_seconds"] <= 86_400


def test_s36_a_slot_of_a_dead_run_is_freed() -> None:
    """No run of another scope waits for ever for the slot of a dead one."""
    assert dagster_yaml()["run_monitoring"]["free_slots_after_run_end_seconds"] <= 300


def test_s37_a_killed_process_is_retried_as_a_run_and_a_failed_step_is_not_twice() -> None:
    """Retries of runs are for crashes only: they do not multiply with those of steps."""
    retries = dagster_yaml()["run_retries"]

    assert retries["enabled"] is True
    assert retries["max_retries"] >= 1
    assert retries["retry_on_asset_or_op_failure"] is False


def test_s38_runs_that_are_asked_for_twice_do_nothing_twice(site: Site) -> None:
    """A doubled tick costs one run that writes nothing."""
    site.fill(5)
    site.run()
    before = site.payloads()

    report = site.run()

    assert report.unchanged == 5
    assert site.payloads() == before


def test_s39_a_run_of_a_tenant_that_is_gone_deletes_nothing(site: Site) -> None:
    """A run that was queued when its tenant was deleted is refused, not carried out."""
    site.fill(3)
    site.run()
    site.sql("DELETE FROM materials")

    with pytest.raises(MassDeletionRefusedError, match="3 of 3 points in scope 'acme'"):
        site.run()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_s40_a_step_run_again_later_works_on_the_source_as_it_is_then(
    site: Site, steps: int
) -> None:
    """A re-execution does not apply what was planned hours ago."""
    site.fill(5)
    first = SteppedRun(site.sync, scope_key="acme", run_id="first")
    for _ in range(steps):
        first.step()
    site.sql("UPDATE materials SET name = 'sand'", "DELETE FROM materials WHERE id = 'm0005'")
    again = SteppedRun(site.sync, scope_key="acme", run_id="again")
    again.export, again.staged, again.applied = first.export, first.staged, first.applied

    again.finish()

    assert site.texts() == {f"m000{place}": "sand kg" for place in range(1, 5)}


def test_s42_after_an_outage_every_scope_converges(site: Site) -> None:
    """Scopes that failed during an outage need nothing but their next run."""
    scopes = [f"tenant-{number}" for number in range(10)]
    for key in scopes:
        site.fill(2, tenant=key, prefix=key)
    source = site.source
    away = make_engine("postgresql://nobody@127.0.0.1:9/none")
    site.source = PostgresRowSource(away)
    for key in scopes:
        with pytest.raises(SourceUnavailableError, match="cannot be read"):
            site.run(key)
    site.source = source

    for key in scopes:
        site.run(key)

    assert all(site.is_clean(key) for key in scopes)


def test_s43_every_point_says_which_layout_its_payload_has(site: Site) -> None:
    """The payload's version is in every point, so that a later release can tell."""
    site.fill(2)

    site.run()

    assert {payload["schema_version"] for payload in site.payloads().values()} == {1}


def test_s44_settings_cannot_change_under_a_run(site: Site) -> None:
    """A run has one configuration from beginning to end."""
    sync = site.sync

    with pytest.raises(FrozenInstanceError, match="options"):
        sync.options = replace(sync.options)  # type: ignore[misc]  # that is the point
