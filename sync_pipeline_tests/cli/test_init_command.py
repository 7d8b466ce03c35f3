"""``init`` on the command line: where it writes, what it shows, what it asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from sync_pipeline.__main__ import surroundings_here
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.main import app
from sync_pipeline.database.urls import driver_url

HOSTILE = "bolt \x1b]0;owned\x07\x1b[31m red\u202e"


@dataclass(slots=True)
class Shell:
    """The program in an empty folder, with a database of somebody's."""

    url: str
    folder: Path

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["init", *words], obj=surroundings_here())

    def written(self, name: str = "sync_pipeline.yaml") -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture
def shell(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    for name in ("SYNC_PIPELINE_CONFIG", "SYNC_PIPELINE_ENV", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNC_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)")
        )
        connection.execute(
            text("INSERT INTO items VALUES (1, 'acme', :name), (2, 'acme', 'steel nut')"),
            {"name": HOSTILE},
        )
    url = driver_url(database_url, "libpq")
    monkeypatch.setenv("DATABASE_URL", url)
    return Shell(url, tmp_path)


def test_it_writes_the_file_that_commands_read_and_says_what_comes_next(shell: Shell) -> None:
    done = shell()

    assert done.exit_code == 0, done.output
    assert yaml.safe_load(shell.written())["entities"][0]["name"] == "item"
    assert "Written: sync_pipeline.yaml. Look at it, then:\n  sync-pipeline doctor\n" in done.stdout
    assert "source:" not in shell.written()


def test_it_writes_where_it_is_told_and_the_next_steps_name_that(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(shell.folder / "named.yaml"))

    named = shell()
    other = shell("--output", "other.yaml")

    assert "  sync-pipeline doctor\n" in named.stdout
    assert "  sync-pipeline --config other.yaml doctor\n" in other.stdout
    assert shell.written("named.yaml") == shell.written("other.yaml")


def test_a_file_that_is_there_is_kept_unless_force_is_said(shell: Shell) -> None:
    (shell.folder / "sync_pipeline.yaml").write_text("index: {alias: mine}\n")

    refused = shell()
    kept = shell.written()
    forced = shell("--force")

    assert (refused.exit_code, kept) == (2, "index: {alias: mine}\n")
    assert "Say --force to replace it, or --output FILE" in refused.stderr
    assert forced.exit_code == 0
    assert "entities:" in shell.written()


def test_programs_get_one_object(shell: Shell) -> None:
    answer = json.loads(shell("--json").stdout)

    assert (answer["ok"], answer["file"]) == (True, "sync_pipeline.yaml")
    assert answer["entities"][0]["views"] == {"text": ["name"]}
    assert answer["entities"][0]["reasons"]["id"] == "the primary key"
    assert {it["document_id"] for it in answer["documents"]} == {
        "tenant-item-1",
        "tenant-item-2",
    }
    assert answer["next_steps"][0] == "sync-pipeline doctor"


def test_texts_that_a_terminal_would_obey_are_shown_and_not_obeyed(shell: Shell) -> None:
    done = shell()

    assert "bolt" in done.stdout
    assert not set(done.stdout) & {"\x1b", "\x07", "\u202e"}


def test_an_address_without_a_password_is_in_the_file_and_one_with_it_is_not(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with_password = shell.url.replace("postgres@", "postgres:s3cret@")

    done = shell("--database", with_password)

    assert done.exit_code == 0, done.output
    assert "s3cret" not in shell.written() + done.output
    assert "set DATABASE_URL" in done.stdout


def test_an_address_that_is_none_is_refused_without_showing_it(shell: Shell) -> None:
    refused = shell("--database", "mysql://me:s3cret@db/shop")

    assert refused.exit_code == 2
    assert "source.url: is not a PostgreSQL URL" in refused.stderr
    assert "s3cret" not in refused.output


@pytest.mark.parametrize(("typed", "is_written"), [("", True), ("y", True), ("n", False)])
def test_on_a_terminal_it_asks_for_the_database_and_before_it_writes(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, typed: str, *, is_written: bool
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setattr(Invocation, "can_ask", True)
    answers = {"Address": shell.url, "Write": typed}
    monkeypatch.setattr(
        Console, "input", lambda _console, prompt: answers[str(prompt).partition(" ")[0]]
    )

    done = shell()

    assert done.exit_code == 0, done.output
    assert "steel nut" in done.stdout
    assert (shell.folder / "sync_pipeline.yaml").exists() == is_written
    assert ("Nothing was written." in done.stdout) != is_written
