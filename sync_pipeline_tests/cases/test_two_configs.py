"""Two teams index their own tables of one database into one installation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from sync_pipeline.__main__ import surroundings_here
from sync_pipeline.cli.main import app
from sync_pipeline.stores.edge.index import close_idle_indexes

TABLES = """
CREATE TABLE furniture (id int PRIMARY KEY, tenant_id text, is_global boolean, name text,
                        updated_at timestamptz DEFAULT now());
CREATE TABLE lighting (LIKE furniture INCLUDING ALL);
INSERT INTO furniture SELECT g, 'acme', false, 'chair model ' || g FROM generate_series(1, 15) g;
INSERT INTO lighting SELECT g, 'acme', false, 'lamp model ' || g FROM generate_series(1, 40) g;
"""
MORE_LAMPS = """
INSERT INTO lighting (id, tenant_id, is_global, name)
SELECT g, 'acme', false, 'lamp ' || g FROM generate_series(41, {last}) g
"""
ENTITY = "{{name: {name}, table: {table}, updated_at: updated_at, views: {{text: [name]}}}}"


def settings(*tables: str, **renamed: str) -> str:
    """A settings file: entities called like their tables, or like these tables otherwise."""
    named = {**{table: table for table in tables}, **renamed}
    entities = ", ".join(ENTITY.format(name=name, table=table) for name, table in named.items())
    return f"entities: [{entities}]\n"


@dataclass(slots=True)
class Shell:
    """The command line in this process, over a database and a home of its own."""

    engine: Engine
    folder: Path

    def __call__(self, config: str, *arguments: str) -> Result:
        """Run a command with a settings file of this content."""
        path = self.folder / "settings.yaml"
        path.write_text(config)
        surroundings = surroundings_here()
        return CliRunner().invoke(app, ["--config", str(path), *arguments], obj=surroundings)

    def answer(self, config: str, *arguments: str) -> dict[str, Any]:
        """Run a command that succeeds; its JSON."""
        result = self(config, *arguments, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def sql(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def totals(self, config: str, *arguments: str) -> dict[str, int]:
        """What a sync found to do and where the vectors came from; only what is not zero."""
        found = self.answer(config, "sync", "all", *arguments)["totals"]
        told = ("new", "changed", "payload_changed", "deleted", "failed", "quarantined", "repaired",
                "embedded_texts", "cache_hits")  # fmt: skip
        return {name: found[name] for name in told if found[name]}

    def points(self) -> dict[str, int]:
        """Points per entity."""
        found = self.answer(A, "entities")["entities"]
        return {one["entity_type"]: one["points"] for one in found}


A = settings("furniture")
B = settings("lighting")
BOTH = settings("furniture", "lighting")


@pytest.fixture
def shell(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    monkeypatch.setenv("DATABASE_URL", database_url.replace("+psycopg", ""))
    monkeypatch.setenv("SYNC_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNC_PIPELINE__EMBEDDING__PROVIDER", "hashing")
    monkeypatch.delenv("SYNC_PIPELINE_CONFIG", raising=False)
    shell = Shell(engine, tmp_path)
    shell.sql(*TABLES.strip().split(";\n"))
    yield shell
    close_idle_indexes()


def test_s65_one_team_deletes_nothing_of_the_other(shell: Shell) -> None:
    first = shell.totals(A)
    plan = shell.answer(B, "plan", "all")["scopes"]
    second = shell.totals(B)
    back = shell.totals(A, "--force")

    assert (first["new"], second["new"]) == (15, 40)
    assert {one["scope_key"]: one["deletes"] for one in plan} == {"global": 0, "acme": 0}
    assert "deleted" not in second | back
    assert back == {}
    assert shell.points() == {"furniture": 15, "lighting": 40}


def test_s65_each_team_sees_and_finds_its_own(shell: Shell) -> None:
    shell.totals(A)
    shell.totals(B)

    hits = shell.answer(A, "search", "lamp model 3", "--tenant", "acme", "--limit", "100")["hits"]
    status = shell.answer(A, "status")
    verified = shell.answer(B, "verify", "all")

    assert {hit["payload"]["type"] for hit in hits} == {"furniture"}
    acme = next(one for one in status["scopes"] if one["scope_key"] == "acme")
    assert (acme["points"], acme["coverage"], acme["surplus"]) == (15, 1.0, 0)
    assert (acme["pending"], acme["other_points"]) == (0, 40)
    assert status["left_entities"] == {"lighting": 40}
    assert [one["points"] for one in verified["scopes"]] == [0, 40]


def test_s65_both_teams_skip_what_has_not_changed(shell: Shell) -> None:
    shell.totals(A)
    shell.totals(B)

    again = [shell.answer(config, "sync", "all")["scopes"] for config in (A, B, BOTH)]

    assert [[one["status"] for one in scopes] for scopes in again] == [["skipped"] * 2] * 3


def test_s65_an_incremental_sync_of_one_does_not_move_the_watermark_of_the_other(
    shell: Shell,
) -> None:
    shell.totals(A)
    shell.totals(B)
    shell.sql("UPDATE lighting SET name = 'lantern', updated_at = now() WHERE id = 7")
    shell.totals(A, "--mode", "incremental")

    found = shell.totals(B, "--mode", "incremental")

    assert found == {"changed": 1, "embedded_texts": 1}


def test_s65_an_entity_commented_out_is_named_and_kept_and_comes_back_for_nothing(
    shell: Shell,
) -> None:
    shell.totals(BOTH)

    without = shell(A, "sync", "all", "--force")
    said = [shell(A, "status").stdout, shell(A, "doctor").stdout]
    returned = shell.totals(BOTH, "--force")

    line = (
        "40 documents of entity lighting, which the settings do not name: kept; "
        "`sync-pipeline entities remove lighting` removes them."
    )
    assert without.exit_code == 0
    assert line in without.stdout
    assert line in said[0]
    assert "40 of lighting" in " ".join(said[1].split())
    assert returned == {}


def test_s65_a_renamed_entity_embeds_nothing_and_leaves_the_old_name_to_be_removed(
    shell: Shell,
) -> None:
    shell.totals(BOTH)
    renamed = settings("furniture", lamp="lighting")

    found = shell.totals(renamed)
    asked = shell(renamed, "entities", "remove", "lighting", "--json")
    removed = shell.answer(renamed, "entities", "remove", "lighting", "--yes")

    assert found == {"new": 40, "cache_hits": 40}
    assert asked.exit_code == 2
    assert json.loads(asked.stdout)["would_remove"]["points"] == 40
    assert (removed["ok"], removed["points"], removed["records"], removed["left"]) == (
        True, 40, 40, 0,
    )  # fmt: skip
    assert shell.answer(renamed, "verify", "all")["ok"]
    listed = shell.answer(renamed, "entities")["entities"]
    assert [(one["entity_type"], one["points"], one["in_settings"]) for one in listed] == [
        ("furniture", 15, True),
        ("lamp", 40, True),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("furniture", "the settings name entity 'furniture'", id="in the settings"),
        pytest.param("chairs", "nothing is left of an entity 'chairs'", id="unknown"),
    ],
)
def test_s65_an_entity_that_did_not_leave_is_not_removed(
    shell: Shell, name: str, message: str
) -> None:
    shell.totals(A)

    refused = shell(A, "entities", "remove", name, "--yes")

    assert refused.exit_code == 2
    assert message in " ".join(refused.output.split())
    assert shell.points() == {"furniture": 15}


def test_s72_an_entity_without_rows_is_not_emptied_whatever_its_share(shell: Shell) -> None:
    shell.totals(BOTH)
    shell.sql("DELETE FROM furniture", MORE_LAMPS.format(last=1000))
    plan = shell.answer(BOTH, "plan", "tenant", "acme")["scopes"][0]

    refused = shell(BOTH, "sync", "tenant", "acme", "--mode", "incremental")
    approved = shell.answer(BOTH, "sync", "tenant", "acme", "--approve-deletions", "15")

    assert refused.exit_code == 1
    message = "among them 15 of 15 of entity 'furniture': the policy allows 14 of them"
    assert message in refused.stdout
    assert message in plan["blocked_by"]
    assert approved["totals"]["deleted"] == 15
    assert shell.points() == {"furniture": 0, "lighting": 1000}


def test_s65_surplus_is_not_full_coverage(shell: Shell) -> None:
    shell.totals(BOTH)
    shell.sql("DELETE FROM furniture WHERE id <= 5", MORE_LAMPS.format(last=45))

    answer = shell.answer(BOTH, "status")
    said = shell(BOTH, "status").stdout
    verified = json.loads(shell(BOTH, "verify", "tenant", "acme", "--json").stdout)["scopes"][0]

    acme = next(one for one in answer["scopes"] if one["scope_key"] == "acme")
    assert (acme["source_rows"], acme["points"], acme["surplus"], acme["pending"]) == (55, 55, 5, 5)
    assert acme["coverage"] == pytest.approx(50 / 60, abs=1e-4)
    assert [(one["entity_type"], one["surplus"]) for one in acme["entities"]] == [
        ("furniture", 5),
        ("lighting", 0),
    ]
    assert "83.3% +5" in said
    assert "5 documents of entity furniture more than rows (acme)" in " ".join(said.split())
    assert (verified["extra"], verified["missing"]) == (5, 5)


def test_s65_removing_a_tenant_removes_what_both_teams_have_of_it(shell: Shell) -> None:
    shell.totals(A)
    shell.totals(B)
    shell.sql("DELETE FROM furniture", "DELETE FROM lighting")

    told = shell(A, "tenants", "remove", "acme")
    removed = shell.answer(A, "tenants", "remove", "acme", "--yes")

    assert "40 points of entities that the settings do not name" in " ".join(told.output.split())
    assert (removed["points"], removed["records"]) == (55, 55)
