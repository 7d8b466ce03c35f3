"""Commands are imported when they are asked for, and none is forgotten."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from ast import literal_eval
from importlib import import_module

import pytest
import typer

import sync_pipeline.cli
from sync_pipeline.cli.commands import COMMANDS, GROUPS, Commands
from sync_pipeline.cli.main import app


def modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(sync_pipeline.cli.__path__)]


def test_every_command_of_every_module_is_named() -> None:
    found: dict[str, str] = {}
    for name in modules():
        of_module = getattr(import_module(f"sync_pipeline.cli.{name}"), "app", None)
        if name != "main" and isinstance(of_module, typer.Typer):
            found |= dict.fromkeys(typer.main.get_group(of_module).commands, name)

    assert found == COMMANDS


def test_every_group_of_every_module_is_named() -> None:
    found = {
        attribute.removesuffix("_app"): name
        for name in modules()
        for attribute, value in vars(import_module(f"sync_pipeline.cli.{name}")).items()
        if attribute.endswith("_app") and isinstance(value, typer.Typer)
    }

    assert found == GROUPS


def test_all_are_there_each_under_its_name() -> None:
    program = typer.main.get_command(app)
    assert isinstance(program, typer.core.TyperGroup)

    assert list(program.commands) == [*COMMANDS, *GROUPS]
    assert len(Commands()) == len(set(program.commands))
    for name, command in program.commands.items():
        assert command.name == name
        assert isinstance(command, typer.core.TyperGroup) == (name in GROUPS)


def test_there_is_no_other() -> None:
    assert "synk" not in Commands()
    assert Commands().get("synk") is None


@pytest.mark.process
def test_a_command_imports_its_own_module_and_no_other() -> None:
    asks = (
        "import sys; from sync_pipeline.cli.main import app\n"
        "try: app(['cost', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('sync_pipeline.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", asks], check=True, capture_output=True, text=True)

    loaded = {
        name.removeprefix("sync_pipeline.cli.")
        for name in literal_eval(done.stdout.splitlines()[-1])
    }
    assert loaded & {*COMMANDS.values(), *GROUPS.values()} == {"cost"}
