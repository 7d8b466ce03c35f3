"""``--log-file`` and ``logging.file``: which file a command writes, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.settings.sections import LoggingSettings
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.logged import Logged


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_command_logs_to_the_file_that_is_named(
    run: CommandLine, tmp_path: Path, place: str
) -> None:
    logged = Logged(tmp_path / "log.jsonl")
    option, words = ["--log-file", str(logged.path)], ["sync", "global"]

    result = run(*(option + words if place == "before" else words + option))

    assert (result.exit_code, result.stderr) == (0, "")
    assert [line["step"] for line in logged.events("step_ended")] == [
        "export", "compare", "embed", "seal", "upsert", "cleanup",
    ]  # fmt: skip


def test_what_a_command_starts_logs_to_that_file_too(run: CommandLine, tmp_path: Path) -> None:
    run("worker", "--log-file", str(tmp_path / "log.jsonl"))

    assert run.environment == {"SYNC_PIPELINE__LOGGING__FILE": str(tmp_path / "log.jsonl")}


def test_a_command_logs_where_the_settings_say(run: CommandLine, tmp_path: Path) -> None:
    logged = Logged(tmp_path / "log.jsonl")
    logging = LoggingSettings(file=logged.path)
    run.settings = run.settings.model_copy(update={"logging": logging})

    run("sync", "global")

    assert len(logged.events("step_ended")) == 6


def test_the_option_wins_over_the_settings(run: CommandLine, tmp_path: Path) -> None:
    named, other = Logged(tmp_path / "named.jsonl"), tmp_path / "other.jsonl"
    run.settings = run.settings.model_copy(update={"logging": LoggingSettings(file=other)})

    run("sync", "global", "--log-file", str(named.path))

    assert len(named.events("step_ended")) == 6
    assert not other.exists()


def test_a_command_that_fails_says_so_in_the_file(run: CommandLine, tmp_path: Path) -> None:
    logged = Logged(tmp_path / "log.jsonl")

    result = run("sync", "tenant", "acmee", "--log-file", str(logged.path))

    (failed,) = logged.events("command_failed")
    assert (result.exit_code, failed["level"]) == (2, "error")
    assert failed["error"]["code"] == "UnknownScopeError"


@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_log_that_cannot_be_written_is_refused_before_anything_is_done(
    run: CommandLine, tmp_path: Path, by: str
) -> None:
    path = tmp_path / "nowhere" / "log.jsonl"
    run.settings = run.settings.model_copy(update={"logging": LoggingSettings(file=path)})

    result = run("sync", "all", *(["--log-file", str(path)] if by == "option" else []))

    assert result.exit_code == 2
    assert f"the log cannot be written to {path}: No such file or directory." in result.stderr
    assert "SYNC_PIPELINE__LOGGING__FILE=null" in result.stderr
    assert run.documents() == set()


def test_a_second_signal_is_told_as_a_stop(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.orchestrator, "run_scopes", interrupted)
    logged = Logged(tmp_path / "log.jsonl")

    result = run("sync", "all", "--log-file", str(logged.path))

    assert result.exit_code == 1
    assert [line["level"] for line in logged.events("command_stopped")] == ["warning"]
    assert logged.events("command_failed") == []
