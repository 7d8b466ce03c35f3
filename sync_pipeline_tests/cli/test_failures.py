from __future__ import annotations

import json
from collections.abc import Callable
from typing import NoReturn

import pytest
import typer
from typer.testing import CliRunner

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation, Surroundings
from sync_pipeline.cli.main import Program, program
from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    PermanentError,
    SettingsError,
    StoppedError,
    SyncPipelineError,
    TransientError,
)

RUNNER = CliRunner()


def nobody() -> NoReturn:
    raise AssertionError("these commands neither sync nor serve")


NOWHERE = Surroundings(orchestrator=nobody, service=nobody, assistant=nobody, tokens=nobody)


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=Program, pretty_exceptions_enable=False)
    app.callback()(program)

    @command(app, "work")
    def work(invocation: Invocation, *, times: int = 1) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(ConfigurationError("set it right"), 2, id="configuration"),
        pytest.param(SettingsError(origin="x.yaml", mistakes=["a: b"]), 2, id="settings"),
        pytest.param(TransientError("try later"), 1, id="transient"),
        pytest.param(PermanentError("it stays so"), 1, id="permanent"),
        pytest.param(StoppedError("stopped in scope 'acme'"), 1, id="stopped"),
    ],
)
def test_an_error_of_ours_is_its_message_once_and_an_exit_code(
    error: SyncPipelineError, code: int
) -> None:
    result = RUNNER.invoke(app_that_raises(error), ["work"], obj=NOWHERE)

    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"error: {error}\n"


def test_with_json_an_error_is_an_object_too() -> None:
    app = app_that_raises(TransientError("try later"))

    result = RUNNER.invoke(app, ["work", "--json"], obj=NOWHERE)

    assert json.loads(result.stdout) == {
        "ok": False,
        "error": {"type": "TransientError", "message": "try later"},
    }
    assert result.stderr == "error: try later\n"
    assert result.exit_code == 1


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more() -> None:
    app = app_that_raises(LookupError("two\nlines"))

    result = RUNNER.invoke(app, ["work"], obj=NOWHERE)

    assert result.exit_code == 1
    assert result.stderr == (
        "error: LookupError: two lines (this is a bug, run again with --debug for the traceback)\n"
    )


@pytest.mark.parametrize(
    "arguments", [["work", "--debug"], ["--debug", "work"]], ids=["after", "before the command"]
)
def test_debug_shows_the_traceback(arguments: list[str]) -> None:
    result = RUNNER.invoke(app_that_raises(LookupError("gone")), arguments, obj=NOWHERE)

    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("error: LookupError: gone (this is a bug)\n")
    assert result.exit_code == 1


def test_debug_shows_where_an_error_of_ours_came_from() -> None:
    result = RUNNER.invoke(app_that_raises(PermanentError("no")), ["work", "--debug"], obj=NOWHERE)

    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("error: no\n")


def test_a_second_signal_ends_with_exit_code_1() -> None:
    result = RUNNER.invoke(app_that_raises(KeyboardInterrupt()), ["work"], obj=NOWHERE)

    assert result.stderr == "error: stopped at once; run the same command again\n"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["work", "--nonsense"], id="unknown option"),
        pytest.param(["work", "--times", "many"], id="not a number"),
        pytest.param(["work", "more"], id="too many words"),
        pytest.param(["play"], id="unknown command"),
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_wrong_usage_is_exit_code_2_and_an_object_where_asked_for(
    arguments: list[str], place: str
) -> None:
    app = app_that_raises(AssertionError("never reached"))
    arguments = ["--json", *arguments] if place == "before" else [*arguments, "--json"]

    result = RUNNER.invoke(app, arguments, obj=NOWHERE)

    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert answer["error"]["message"]
    assert "Usage:" in result.stderr


def test_wrong_usage_without_json_prints_nothing_to_standard_output() -> None:
    result = RUNNER.invoke(app_that_raises(AssertionError()), ["work", "--nope"], obj=NOWHERE)

    assert result.stdout == ""
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "make", [lambda: OSError(28, "no space left"), lambda: ValueError("odd")], ids=["os", "value"]
)
def test_no_error_prints_a_traceback_unasked(make: Callable[[], Exception]) -> None:
    result = RUNNER.invoke(app_that_raises(make()), ["work"], obj=NOWHERE)

    assert "Traceback" not in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("words", [["work"], ["work", "--debug"], ["work", "--json"]])
def test_a_password_in_an_error_is_masked(words: list[str]) -> None:
    error = RuntimeError("cannot reach postgresql://app:hunter2@db/shop")

    result = RUNNER.invoke(app_that_raises(error), words, obj=NOWHERE)

    assert result.exit_code == 1
    assert "hunter2" not in result.output
    assert "postgresql://app:***@db/shop" in result.output


def test_json_has_what_can_be_done_as_a_value() -> None:
    error = CollectionMissingError(collection="documents_1", store="the index")

    result = RUNNER.invoke(app_that_raises(error), ["--json", "work"], obj=NOWHERE)

    assert json.loads(result.stdout)["error"] == {
        "type": "CollectionMissingError",
        "message": str(error),
        "remedy": [
            {"action": "sync", "arguments": {"scopes": ["all"], "mode": "full", "force": False}}
        ],
    }
