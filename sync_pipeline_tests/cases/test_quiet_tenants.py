"""Many tenants of whom a few change anything: an incremental sync of all runs over those."""

from __future__ import annotations

import json

import pytest

from sync_pipeline_tests.cases.installation import Case

TENANTS = ("acme", "globex", "initech")


@pytest.fixture
def shop(case: Case) -> Case:
    """Three tenants with ten offers each, synced in full with the feed installed."""
    case.settings(
        "entities: [{name: offer, table: offers, updated_at: updated_at, views: {text: [name]}}]"
    )
    case.sql(
        "CREATE TABLE offers (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, "
        "name text, updated_at timestamptz)",
        "INSERT INTO offers SELECT g, (ARRAY['acme', 'globex', 'initech'])[1 + g % 3], false, "
        "'offer ' || g, '2024-01-01' FROM generate_series(1, 30) g",
    )
    assert case.run("feed", "install").returncode == 0
    assert case.run("sync", "all").returncode == 0
    return case


def ran(shop: Case, *words: str) -> set[str]:
    """Tenants whose scope an incremental sync of all ran over."""
    scopes = shop.scopes("sync", "all", "--mode", "incremental", *words)
    return {key for key in TENANTS if scopes[key]["run_id"] is not None}


def test_tenants_without_changes_have_no_run(shop: Case) -> None:
    nobody = ran(shop)
    shop.sql("UPDATE offers SET name = 'sand' WHERE id = 3", "DELETE FROM offers WHERE id = 6")
    changed = ran(shop)
    shop.sql("UPDATE offers SET tenant_id = 'globex' WHERE id = 9")
    moved = ran(shop)

    assert (nobody, changed, moved) == (set(), {"acme"}, {"acme", "globex"})
    assert shop.run("verify", "all").returncode == 0
    assert ran(shop, "--force") == set(TENANTS)


LOSSES = {
    "switched off and on": (
        "ALTER TABLE offers DISABLE TRIGGER ALL",
        "ALTER TABLE offers ENABLE TRIGGER ALL",
    ),
    "events thrown away": ("TRUNCATE sync_pipeline.change_event",),
    "emptied and filled": (
        "CREATE TABLE copied AS SELECT * FROM offers",
        "BEGIN; TRUNCATE offers; INSERT INTO offers SELECT * FROM copied; COMMIT",
    ),
}


@pytest.mark.parametrize("statements", LOSSES.values(), ids=LOSSES)
def test_where_the_feed_may_have_missed_something_every_tenant_has_a_run(
    shop: Case, statements: tuple[str, ...]
) -> None:
    shop.sql(*statements)

    assert ran(shop) == set(TENANTS)


def test_a_tenant_is_told_why_it_was_left_out(shop: Case) -> None:
    said = shop.run("sync", "tenant", "acme", "--mode", "incremental")
    answer = json.loads(shop.run("--json", "sync", "all", "--mode", "incremental").stdout)

    assert "acme: skipped: no change is known since the sync of 20" in said.stderr + said.stdout
    assert {scope["status"] for scope in answer["scopes"]} == {"skipped"}
    assert answer["totals"]["documents"] == 30
