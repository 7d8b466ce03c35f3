from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sync_pipeline import __version__
from sync_pipeline.engine.questions.doctor import Finding
from sync_pipeline_tests.cli.installed import CommandLine

GOOD = Finding(name="index", ok=True, detail="6 points")
BAD = Finding(name="source tables", ok=False, detail="no table works", fix="create it")


def test_the_version_is_printed(run: CommandLine) -> None:
    assert run("--version").stdout == f"sync-pipeline {__version__}\n"


def test_migrate_names_what_was_applied(run: CommandLine) -> None:
    run.installation.applied = ["0001_state", "0002_feed"]

    assert run("migrate").stdout == "Applied: 0001_state, 0002_feed.\n"
    assert json.loads(run("migrate", "--json").stdout) == {
        "ok": True,
        "applied": ["0001_state", "0002_feed"],
    }


def test_migrate_says_when_there_was_nothing_to_do(run: CommandLine) -> None:
    assert run("migrate").stdout == "The tables are up to date.\n"


def test_the_database_url_is_whole(run: CommandLine) -> None:
    url = "postgresql://somebody:secret@localhost/shop"

    assert run("database", "url").stdout == f"{url}\n"
    assert json.loads(run("database", "url", "--json").stdout) == {"url": url}


def test_doctor_is_content_when_everything_is_sound(run: CommandLine) -> None:
    run.installation.findings = [GOOD]

    result = run("doctor")

    assert result.exit_code == 0
    assert "6 points" in result.stdout


def test_doctor_says_what_to_do_and_ends_with_1(run: CommandLine) -> None:
    run.installation.findings = [GOOD, BAD]

    result = run("doctor", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "findings": [
            {"name": "index", "ok": True, "detail": "6 points", "fix": ""},
            {"name": "source tables", "ok": False, "detail": "no table works", "fix": "create it"},
        ],
    }
    assert "create it" in run("doctor").stdout


def test_dev_listens_where_it_is_told(run: CommandLine) -> None:
    default = run("dev")
    chosen = run("dev", "--host", "localhost", "--port", "4000")

    assert (default.exit_code, chosen.exit_code) == (0, 0)
    assert run.orchestrator.dev_addresses == [("127.0.0.1", 3000), ("localhost", 4000)]


def test_dev_hands_the_settings_file_to_the_processes_it_starts(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", "inherited.yaml")

    run("dev", "--config", "other.yaml")

    assert os.environ["SYNC_PIPELINE_CONFIG"] == str(Path("other.yaml").absolute())
