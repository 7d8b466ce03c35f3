from __future__ import annotations

import json

import pytest

from sync_pipeline_tests.cli.installed import CommandLine


@pytest.fixture
def left(synced: CommandLine) -> CommandLine:
    """Everything in step; then the application deleted the rows of ``acme``."""
    for name, rows in synced.source.tables.items():
        synced.source.tables[name] = [row for row in rows if row["tenant_id"] != "acme"]
    return synced


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["tenants", "--json"], id="after the group"),
        pytest.param(["--json", "tenants"], id="before the group"),
    ],
)
def test_the_group_itself_lists_tenants(synced: CommandLine, words: list[str]) -> None:
    answer = json.loads(synced(*words).stdout)

    assert [tenant["tenant_id"] for tenant in answer["tenants"]] == ["acme", "globex"]


def test_a_tenant_is_removed_and_the_result_counted(left: CommandLine) -> None:
    result = left("tenants", "remove", "acme", "--yes", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "ok": True,
        "scope_key": "acme",
        "points": 2,
        "records": 2,
        "quarantined": 0,
        "events": 0,
        "vectors": 2,
    }
    assert left.documents() == {
        "global-material-g1",
        "global-work-g2",
        "tenant-material-b1",
        "tenant-material-b2",
    }
    assert left.orchestrator.forgotten == ["acme"]


def test_afterwards_nobody_knows_the_tenant(left: CommandLine) -> None:
    shown = left("tenants", "remove", "acme", "--yes").stdout

    assert "Tenant acme is removed: 2 points, 2 records" in shown
    status = json.loads(left("status", "--json").stdout)
    assert [scope["scope_key"] for scope in status["scopes"]] == ["global", "globex"]
    assert left("tenants", "remove", "acme", "--yes").exit_code == 2


def test_without_yes_it_only_says_what_would_go(left: CommandLine) -> None:
    before = left.documents()

    told = left("tenants", "remove", "acme")
    answer = json.loads(left("tenants", "--json", "remove", "acme").stdout)

    assert told.exit_code == 2
    assert "would remove 2 points, 2 records and 0 quarantined rows of tenant acme" in told.stdout
    assert "`sync-pipeline tenants remove acme --yes`" in told.stdout
    assert answer["ok"] is False
    assert answer["would_remove"]["points"] == 2
    assert (left.documents(), left.orchestrator.forgotten) == (before, [])


def test_a_tenant_with_rows_is_refused(synced: CommandLine) -> None:
    before = synced.documents()

    told = synced("tenants", "remove", "acme")
    refused = synced("tenants", "remove", "acme", "--yes")

    assert "still has 2 rows of it" in told.stdout
    assert refused.exit_code == 1
    assert "still has 2 rows in the source; nothing was removed" in refused.stderr
    assert (synced.documents(), synced.orchestrator.forgotten) == (before, [])


def test_a_tenant_with_rows_is_removed_where_that_is_said(synced: CommandLine) -> None:
    result = synced("tenants", "remove", "acme", "--yes", "--even-with-rows")

    assert result.exit_code == 0
    assert "the next sync brings it back" in result.stdout
    assert "tenant-material-a1" not in synced.documents()


@pytest.mark.parametrize("tenant", ["global", "acmee"])
def test_only_a_known_tenant_can_be_removed(synced: CommandLine, tenant: str) -> None:
    result = synced("tenants", "remove", tenant, "--yes")

    assert result.exit_code == 2
    assert len(synced.documents()) == 6
