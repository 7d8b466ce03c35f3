"""Cases latin1 and euc-jp: everyday work over databases of encodings with few characters (S66)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database

TABLE: Final = """
CREATE TABLE stock (id text PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                    name text, maker text)
"""
SETTINGS: Final = (
    "entities: [{name: item, table: stock, views: {text: [name]}, payload: {maker: maker}}]\n"
)


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a database's encoding, and one that it cannot hold."""

    encoding: str
    tenant: str
    text: str
    maker: str
    row_id: str
    foreign: str


DATABASES: Final = (
    Words("LATIN1", "Société Générale", "Béton désactivé", "Müller & Søn", "é-1", "株式会社"),
    Words("EUC_JP", "株式会社", "石膏ボード", "吉野石膏", "品-1", "Łódź😀"),
)


@pytest.fixture(params=DATABASES, ids=lambda each: each.encoding)
def words(request: pytest.FixtureRequest) -> Words:
    found: Words = request.param
    return found


@pytest.fixture
def shop(words: Words, database_url: str, tmp_path: Path) -> Iterator[Case]:
    """Two rows of one tenant; the state lies beside them."""
    with encoded_database(database_url, words.encoding) as url:
        case = Case(url, tmp_path)
        case.sql(
            TABLE,
            f"INSERT INTO stock VALUES ('{words.row_id}', '{words.tenant}', false, "  # noqa: S608 - words of above
            f"'{words.text}', '{words.maker}'), ('2', '{words.tenant}', false, 'Plain', 'A')",
        )
        case.settings(SETTINGS)
        yield case


def test_s66_a_database_of_few_characters_is_synced_searched_and_verified(
    shop: Case, words: Words
) -> None:
    """LATIN1 and EUC_JP, state and all: full, by feed, filtered, shown and compared."""
    first = shop.scopes("sync", "all")
    by_maker = shop.found("x", tenant=words.tenant, filter=f"maker={words.maker}")

    assert (first[words.tenant]["documents"], first[words.tenant]["quarantined"]) == (2, 0)
    assert by_maker == [words.text]
    assert shop.found(words.text, tenant=words.tenant)[0] == words.text
    assert shop.scopes("status")[words.tenant]["points"] == 2

    assert shop.run("feed", "install").returncode == 0
    shop.run("sync", "all", "--force")
    shop.sql(f"UPDATE stock SET name = '{words.text} 2' WHERE id = '{words.row_id}'")  # noqa: S608
    shop.sql("DELETE FROM stock WHERE id = '2'")
    second = shop.scopes("sync", "all", "--mode", "incremental")[words.tenant]

    assert (second["changed"], second["deleted"], second["note"]) == (1, 1, None)
    assert shop.found(words.text, tenant=words.tenant) == [f"{words.text} 2"]
    assert shop.run("verify", "all").returncode == 0


def test_s66_a_look_up_of_a_word_it_cannot_hold_finds_nothing(shop: Case, words: Words) -> None:
    """A text and a filter bring what there is; a tenant and an id are said not to be there."""
    shop.run("sync", "all")
    foreign = words.foreign

    assert shop.found("x", tenant=words.tenant, filter=f"maker={foreign}") == []
    assert len(shop.found(foreign, tenant=words.tenant)) == 2
    for arguments in (
        ("search", "x", "--tenant", foreign),
        ("sync", "tenant", foreign, "--mode", "incremental"),
        ("tenants", "remove", foreign, "--yes"),
    ):
        done = shop.run(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert done.stderr.startswith(f"error: no tenant {foreign!r} among the 1"), done
    for arguments in (
        ("failed", "retry", "--tenant", foreign),
        ("quarantine", "release", "--tenant", foreign),
    ):
        done = shop.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), (arguments, done)
    explained = shop.run("explain", "item", foreign)
    assert f"no item has the id {foreign!r}" in explained.stdout, explained
