"""What runs of Dagster tell the log, whoever started them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from sync_pipeline.core.errors import RejectedPointError
from sync_pipeline.defs.recording import record_killed
from sync_pipeline.log_file import log_to_file, stop_logging_to_file
from sync_pipeline_tests.defs.conftest import run_job
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import POISON
from sync_pipeline_tests.logged import Logged

pytestmark = pytest.mark.dagster

CANARY = "hunter2canary"


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Logged]:
    """An open log, with everything in it."""
    log_to_file(tmp_path / "log.jsonl", level="debug")
    yield Logged(tmp_path / "log.jsonl")
    stop_logging_to_file()


def test_a_run_has_a_line_at_its_end_with_what_it_did(
    world: World, instance: dg.DagsterInstance, logged: Logged
) -> None:
    run_id = run_job(instance, world.sync, scope_key="acme").run_id

    (ended,) = logged.events("run_ended")
    assert (ended["run_id"], ended["scope"], ended["status"]) == (run_id, "acme", "success")
    assert (ended["mode"], ended["counts"]["documents"]) == ("full", 3)
    assert set(ended["step_seconds"]) == {"export", "embed", "upsert", "cleanup"}
    assert {line["run_id"] for line in logged.events("step_ended")} == {run_id}


def test_a_run_that_fails_says_why(
    world: World, instance: dg.DagsterInstance, logged: Logged
) -> None:
    run_job(instance, world.sync, scope_key="acme")
    world.remove("a1", "a2", "a3")

    run_job(instance, world.sync, scope_key="acme")

    _, ended = logged.events("run_ended")
    assert (ended["status"], ended["level"]) == ("failed", "error")
    assert ended["error"]["code"] == "MassDeletionRefusedError"
    assert "refused to delete 3 of 3" in ended["error"]["message"]


def test_a_run_that_was_killed_is_told_by_who_finds_it(
    world: World, instance: dg.DagsterInstance, logged: Logged
) -> None:
    run_id = run_job(instance, world.sync, scope_key="acme").run_id
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    world.runs.purge(min_age_seconds=0)

    record_killed(world.runs, record, why="its machine is gone")

    ended = logged.events("run_ended", "run_failed_afterwards")[-1]
    assert ended["error"]["message"] == "the run was ended from outside: its machine is gone"


def test_no_text_of_a_document_is_logged_by_runs_that_fail(
    world: World, instance: dg.DagsterInstance, logged: Logged
) -> None:
    world.put("a1", name=f"{CANARY} cement")
    world.put("a2", name=f"{CANARY} {POISON}")
    world.put("a3", name=None, unit=None, price=CANARY)
    world.store.fail_next("upsert", RejectedPointError(document_id="x", reason="odd"))
    run_job(instance, world.sync, scope_key="acme")
    world.put("a1", name=f"{CANARY} sand")
    world.store.fail_next("upsert", ValueError(f"row {CANARY}"))

    run_job(instance, world.sync, scope_key="acme")

    first, second = logged.events("run_ended")
    assert first["counts"]["quarantined"] == 1
    assert first["counts"]["failed"] >= 1
    assert (second["status"], second["error"]["code"]) == ("failed", "ValueError")
    assert CANARY not in logged.text
