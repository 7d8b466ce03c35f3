"""A usual web application: no flag for shared rows, soft deletes."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case

WITHOUT = """
entities:
  - {name: product, table: products, tenant: account_id, updated_at: updated_at,
     views: {text: [name]}}
"""
WITH = WITHOUT.replace(
    "tenant: account_id", "tenant: account_id, is_global: tenant_is_null, only: {deleted_at: null}"
)


@pytest.fixture
def shop(case: Case) -> Case:
    case.sql(
        "CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id "
        "integer, name text NOT NULL, deleted_at timestamptz, "
        "updated_at timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO products (account_id, name, deleted_at) VALUES (NULL, 'Shared hammer', NULL), "
        "(7, 'Own drill', NULL), (7, 'Withdrawn saw', now()), (8, 'Own paint', NULL)",
    )
    return case


def test_s69_a_missing_flag_is_answered_with_what_to_write(shop: Case) -> None:
    """By doctor and by sync, once."""
    shop.settings(WITHOUT)

    advice, refused = shop.advice(), shop.run("sync", "all")

    assert "is_global: false, true (all rows are shared) or tenant_is_null" in advice
    assert refused.returncode == 2
    assert "tenant_is_null (rows without a tenant are shared)" in refused.stderr


@pytest.mark.parametrize("has_feed", [False, True], ids=["by times", "by the feed"])
def test_s69_rows_enter_and_leave_the_condition_within_one_incremental_sync(
    shop: Case, *, has_feed: bool
) -> None:
    """Rows without a tenant are shared, deleted ones are not there."""
    shop.settings(WITH)
    if has_feed:
        assert shop.run("feed", "install").returncode == 0
    shop.scopes("sync", "all")
    assert sorted(shop.found("own", tenant="7")) == ["Own drill", "Shared hammer"]
    shop.sql(
        "UPDATE products SET deleted_at = now(), updated_at = now() WHERE name = 'Own drill'",
        "UPDATE products SET deleted_at = NULL, updated_at = now() WHERE name = 'Withdrawn saw'",
        "INSERT INTO products (account_id, name) VALUES (7, 'Own sander')",
    )

    report = shop.scopes("sync", "all", "--mode", "incremental")["7"]

    assert (report["status"], report["new"], report["deleted"]) == ("success", 2, 1)
    assert sorted(shop.found("own", tenant="7")) == ["Own sander", "Shared hammer", "Withdrawn saw"]
    assert shop.ask("verify", "all")["ok"]
    assert shop.scopes("status")["7"]["source_rows"] == 2


def test_s69_a_condition_that_the_column_cannot_be_asked_is_named(shop: Case) -> None:
    """With the server's reason, before anything is read."""
    shop.settings(WITH.replace("deleted_at: null", "account_id: seven"))

    refused = shop.run("sync", "all")

    assert refused.returncode == 2
    assert "`only` cannot be asked of the table: invalid input syntax" in refused.stderr
