from __future__ import annotations

import json

from sync_pipeline_tests.cli.installed import CommandLine

FIELDS = {
    "scope_key", "source_rows", "documents", "points", "coverage", "failed", "quarantined",
    "pending", "last_success_at", "oldest_unsynced_seconds", "surplus", "other_points", "entities",
    "archived", "views",
}  # fmt: skip


def test_status_has_the_fields_that_programs_rely_on(synced: CommandLine) -> None:
    answer = json.loads(synced("status", "--json").stdout)

    assert set(answer) == {"scopes"}
    assert [set(scope) for scope in answer["scopes"]] == [FIELDS] * 3
    globex = answer["scopes"][2]
    assert globex.pop("last_success_at").endswith("+00:00")
    assert [(one["entity_type"], one["points"]) for one in globex.pop("entities")] == [
        ("material", 2),
        ("work", 0),
    ]
    assert globex == {
        "scope_key": "globex",
        "source_rows": 3,
        "documents": 2,
        "points": 2,
        "coverage": 1.0,
        "failed": 0,
        "quarantined": 1,
        "pending": 0,
        "oldest_unsynced_seconds": None,
        "surplus": 0,
        "archived": 0,
        "views": {"text": {"synced": 2, "failed": 0, "truncated": 0, "pending": 0}},
        "other_points": 0,
    }


def test_before_the_first_sync_everything_is_pending(run: CommandLine) -> None:
    answer = json.loads(run("status", "--json").stdout)

    assert [(one["scope_key"], one["pending"], one["points"]) for one in answer["scopes"]] == [
        ("global", 2, 0),
        ("acme", 2, 0),
        ("globex", 3, 0),
    ]


def test_people_see_a_table_and_where_to_look(synced: CommandLine) -> None:
    result = synced("status")

    assert result.exit_code == 0
    assert "globex" in result.stdout
    assert "`sync-pipeline quarantine list` names them" in result.stdout


def test_tenants_are_listed_without_the_global_scope(synced: CommandLine) -> None:
    answer = json.loads(synced("tenants", "--json").stdout)

    assert answer == {
        "tenants": [
            {"tenant_id": "acme", "source_rows": 2, "points": 2},
            {"tenant_id": "globex", "source_rows": 3, "points": 2},
        ]
    }
    assert "globex" in synced("tenants").stdout


def test_quarantined_rows_are_listed_with_the_reason(synced: CommandLine) -> None:
    answer = json.loads(synced("quarantine", "list", "--json").stdout)

    assert answer == {
        "rows": [
            {
                "scope_key": "globex",
                "entity_type": "material",
                "db_id": "b3",
                "reason": "empty_text",
                "detail": "nothing to embed in name",
                "rows": 1,
            }
        ]
    }
    assert "empty_text" in synced("quarantine", "list").stdout


def test_quarantined_rows_can_be_asked_for_by_scope(synced: CommandLine) -> None:
    acme = synced("quarantine", "list", "--tenant", "acme")
    shared = json.loads(synced("quarantine", "list", "--global", "--json").stdout)

    assert acme.stdout == "No row is quarantined.\n"
    assert shared == {"rows": []}
