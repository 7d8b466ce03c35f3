"""Tenants and ids that begin with a dash, as numbers below zero do (scenario S66)."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case

SETTINGS = "entities: [{name: item, table: items, views: {text: [name]}}]\n"


@pytest.fixture
def shop(case: Case) -> Case:
    """A tenant -1 with a row -5, and another one."""
    case.sql(
        "CREATE TABLE items (id int PRIMARY KEY, tenant_id int, is_global boolean DEFAULT false, "
        "name text)",
        "INSERT INTO items VALUES (-5, -1, false, 'bolt'), (6, 2, false, 'nut')",
    )
    case.settings(SETTINGS)
    return case


def test_s66_a_tenant_that_begins_with_a_dash_is_a_tenant(shop: Case) -> None:
    """plan, sync, verify, search and explain take it as any other word."""
    assert "-1" in shop.run("plan", "tenant", "-1").stdout
    scopes = shop.scopes("sync", "tenant", "-1")
    assert {key: it["documents"] for key, it in scopes.items()} == {"-1": 1}
    assert shop.run("verify", "tenant", "-1").returncode == 0
    assert shop.found("bolt", tenant="-1") == ["bolt"]
    assert shop.run("search", "-5", "--tenant=-1").returncode == 0
    explained = shop.run("explain", "item", "-5")
    assert explained.returncode == 0, explained.stderr
    assert "-1" in explained.stdout


@pytest.mark.parametrize("words", [("sync", "all", "--mood"), ("sync", "-h"), ("plan", "--al")])
def test_s66_a_misspelt_option_is_still_one(shop: Case, words: tuple[str, ...]) -> None:
    """A word with two dashes, or -h, is never taken for a tenant."""
    done = shop.run(*words)

    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert words[-1] in done.stderr
