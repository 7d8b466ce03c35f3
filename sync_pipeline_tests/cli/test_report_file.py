"""``--metrics-file``: what ``--json`` prints, left in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_pipeline.cli.report_file import write_report
from sync_pipeline_tests.cli.installed import CommandLine


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["sync", "all"], id="sync"),
        pytest.param(["verify", "all"], id="verify"),
        pytest.param(["status"], id="status"),
        pytest.param(["plan", "all"], id="plan"),
    ],
)
def test_the_file_holds_what_json_prints(
    run: CommandLine, tmp_path: Path, words: list[str]
) -> None:
    file = tmp_path / "report.json"

    printed = run(*words, "--json", "--metrics-file", str(file)).stdout

    assert file.read_text(encoding="utf-8") == printed
    assert set(json.loads(printed)) & {"ok", "scopes"}


def test_people_still_see_their_table_and_no_json(run: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "report.json"

    result = run("sync", "all", "--metrics-file", str(file))

    assert "success" in result.stdout
    assert '"totals"' not in result.stdout
    assert json.loads(file.read_text())["totals"]["documents"] == 6


def test_a_sync_that_failed_leaves_its_report(run: CommandLine, tmp_path: Path) -> None:
    run("sync", "all")
    run.source.tables["materials"] = []
    file = tmp_path / "report.json"

    result = run("sync", "tenant", "globex", "--metrics-file", str(file))

    report = json.loads(file.read_text())
    assert result.exit_code == 1
    assert (report["ok"], report["scopes"][0]["status"]) == (False, "failed")


def test_a_sync_that_could_not_begin_leaves_its_error(run: CommandLine, tmp_path: Path) -> None:
    run.source.is_available = False
    file = tmp_path / "report.json"

    result = run("sync", "all", "--metrics-file", str(file))

    report = json.loads(file.read_text())
    assert (result.exit_code, report["ok"]) == (1, False)
    assert report["error"]["type"] == "SourceUnavailableError"


def test_the_report_before_is_replaced_and_no_draft_is_left(
    run: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "reports" / "report.json"
    file.parent.mkdir()
    file.write_text("old")

    run("status", "--metrics-file", str(file))

    assert [it.name for it in file.parent.iterdir()] == ["report.json"]
    assert "scopes" in json.loads(file.read_text())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param("nowhere/report.json", "No such file or directory", id="no such folder"),
        pytest.param(".", "that is no file", id="a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_done(
    run: CommandLine, tmp_path: Path, place: str, message: str
) -> None:
    result = run("sync", "all", "--metrics-file", str(tmp_path / place))

    assert result.exit_code == 2
    assert message in result.stderr
    assert run.documents() == set()


def test_a_report_that_cannot_be_written_afterwards_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.mkdir()

    why_not = write_report(file, "{}")

    assert why_not == f"warning: the report cannot be written to {file}: Is a directory"
    assert [it.name for it in tmp_path.iterdir()] == ["report.json"]


def test_half_a_character_is_an_escape(tmp_path: Path) -> None:
    file = tmp_path / "report.json"

    write_report(file, json.dumps({"scope_key": "a\udc80"}, ensure_ascii=False))

    assert json.loads(file.read_text(encoding="utf-8")) == {"scope_key": "a\udc80"}
