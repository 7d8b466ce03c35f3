"""What stands in the deployment files: their documents, commands and variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sync_pipeline.settings.keys import WELL_KNOWN, paths, variable
from sync_pipeline_tests.conftest import REPOSITORY

DEPLOY: Final = REPOSITORY / "deploy"
COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
CONTAINERFILE: Final = DEPLOY / "container" / "Containerfile"
VALUES: Final = DEPLOY / "kubernetes" / "dagster-values.yaml"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes" / "manifests").glob("*.yaml"))
UNITS: Final = sorted(
    path for path in (DEPLOY / "systemd").iterdir() if path.suffix in {".service", ".target"}
)
CRON: Final = DEPLOY / "cron" / "sync-pipeline"
PLATFORM: Final = DEPLOY / "platform" / "render.yaml"
OURS: Final = re.compile(r"\bSYNC_PIPELINE_[A-Z0-9_]+\b")
PROGRAM: Final = "sync-pipeline"

OF_COMPOSE: Final = frozenset({"SYNC_PIPELINE_IMAGE"})
"""Variables that only compose.yaml reads."""


def known_variables() -> set[str]:
    """Names of all variables that the settings read."""
    return {*WELL_KNOWN, "SYNC_PIPELINE_CONFIG", *(variable(path) for path in paths())}


def all_files() -> list[Path]:
    """Every deployment file of ours."""
    return sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def commands(path: Path) -> Iterator[list[str]]:
    """Every command line of ours in a file, as words after the program's name."""
    for words in _all_commands(path):
        if PROGRAM in words:
            yield words[words.index(PROGRAM) + 1 :]


def _all_commands(path: Path) -> Iterator[list[str]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".yaml", ".yml"}:
        for document in documents(path):
            yield from _commands_in(document)
    elif path.suffix == ".service":
        for line in re.findall(r"^ExecStart=(.*)$", text, flags=re.MULTILINE):
            program, *words = shlex.split(line)
            yield [Path(program).name, *words]
    elif path == CRON:
        for line in schedule_lines(text):
            yield shlex.split(line.split(None, 6)[6].split(">")[0])


def schedule_lines(text: str) -> list[str]:
    """Lines of a crontab that start something."""
    return [line for line in text.splitlines() if re.match(r"[\d*]", line)]


def _commands_in(value: object) -> Iterator[list[str]]:
    """Command lines anywhere in a document: ``command``, ``test``, ``args``, ``dockerCommand``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "dockerCommand":
                yield shlex.split(inner)
            elif key in {"command", "test", "args"} and isinstance(inner, list):
                yield [str(word) for word in inner]
            else:
                yield from _commands_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _commands_in(inner)
