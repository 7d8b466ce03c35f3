"""Every command and every variable in the deployment files is one that there is."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml

from sync_pipeline.cli.main import app
from sync_pipeline.operations.ports import DagsterProgram
from sync_pipeline.settings import load_settings
from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.deploy.files import (
    COMPOSE,
    DEPLOY,
    OF_COMPOSE,
    OURS,
    all_files,
    commands,
    documents,
    known_variables,
)

WITH_COMMANDS = [path for path in all_files() if any(commands(path))]
OF_OTHER_TOOLS = {".json", ".yml"}
"""The dashboard and the alert rules."""


def named(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def test_commands_are_found_in_every_kind_of_file() -> None:
    found = {path.parent.name for path in WITH_COMMANDS}

    assert found == {"compose", "manifests", "systemd", "cron", "platform"}
    assert sum(len(list(commands(path))) for path in WITH_COMMANDS) >= 20


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=named)
def test_every_command_is_one_that_the_program_has(path: Path) -> None:
    program = typer.main.get_command(app)
    top = typer.Context(program, info_name="sync-pipeline")

    for words in commands(path):
        command, rest, context = program, words, top
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, (path, words)
            command = command.commands[rest[0]]
            context = typer.Context(command, info_name=rest[0], parent=context)
            rest = rest[1:]
        # Raises where an option or an argument is none of its own.
        command.make_context(words[0], list(rest), parent=context.parent)


def test_every_program_of_dagster_in_them_is_one_that_there_is() -> None:
    names = {
        next(word for word in words[1:] if not word.startswith("-"))
        for path in WITH_COMMANDS
        for words in commands(path)
        if words[0] == "dagster"
    }

    assert names == {program.value for program in DagsterProgram}


@pytest.mark.parametrize("path", all_files(), ids=named)
def test_every_variable_of_ours_is_one_that_the_settings_read(path: Path) -> None:
    used = set(OURS.findall(path.read_text(encoding="utf-8")))

    assert used - known_variables() - OF_COMPOSE == set()


@pytest.mark.parametrize(
    "path", [path for path in all_files() if path.suffix not in OF_OTHER_TOOLS], ids=named
)
def test_every_file_begins_with_what_it_is_for(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]

    assert first.startswith("# ")
    assert len(first) > len("# short")


def settings_in_files() -> list[tuple[str, str]]:
    """The settings files that are shipped, by name."""
    (own,) = (
        found["data"]["sync_pipeline.yaml"]
        for found in documents(DEPLOY / "kubernetes/manifests/settings.yaml")
        if "sync_pipeline.yaml" in found["data"]
    )
    return [
        ("compose", (COMPOSE.parent / "sync_pipeline.yaml").read_text(encoding="utf-8")),
        ("kubernetes", own),
    ]


@pytest.mark.parametrize(("name", "text"), settings_in_files(), ids=["compose", "kubernetes"])
def test_the_settings_files_that_are_shipped_load(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")

    settings = load_settings(config=file, env={"DATABASE_URL": "postgresql://u:p@db.example/c"})

    assert [entity.name for entity in settings.entities] == ["material", "work"]


def test_the_code_location_is_called_as_dev_calls_it() -> None:
    """Else switches of schedules and sensors would be others than before."""
    for path in DEPLOY.rglob("workspace.yaml"):
        (entry,) = documents(path)[0]["load_from"]
        assert entry["grpc_server"]["location_name"] == "sync_pipeline.definitions", path
    local = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text(encoding="utf-8"))
    assert local["load_from"][0]["python_module"]["module_name"] == "sync_pipeline.definitions"
