"""Case win1251: a database of a one-byte encoding, state and all (scenario S66)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database

TENANT = "ООО «Север»"
TABLE = """
CREATE TABLE nomenklatura (id text PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                           name text);
INSERT INTO nomenklatura VALUES ('1', 'ООО «Север»', false, 'Кирпич № 5'),
                                ('2', 'ООО «Север»', false, 'Цемент М500');
"""
SETTINGS = "entities: [{name: item, table: nomenklatura, views: {text: [name]}}]\n"


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Case]:
    """The database of the case; the state lies in it."""
    with encoded_database(database_url, "WIN1251") as url:
        case = Case(url, tmp_path)
        with psycopg.connect(url, autocommit=True, client_encoding="UTF8") as connection:
            connection.execute(TABLE.encode())
        case.settings(SETTINGS)
        yield case


def test_s66_all_of_it_works_in_a_database_of_another_encoding(shop: Case) -> None:
    """WIN1251: synced, found, verified; the feed too."""
    scopes = shop.scopes("sync", "all")

    assert scopes[TENANT]["documents"] == 2
    assert shop.found("Кирпич", tenant=TENANT)[0] == "Кирпич № 5"
    assert shop.run("verify", "all").returncode == 0
    assert shop.run("feed", "install").returncode == 0
    shop.sql("UPDATE nomenklatura SET name = 'Gips' WHERE id = '1'")
    assert shop.scopes("sync", "all", "--mode", "incremental")[TENANT]["changed"] == 1
    assert "Gips" in shop.found("Gips", tenant=TENANT)


def test_s66_what_the_database_cannot_hold_is_found_nowhere(shop: Case) -> None:
    """A tenant or an id of other letters is simply not there; no command ends in a fault."""
    shop.run("sync", "all")

    unknown = "no tenant '株式会社' among the 1"
    for arguments in (
        ("search", "Кирпич 株", "--tenant", "株式会社"),
        ("plan", "tenant", "株式会社"),
        ("sync", "tenant", "株式会社"),
        ("verify", "tenant", "株式会社"),
    ):
        done = shop.run(*arguments)
        assert (done.returncode, unknown in done.stderr) == (2, True), (arguments, done)
    assert shop.found("株", tenant=TENANT) != []
    explained = shop.run("explain", "item", "株")
    assert "no item has the id '株'" in explained.stdout, explained
    assert shop.ask("quarantine", "list", "--tenant", "株式会社")["rows"] == []
