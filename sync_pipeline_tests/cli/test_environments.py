"""Environments on the command line: which one it is, and deleting in a protected one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sync_pipeline.__main__ import surroundings_here
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.main import app
from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.settings import Settings
from sync_pipeline_tests.cli.installed import CommandLine

DEV = NamedEnvironment(name="dev")
PROD = NamedEnvironment(name="prod", is_protected=True)

DELETING = [
    pytest.param(["tenants", "remove", "globex", "--yes", "--even-with-rows"], id="tenant"),
    pytest.param(["entities", "remove", "tool", "--yes"], id="entity"),
    pytest.param(["index", "drop", "documents-old", "--yes"], id="generation"),
    pytest.param(["index", "rebuild", "--yes"], id="collection"),
    pytest.param(["cache", "prune", "--older-than", "0"], id="cache"),
    pytest.param(["feed", "remove"], id="feed"),
    pytest.param(["sync", "tenant", "globex", "--max-deleted-fraction", "1"], id="higher limit"),
    pytest.param(["sync", "tenant", "globex", "--approve-deletions", "3"], id="approval"),
    pytest.param(["verify", "all", "--repair", "--max-deleted-fraction", "1"], id="repair"),
    pytest.param(["sample", "load", "builtin"], id="sample rows"),
    pytest.param(["demo", "--yes"], id="demo"),
]


@pytest.fixture
def synced(run: CommandLine) -> CommandLine:
    """Everything in step, and then the settings are those of ``prod``."""
    assert run("sync", "all").exit_code == 0
    run.settings = Settings().located(PROD)
    return run


def test_people_are_told_the_environment_and_programs_find_it_in_the_answer(
    synced: CommandLine,
) -> None:
    told = synced("status")
    answer = json.loads(synced("status", "--json").stdout)

    assert told.stderr.splitlines()[0] == "environment prod (protected)"
    assert "environment" not in told.stdout
    assert answer["environment"] == "prod"


def test_without_an_environment_nothing_is_said_of_one(run: CommandLine) -> None:
    told = run("status")
    answer = json.loads(run("status", "--json").stdout)

    assert "environment" not in told.output
    assert "environment" not in answer


@pytest.mark.parametrize("words", [["--env", "dev", "status"], ["status", "--env", "dev"]])
def test_the_option_may_stand_before_or_after_the_command(
    run: CommandLine, words: list[str]
) -> None:
    assert run(*words).stderr.splitlines()[0] == "environment dev"


def test_commands_that_are_shown_are_about_the_same_environment(synced: CommandLine) -> None:
    words = ["tenants", "remove", "globex"]

    told = synced(*words, "--env", "dev")
    answer = json.loads(synced(*words, "--env", "dev", "--json").stdout)
    without = synced(*words)

    assert "`sync-pipeline --env dev tenants remove globex --yes`" in told.stdout
    assert answer["next_step"] == "sync-pipeline --env dev tenants remove globex --yes"
    # Chosen by the variable, it is chosen for the next command too.
    assert "`sync-pipeline tenants remove globex --yes`" in without.stdout


@pytest.mark.parametrize("words", DELETING)
def test_deleting_in_a_protected_environment_takes_its_name(
    synced: CommandLine, words: list[str]
) -> None:
    before = synced.documents()

    refused = synced(*words)
    answer = json.loads(synced(*words, "--json").stdout)

    command = f"`sync-pipeline --env prod {' '.join(words)} --confirm-env prod`"
    assert refused.exit_code == 2
    assert "in the environment prod (protected) takes its name; nothing was changed" in (
        refused.stderr
    )
    assert command in refused.stderr
    assert (answer["error"]["type"], answer["environment"]) == ("EnvironmentNotNamedError", "prod")
    assert synced.documents() == before


@pytest.mark.parametrize(
    ("words", "command"),
    [
        pytest.param(
            ["--config", "a b.yaml", "tenants", "remove", "globex", "--yes"],
            "sync-pipeline --config 'a b.yaml' --env prod tenants remove globex --yes "
            "--confirm-env prod",
            id="a settings file",
        ),
        pytest.param(
            ["tenants", "remove", "--yes", "--confirm-env", "dev", "--", "globex"],
            "sync-pipeline --env prod tenants remove --yes --confirm-env prod -- globex",
            id="another name, and words that are no options",
        ),
    ],
)
def test_the_command_that_is_shown_is_the_whole_command(
    synced: CommandLine, words: list[str], command: str
) -> None:
    assert f"`{command}`" in synced(*words).stderr


def test_the_end_of_the_input_is_no_name(
    synced: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Invocation, "can_ask", True)

    refused = synced("feed", "remove")

    assert refused.exit_code == 2
    assert "nothing was changed" in refused.stderr


def test_with_its_name_it_is_done(synced: CommandLine) -> None:
    words = ["tenants", "remove", "globex", "--yes", "--even-with-rows"]

    done = synced(*words, "--confirm-env", "prod")

    assert done.exit_code == 0, done.output
    assert not {it for it in synced.documents() if it.startswith("tenant-material-g")}


@pytest.mark.parametrize("environment", [None, DEV, PROD], ids=["none", "dev", "prod"])
def test_another_name_is_refused_everywhere(
    synced: CommandLine, environment: NamedEnvironment | None
) -> None:
    synced.settings = Settings().located(environment)
    before = synced.documents()

    refused = synced(
        "tenants", "remove", "globex", "--yes", "--even-with-rows", "--confirm-env", "staging"
    )

    assert refused.exit_code == 2
    assert "is not confirmed by the name 'staging'; nothing was changed" in refused.stderr
    assert synced.documents() == before


def test_an_environment_that_is_not_protected_asks_nothing(synced: CommandLine) -> None:
    synced.settings = Settings().located(DEV)

    done = synced("tenants", "remove", "globex", "--yes", "--even-with-rows")

    assert done.exit_code == 0, done.output


def test_what_deletes_within_the_limit_or_only_looks_asks_nothing(synced: CommandLine) -> None:
    codes = [
        synced("sync", "all").exit_code,
        synced("sync", "all", "--max-deleted-fraction", "0.05").exit_code,
        synced("cache", "prune", "--dry-run").exit_code,
        synced("tenants").exit_code,
    ]

    assert codes == [0, 0, 0, 0]


@pytest.mark.parametrize(("typed", "code"), [("prod", 0), ("production", 2), ("", 2)])
def test_on_a_terminal_the_name_is_asked_for(
    synced: CommandLine, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    monkeypatch.setattr(Invocation, "can_ask", True)
    asked: list[str] = []

    def answer(_console: Console, prompt: str) -> str:
        asked.append(prompt)
        return f"{typed}\n"

    monkeypatch.setattr(Console, "input", answer)

    done = synced("tenants", "remove", "globex", "--yes", "--even-with-rows")

    assert (done.exit_code, asked) == (code, ["Its name, to go on: "])
    assert "Removing tenant globex in the environment prod (protected)." in done.stderr


def test_processes_that_dev_starts_find_the_environment(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_ENV", "inherited")

    run("dev", "--env", "staging")

    assert os.environ["SYNC_PIPELINE_ENV"] == "staging"


def test_an_unknown_environment_is_refused_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNC_PIPELINE_ENV", raising=False)
    config = tmp_path / "settings.yaml"
    config.write_text("environments: {dev: {}, prod: {protected: true}}")

    refused = CliRunner().invoke(
        app, ["--config", str(config), "--env", "prd", "status"], obj=surroundings_here()
    )

    assert refused.exit_code == 2
    assert "there is no environment 'prd'; fix: choose from dev, prod" in refused.stderr
