"""What the documents show works, and their links lead somewhere."""

from __future__ import annotations

import json
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

from sync_pipeline.core.labelled import read_labelled
from sync_pipeline.database.embedded import stop_embedded_database
from sync_pipeline.sample.queries import QUERIES

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY)
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
)
PROGRAM = ".venv/bin/sync-pipeline"
FILES_NAMED_IN = ("docs/how-it-works.md", "docs/extending.md", "CONTRIBUTING.md")
NAMED_FILE = re.compile(r"`(\w[\w.*-]*/[\w./*-]*)`(?: \(`(\w+)`)?")
"""A path, and what is said to be in it: ```core/document.py` (`keepable`)``."""
PLACEHOLDER = "NAME"
ROOTS = ("", "sync_pipeline", "sync_pipeline_tests")
LONGEST_ANSWER = 12
"""Lines of a section of the page on extending: what can be read before one begins."""
NEVER_ENDS = ("dev", "serve")
"""Commands that run until they are stopped."""


def shown_commands(document: str) -> list[str]:
    """Lines of the shell blocks of a document, without comments."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def bare_environment() -> dict[str, str]:
    """That of this process, without settings."""
    ours = ("SYNC_PIPELINE", "DATABASE_URL", "QDRANT_URL", "DAGSTER_HOME")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


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


def named_files(text: str) -> list[tuple[str, str]]:
    """Paths that a page names, without placeholders, each with the name said to be in it."""
    return [(path, name) for path, name in NAMED_FILE.findall(text) if PLACEHOLDER not in path]


@pytest.mark.parametrize("document", FILES_NAMED_IN)
def test_every_file_that_a_page_names_is_there_with_what_is_said_to_be_in_it(document: str) -> None:
    named = named_files((REPOSITORY / document).read_text(encoding="utf-8"))

    missing = [
        (path, name)
        for path, name in named
        if not any(
            not name or re.search(rf"\b{name}\b", found.read_text(encoding="utf-8"))
            for root in ROOTS
            for found in (REPOSITORY / root).glob(path)
        )
    ]

    assert missing == []
    assert named


def test_a_page_that_names_a_file_or_a_name_that_is_gone_is_found_out() -> None:
    text = "see `core/nothing.py`, `stores/NAME/store.py` and `core/diff.py` (`diff_documents`)"

    named = named_files(text)

    assert named == [("core/nothing.py", ""), ("core/diff.py", "diff_documents")]


def test_each_answer_on_extending_is_short() -> None:
    text = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")

    answers = [section.strip().splitlines()[2:] for section in text.split("\n## ")[1:]]

    assert len(answers) == 10
    assert max(map(len, answers)) <= LONGEST_ANSWER


def test_every_decision_is_in_the_index() -> None:
    folder = REPOSITORY / "docs/decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")

    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)

    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


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
    shown = [line for line in shown_commands("README.md") if line.startswith(PROGRAM)]
    offline = [line for line in shown if "doctor" not in line and "sync all" not in line]
    commands = ["demo", *(line.removeprefix(PROGRAM).strip() for line in offline)]

    ended = {
        command: subprocess.run(
            [sys.executable, "-m", "sync_pipeline", *shlex.split(command)],
            cwd=folder,
            env=bare_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        for command in commands
        if not command.startswith(NEVER_ENDS)
    }

    assert list(ended) == [
        "demo", 'search "gypsum plaster 30 kg" --tenant acme', "status", "init",
    ]  # fmt: skip
    assert [done.returncode for done in ended.values()] == [0, 0, 0, 0], ended
    assert "sync-pipeline dev" in ended["demo"].stdout
    assert "gypsum" in ended['search "gypsum plaster 30 kg" --tenant acme'].stdout.lower()


def test_the_line_that_the_page_on_search_quality_shows_can_be_read() -> None:
    text = (REPOSITORY / "docs/search-quality.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)

    queries, mistakes = read_labelled([line.encode()])

    assert mistakes == {}
    assert queries[1].tags == ("units",)
    assert f"{len(QUERIES.read_bytes().splitlines())} queries" in text


@pytest.mark.model
@pytest.mark.dagster
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_page_on_search_quality_shows_runs_and_holds(folder: Path) -> None:
    shown = shown_commands("docs/search-quality.md")
    commands = [line.split()[1:] for line in shown if line.startswith("sync-pipeline")][:3]

    ended = [
        subprocess.run(
            [sys.executable, "-m", "sync_pipeline", *command, "--json"],
            cwd=folder,
            env=bare_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        for command in commands
    ]

    assert commands == [["sample", "load", "builtin"], ["sync", "all"], ["evaluate", "builtin"]]
    assert [done.returncode for done in ended] == [0, 0, 0], ended
    answer = json.loads(ended[2].stdout)
    assert answer["labels"]["evaluated"] == answer["labels"]["queries"]
    (system,) = answer["systems"]
    for language in ("en", "ru"):
        *parts, hybrid = (
            ranking["by_tag"][language]["ndcg_at_10"]["mean"] for ranking in system["rankings"]
        )
        assert hybrid >= max(parts), language
