"""What the documents show works, and their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.database.embedded import stop_embedded_database

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY)
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
)
PROGRAM = ".venv/bin/sync-pipeline"
NEVER_ENDS = ("dev",)
"""Commands that run until they are stopped."""


def shown_commands(document: str) -> list[str]:
    """Lines of the shell blocks of a document, without comments."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path; the database that commands start there is stopped."""
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield path
    stop_embedded_database(path / ".sync-pipeline" / "postgres")
    shutil.rmtree(path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if "://" not in target and "@" not in target]

    missing = [target for target in local if not (REPOSITORY / document.parent / target).exists()]

    assert missing == []


@pytest.mark.process
def test_the_readmes_first_two_commands_are_targets_of_make() -> None:
    first_two = shown_commands("README.md")[:2]

    assert first_two == ["make demo", "make test"]
    for command in first_two:
        planned = subprocess.run(
            [*shlex.split(command), "--dry-run"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert planned.stdout


@pytest.mark.model
@pytest.mark.dagster
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_readme_shows_runs(folder: Path) -> None:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SYNC_PIPELINE", "DATABASE_URL", "QDRANT_URL", "DAGSTER_HOME"))
    }
    shown = [line for line in shown_commands("README.md") if line.startswith(PROGRAM)]
    offline = [line for line in shown if "doctor" not in line and "sync all" not in line]
    commands = ["demo", *(line.removeprefix(PROGRAM).strip() for line in offline)]

    ended = {
        command: subprocess.run(
            [sys.executable, "-m", "sync_pipeline", *shlex.split(command)],
            cwd=folder,
            env=inherited,
            capture_output=True,
            text=True,
            check=False,
        )
        for command in commands
        if not command.startswith(NEVER_ENDS)
    }

    assert list(ended) == ["demo", 'search "gypsum plaster 30 kg" --tenant acme', "status"]
    assert [done.returncode for done in ended.values()] == [0, 0, 0], ended
    assert "sync-pipeline dev" in ended["demo"].stdout
    assert "gypsum" in ended['search "gypsum plaster 30 kg" --tenant acme'].stdout.lower()
