"""Takes the pictures of docs/scaling.md: ``python -m docs.photograph_scaling``.

A backfill of all partitions is started in Dagster's interface, as an operator does, and executed
by workers on two hosts, namespaces of this machine. One host is killed in the middle. Needs root,
Debian's chromium and redis-server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import dagster as dg
from playwright.sync_api import Page, sync_playwright

from benchmarks.home import Server
from sync_pipeline_tests.reliability.dev_instance import wait_for
from sync_pipeline_tests.scale.bed import Bed, bed, fill, runs_by_status
from sync_pipeline_tests.service.browsing import CHROMIUM

IMAGES: Final = Path(__file__).resolve().parent / "images"
TENANTS: Final = 10
ROWS: Final = 2_500
SECONDS: Final = 600
RUNS_BEFORE: Final = 2
"""Runs that have ended when the host is killed."""
GROUP: Final = "/locations/sync_pipeline.definitions/asset-groups/sync"


def main() -> None:
    """Fill an installation, start the backfill, kill a host, and take every picture."""
    folder = Path(tempfile.mkdtemp(prefix="spp-"))
    server = Server(folder)
    try:
        more = {
            "SYNC_PIPELINE__SCALE__BIG_SCOPE_ROWS": "20000",
            "SYNC_PIPELINE__SCHEDULE__GROUP_ROWS": "0",
        }
        shared = folder / "bed"
        shared.mkdir()
        with bed(server.create(), shared, **more) as made:
            os.environ.update(
                {name: value for name, value in made.environment.items() if "AWS_" in name}
            )
            photograph(made)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def photograph(made: Bed) -> None:
    """One backfill, from the click to its end."""
    fill(made, **{f"tenant{number:02d}": ROWS for number in range(TENANTS)}, everyone=200)
    keys = [*(f"tenant{number:02d}" for number in range(TENANTS)), "global"]
    made.know(*keys)
    control = made.start_daemon()
    first, _second = (made.start_worker(name, concurrency=2) for name in ("anna", "boris"))
    port = _free_port()
    words = ["dagster", "webserver", "-m", "sync_pipeline.definitions", "-p", str(port)]
    with (
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "sync_pipeline", *words], env=dict(control.environment)
        ) as webserver,
        made.instance() as instance,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page(
                base_url=f"http://127.0.0.1:{port}", viewport={"width": 1400, "height": 900}
            )
            wait_for(lambda: _answers(port) or None, seconds=120, what="user interface")
            start_backfill(page)
            wait_for(
                lambda: runs_by_status(instance)["SUCCESS"] >= RUNS_BEFORE or None,
                seconds=SECONDS,
                what="first runs that ended",
            )
            first.crash()
            print("killed one host:", dict(runs_by_status(instance)))
            wait_for(
                lambda: runs_by_status(instance)["FAILURE"] >= 1 or None,
                seconds=SECONDS,
                what="run that was ended",
            )
            wait_for(lambda: _is_over(instance, keys) or None, seconds=SECONDS, what="end of all")
            failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))[0]
            page.goto(f"/runs/{failed.run_id}")
            page.wait_for_timeout(6000)
            page.screenshot(path=IMAGES / "scaling-lost-host.png")
            page.goto("/assets/stale_cleanup?view=partitions")
            page.wait_for_timeout(4000)
            page.screenshot(path=IMAGES / "scaling-partitions.png")
            print(dict(runs_by_status(instance)), "verify:", made.verify() or "clean")
        finally:
            browser.close()
            webserver.terminate()


def start_backfill(page: Page) -> None:
    """Materialize all assets for all partitions, by the buttons."""
    page.goto(GROUP)
    page.get_by_role("button", name="Materialize all").click()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_timeout(1000)
    page.screenshot(path=IMAGES / "scaling-backfill.png")
    page.get_by_role("button", name="Launch backfill").click()
    page.wait_for_timeout(3000)


def _is_over(instance: dg.DagsterInstance, keys: list[str]) -> bool:
    asset = dg.AssetKey("stale_cleanup")
    statuses = runs_by_status(instance)
    is_idle = not (statuses.keys() & {"QUEUED", "STARTING", "STARTED", "CANCELING"})
    return is_idle and set(keys) <= set(instance.get_materialized_partitions(asset))


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
