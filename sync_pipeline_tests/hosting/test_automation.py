"""What an installation needs to run by itself, and somebody has switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline.database.automation import has_switched_off
from sync_pipeline.hosting.orchestrator import DagsterOrchestrator
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.hosting.test_instance import settings_for

pytestmark = [pytest.mark.dagster, pytest.mark.slow]


def switch(url: str, home: Path, *words: str) -> None:
    """Have Dagster's own program switch a schedule or sensor."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SYNC_PIPELINE_HOME": str(home),
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
    }
    command = [sys.executable, "-m", "sync_pipeline", "dagster", "cli", *words]
    subprocess.run(
        [*command, "-m", "sync_pipeline.definitions"],
        env=environment,
        check=True,
        capture_output=True,
    )


def test_what_is_needed_and_off_is_named_until_it_is_on_again(
    database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, home=tmp_path)
    url = open_installation(settings).dagster_storage_url
    at_first = has_switched_off(url)

    switch(database_url, tmp_path, "sensor", "stop", "sync_request_sensor")
    switch(database_url, tmp_path, "schedule", "stop", "nightly_sync_schedule")

    off = DagsterOrchestrator().examine_automation(settings)
    no_night = settings_for(database_url, home=tmp_path, nightly=None)
    of_no_night = DagsterOrchestrator().examine_automation(no_night)
    assert (at_first, has_switched_off(url)) == (False, True)
    assert not off.ok
    assert "sync_request_sensor is switched off in Dagster: no sync is started" in off.detail
    assert "nightly_sync_schedule is switched off" in off.detail
    assert "dead_runs_sensor" not in off.detail
    assert "`sync-pipeline dagster cli sensor start sync_request_sensor -m" in off.fix
    assert "`sync-pipeline dagster cli schedule start nightly_sync_schedule -m" in off.fix
    assert "nightly" not in of_no_night.detail

    switch(database_url, tmp_path, "sensor", "start", "sync_request_sensor")
    switch(database_url, tmp_path, "schedule", "start", "nightly_sync_schedule")

    assert not has_switched_off(url)
    assert DagsterOrchestrator().examine_automation(settings).ok


def test_a_database_that_cannot_be_asked_is_told_elsewhere() -> None:
    assert not has_switched_off("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
