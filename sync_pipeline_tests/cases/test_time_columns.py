"""Two ways in which people note when a row changed: seconds since 1970, and days."""

# ruff: noqa: S608 - the test composes its own table

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case


@pytest.mark.parametrize(
    ("sql_type", "before", "now"),
    [
        pytest.param("bigint", "1700000000", "extract(epoch FROM now())", id="epoch"),
        pytest.param("date", "'2024-01-01'", "current_date", id="day"),
    ],
)
def test_s63_a_change_of_today_arrives_by_an_incremental_sync(
    case: Case, sql_type: str, before: str, now: str
) -> None:
    """However coarse its time is, and without a setting."""
    case.settings(
        "sync: {incremental_overlap_seconds: 2}\n"
        "entities: [{name: thing, table: things, updated_at: changed, views: {text: [name]}}]"
    )
    case.sql(
        "CREATE TABLE things (id int PRIMARY KEY, tenant_id text, is_global boolean, name text, "
        f"changed {sql_type})",
        f"INSERT INTO things VALUES (1, 'acme', false, 'old name', {before})",
    )
    assert case.advice() == ""
    case.scopes("sync", "all")
    case.sql(f"UPDATE things SET name = 'new name', changed = {now}")

    report = case.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["status"], report["changed"]) == ("success", 1)
    assert case.found("name", tenant="acme") == ["new name"]
    assert case.ask("verify", "all")["ok"]


def test_s63_a_counter_is_no_time_of_change(case: Case) -> None:
    """Doctor and the incremental sync refuse it, with the way out."""
    case.settings(
        "entities: [{name: thing, table: things, updated_at: version, views: {text: [name]}}]"
    )
    case.sql(
        "CREATE TABLE things (id int PRIMARY KEY, tenant_id text, is_global boolean, name text, "
        "version bigint)",
        "INSERT INTO things VALUES (1, 'acme', false, 'name', 7)",
    )

    advice = case.advice()

    assert "leave `updated_at` out if the column counts something else" in advice
