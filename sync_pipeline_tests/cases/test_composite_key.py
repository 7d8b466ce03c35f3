"""Every shop numbers its articles itself: the key is (shop, sku)."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case

BY_SKU = """
entities:
  - {name: article, table: articles, id: sku, tenant: shop_id, is_global: shared,
     updated_at: changed, views: {text: [title]}, payload: {sku: sku}}
"""
BY_BOTH = BY_SKU.replace("id: sku", "id: [shop_id, sku]")
COLLISION = "INSERT INTO articles (shop_id, sku, title) VALUES (2, 'A-100', 'Roof batten 30x50')"


@pytest.fixture
def shops(case: Case) -> Case:
    case.sql(
        "CREATE TABLE articles (shop_id integer NOT NULL, sku text NOT NULL, title text NOT NULL, "
        "shared boolean NOT NULL DEFAULT false, changed timestamptz NOT NULL DEFAULT now(), "
        "PRIMARY KEY (shop_id, sku))",
        "INSERT INTO articles (shop_id, sku, title) VALUES (1, 'A-100', 'Gypsum board 12.5 mm'), "
        "(1, 'A-101', 'Cement 25 kg'), (2, 'B-100', 'Screed 40 kg')",
    )
    return case


def test_s61_doctor_says_which_key_is_unique_only_per_tenant(shops: Case) -> None:
    """Before the first sync, with the line to write."""
    shops.settings(BY_SKU)

    advice = shops.advice()

    assert "sku is unique only per tenant" in advice
    assert "id: [shop_id, sku]" in advice


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_s61_a_tenant_s_legal_row_neither_takes_another_s_document_nor_stops_it(
    shops: Case, mode: str
) -> None:
    """With an id that is unique only per tenant: one row is set aside, all others go on."""
    shops.settings(BY_SKU)
    shops.scopes("sync", "all")
    shops.sql(
        COLLISION,
        "UPDATE articles SET title = 'Cement 25 kg, new bag', changed = now() WHERE sku = 'A-101'",
    )

    synced = shops.scopes("sync", "all", "--mode", mode)

    assert {key: found["status"] for key, found in synced.items() if key != "global"} == {
        "1": "success",
        "2": "success",
    }
    assert shops.found("Gypsum board", tenant="1")[0] == "Gypsum board 12.5 mm"
    assert "Cement 25 kg, new bag" in shops.found("Cement", tenant="1")
    assert shops.found("Roof batten", tenant="2") == ["Screed 40 kg"]
    assert shops.ask("verify", "all")["ok"]
    listed = shops.ask("quarantine", "list")["rows"]
    assert [(row["scope_key"], row["db_id"], row["reason"]) for row in listed] == [
        ("2", "A-100", "doubled_id")
    ]
    assert "such rows are set aside" in shops.advice()


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_s61_an_id_of_both_columns_is_two_documents(shops: Case, mode: str) -> None:
    """As doctor advises."""
    shops.settings(BY_BOTH)
    shops.scopes("sync", "all")
    shops.sql(COLLISION)

    shops.scopes("sync", "all", "--mode", mode)

    assert "Gypsum board 12.5 mm" in shops.found("Gypsum board", tenant="1")
    assert "Roof batten 30x50" in shops.found("Roof batten", tenant="2")
    assert shops.ask("verify", "all")["ok"]
    explained = shops.ask("explain", "article", "2/A-100")
    assert explained["documents"][0]["document_id"] == "tenant-article-2/A-100"
    assert shops.advice() == ""


def test_s61_deleting_one_of_two_equal_ids_leaves_the_other(shops: Case) -> None:
    """With the feed, and by incremental syncs alone."""
    shops.settings(BY_BOTH)
    shops.run("feed", "install")
    shops.sql(COLLISION)
    shops.scopes("sync", "all")
    shops.sql("DELETE FROM articles WHERE shop_id = 2 AND sku = 'A-100'")

    synced = shops.scopes("sync", "all", "--mode", "incremental")

    assert synced["2"]["deleted"] == 1
    assert "Gypsum board 12.5 mm" in shops.found("Gypsum board", tenant="1")
    assert shops.ask("verify", "all")["ok"]
