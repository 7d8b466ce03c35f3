"""Tenants whose id is a word that means several scopes, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_pipeline_tests.cli.installed import CommandLine, row


@pytest.fixture
def run(synced: CommandLine) -> CommandLine:
    """In step, and then two tenants came, called ``all`` and ``tenants``."""
    synced.source.tables["materials"] += [
        row("l1", "oak door", tenant="all"),
        row("t1", "ash door", tenant="tenants"),
    ]
    return synced


NEW = {"all": "tenant-material-l1", "tenants": "tenant-material-t1"}


@pytest.mark.parametrize("tenant", NEW)
@pytest.mark.parametrize("words", [["tenant:{}"], ["tenant", "{}"]], ids=["name", "two words"])
def test_such_a_tenant_alone_is_synced_and_verified(
    run: CommandLine, tenant: str, words: list[str]
) -> None:
    named = [word.format(tenant) for word in words]
    before = run.documents()

    synced = json.loads(run("--json", "sync", *named).stdout)
    verified = json.loads(run("--json", "verify", *named).stdout)

    assert [scope["scope_key"] for scope in synced["scopes"]] == [tenant]
    assert [scope["scope_key"] for scope in verified["scopes"]] == [tenant]
    assert run.documents() - before == {NEW[tenant]}


def test_its_plan_is_saved_and_carried_out(run: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"

    planned = run("plan", "tenant:all", "--out", str(path))
    done = run("sync", "tenant:all", "--plan", str(path))
    other = run("sync", "tenant:tenants", "--plan", str(path))

    assert planned.exit_code == 0, planned.output
    assert [scope["scope_key"] for scope in json.loads(path.read_text())["scopes"]] == ["all"]
    assert done.exit_code == 0, done.output
    assert NEW["all"] in run.documents()
    assert other.exit_code == 2
    assert "says nothing about tenants; it is about all" in " ".join(other.output.split())


def test_several_are_named_at_once(run: CommandLine) -> None:
    answer = json.loads(run("--json", "sync", "tenant:tenants", "tenant:all").stdout)

    assert [scope["scope_key"] for scope in answer["scopes"]] == ["tenants", "all"]


def test_the_words_mean_what_they_always_did(run: CommandLine) -> None:
    answer = json.loads(run("--json", "sync", "tenants").stdout)

    assert {scope["scope_key"] for scope in answer["scopes"]} == {
        "acme",
        "all",
        "globex",
        "tenants",
    }


def test_whoever_lists_tenants_is_told_what_to_call_them(run: CommandLine) -> None:
    told = " ".join(run("tenants").output.split())

    assert "The tenant 'all' is called `tenant:all` where scopes are named: `all` means" in told
    assert "The tenant 'tenants' is called `tenant:tenants`" in told
    assert "acme' is called" not in told


def test_an_approval_for_all_scopes_says_what_the_tenant_is_called(run: CommandLine) -> None:
    refused = run("sync", "all", "--approve-deletions", "1")

    assert refused.exit_code == 2
    told = " ".join(refused.output.split())
    assert "--approve-deletions is about one scope, not 5" in told
    assert "The tenant 'all' is called `tenant:all`" in told


def test_what_is_neither_a_word_nor_a_name_is_refused_with_the_way_to_say_it(
    run: CommandLine,
) -> None:
    for words in (["acme"], ["tenant:"], ["all", "tenant:acme"]):
        refused = run("sync", *words)

        assert refused.exit_code == 2
        assert "tenants, tenant ID, or tenant:ID, not" in " ".join(refused.output.split())
