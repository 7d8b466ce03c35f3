from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sync_pipeline.core.landing.passes import PassState
from sync_pipeline.core.ports import LandingRecord
from sync_pipeline_tests.cli.installed import CommandLine
from sync_pipeline_tests.fakes.landing_records import FakeLandingRecords
from sync_pipeline_tests.landing.site import PRODUCTS

FIELDS = {
    "scope_key", "source_rows", "documents", "points", "coverage", "failed", "quarantined",
    "pending", "last_success_at", "oldest_unsynced_seconds", "surplus", "other_points", "entities",
    "archived", "views",
}  # fmt: skip


def test_status_has_the_fields_that_programs_rely_on(synced: CommandLine) -> None:
    answer = json.loads(synced("status", "--json").stdout)

    assert set(answer) == {"scopes", "landings"}
    assert answer["landings"] == []
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


LANDED_AT = datetime(2025, 12, 1, tzinfo=UTC)


def land(run: CommandLine, **recorded: Any) -> None:
    """Materials land; this is recorded of it."""
    landing = replace(PRODUCTS, name="materials", table="materials")
    record = LandingRecord(landing="materials", rows=5, **recorded)
    run.use(FakeLandingRecords({"materials": record}).known_to(run.sync, landing))


def test_landings_stand_beside_the_scopes(synced: CommandLine) -> None:
    land(synced, complete_at=LANDED_AT, changed_at=LANDED_AT)

    (landing,) = json.loads(synced("status", "--json").stdout)["landings"]

    assert landing.pop("age_seconds") > 0
    assert landing == {
        "name": "materials",
        "table": "materials",
        "connection": "erp",
        "rows": 5,
        "complete_at": "2025-12-01T00:00:00+00:00",
        "is_fresh": False,
        "applied_at": None,
        "changed_at": "2025-12-01T00:00:00+00:00",
        "failed_at": None,
        "error": None,
        "not_before": None,
        "needs_full_pass": None,
        "rejected": 0,
        "open_pass": None,
    }


def test_people_see_what_is_old_and_why(synced: CommandLine) -> None:
    open_pass = PassState(
        pass_id="1",
        landing="materials",
        mode="full",
        mapping_digest="",
        started_at=LANDED_AT,
        records=1_400,
        last_total=109_000,
    )
    land(
        synced,
        complete_at=LANDED_AT,
        error="the origin does not answer",
        not_before=LANDED_AT,
        open_pass=open_pass,
    )

    told = synced("status").stdout

    assert "OLD" in told
    assert "full, 1,400 of 109,000 records" in told
    assert "Landing materials failed: the origin does not answer" in told
    assert "Landing materials was asked to wait until 2025-12-01 00:00 UTC." in told
    assert "`sync-pipeline land materials` lands it again" in told.replace("\n", " ")


def test_a_fresh_landing_needs_nobody(synced: CommandLine) -> None:
    land(synced, complete_at=datetime.now(tz=UTC))

    told = synced("status").stdout

    assert "materials" in told
    assert "OLD" not in told
    assert "sync-pipeline land" not in told


def test_a_search_is_in_sync_to_what_landed(synced: CommandLine) -> None:
    land(synced, complete_at=LANDED_AT)

    answer = json.loads(synced("search", "plaster", "--global", "--json").stdout)

    assert answer["in_sync_to"] == "2025-12-01T00:00:00+00:00"


def test_an_explanation_names_the_landing(synced: CommandLine) -> None:
    land(synced, complete_at=LANDED_AT)
    for row in synced.source.tables["materials"]:
        row["source_key"] = f"erp-{row['id']}"

    told = synced("explain", "material", "g1").stdout.replace("\n", " ")
    answer = json.loads(synced("explain", "material", "g1", "--json").stdout)

    assert "It comes from landing materials, where it is called erp-g1;" in told
    assert "last complete 2025-12-01 00:00:00 UTC (OLD)." in told
    assert answer["landing"] == {
        "name": "materials",
        "complete_at": "2025-12-01T00:00:00+00:00",
        "is_fresh": False,
        "source_key": "erp-g1",
    }
    assert answer["documents"][0]["scope"]["in_sync_to"] == "2025-12-01T00:00:00+00:00"


def test_a_plan_says_that_what_it_compares_is_old(synced: CommandLine) -> None:
    land(synced, complete_at=LANDED_AT)

    told = synced("plan", "global").stdout.replace("\n", " ")
    answer = json.loads(synced("plan", "global", "--json").stdout)

    assert "Nothing of materials is in sync beyond its last complete pass" in told
    assert [it["complete_at"] for it in answer["landings"]] == ["2025-12-01T00:00:00+00:00"]
