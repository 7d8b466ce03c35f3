from __future__ import annotations

import json

import pytest

from sync_pipeline.core.hashing import point_id
from sync_pipeline_tests.cli.installed import CommandLine, row
from sync_pipeline_tests.fakes.row_source import FakeSnapshot

FIELDS = {
    "scope_key", "source_documents", "state_documents", "points", "missing", "extra", "wrong_scope",
    "mismatched", "examples",
}  # fmt: skip


def lose(run: CommandLine, document_id: str, *, scope_key: str) -> None:
    run.store.delete(run.sync.spec.collection, [point_id(document_id)], scope_key=scope_key)


def test_after_a_sync_everything_agrees(synced: CommandLine) -> None:
    result = synced("verify", "all", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(answer) == {"ok", "scopes"}
    assert answer["ok"] is True
    assert [set(scope) for scope in answer["scopes"]] == [FIELDS] * 3
    assert answer["scopes"][1] == {
        "scope_key": "globex",
        "source_documents": 2,
        "state_documents": 2,
        "points": 2,
        "missing": 0,
        "extra": 0,
        "wrong_scope": 0,
        "mismatched": 0,
        "examples": {},
    }


def test_a_difference_is_counted_named_and_ends_with_1(synced: CommandLine) -> None:
    lose(synced, "tenant-material-b1", scope_key="globex")
    synced.source.tables["works"].append(row("a3", "new roof", tenant="acme"))

    result = synced("verify", "all", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["ok"] is False
    found = {scope["scope_key"]: scope for scope in answer["scopes"]}
    assert found["globex"]["examples"] == {"missing": ["tenant-material-b1"]}
    assert (found["acme"]["missing"], found["global"]["missing"]) == (1, 0)


def test_people_see_which_documents_differ(synced: CommandLine) -> None:
    lose(synced, "tenant-material-b1", scope_key="globex")

    result = synced("verify", "tenant", "globex")

    assert result.exit_code == 1
    assert "globex: missing: tenant-material-b1" in result.stdout
    assert "They differ. `--repair` syncs the scopes concerned." in result.stdout


def test_repair_syncs_what_differs_and_compares_again(synced: CommandLine) -> None:
    lose(synced, "tenant-material-b1", scope_key="globex")

    result = synced("verify", "all", "--repair", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer["ok"] is True
    assert [scope["missing"] for scope in answer["scopes"]] == [0, 0, 0]
    assert [(one["scope_key"], one["new"]) for one in answer["repaired"]] == [("globex", 1)]
    assert "tenant-material-b1" in synced.documents()


def test_repair_that_is_refused_ends_with_1_and_says_why(synced: CommandLine) -> None:
    synced.source.tables["works"] = synced.source.tables["works"][:1]
    synced.source.tables["materials"] = [
        found for found in synced.source.tables["materials"] if found["tenant_id"] != "acme"
    ]

    result = synced("verify", "all", "--repair")

    assert result.exit_code == 1
    assert "acme: repair: refused to delete 2 of 2 points" in result.stdout


def test_nothing_is_written_without_repair(synced: CommandLine) -> None:
    lose(synced, "tenant-material-b1", scope_key="globex")

    synced("verify", "all")

    assert "tenant-material-b1" not in synced.documents()


def test_a_scope_that_cannot_be_compared_is_named_and_the_others_are_verified(
    synced: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSnapshot, "find_doubled", lambda *_args, **_kwargs: {})
    twice = row("a9", "roof tile", tenant="acme")
    synced.source.tables["works"] += [twice, dict(twice)]

    told = json.loads(synced("verify", "all", "--json").stdout)
    shown = synced("verify", "all")

    scopes = {scope["scope_key"]: scope for scope in told["scopes"]}
    assert told["ok"] is False
    assert "have the same id: tenant-work-a9" in scopes["acme"]["error"]
    assert set(scopes["globex"]) == FIELDS
    assert shown.exit_code == 1
    assert "NOT COMPARED" in shown.stdout
    assert "acme: several rows of scope 'acme' have the same id" in shown.stdout
