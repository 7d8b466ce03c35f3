"""Case sql-ascii: a database of 2004 that never said an encoding (scenario S66)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database

TABLE = r"""
CREATE TABLE stock (id integer PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                    name text, maker text);
INSERT INTO stock VALUES (1, 'acme', false, 'Plain bolt', 'Acme');
INSERT INTO stock VALUES (2, 'acme', false, E'B\xe9ton d\xe9sactiv\xe9', 'Lafarge');
INSERT INTO stock VALUES (3, 'acme', false, E'Cr\xc3\xa9pi fin', 'Weber');
INSERT INTO stock VALUES (4, 'globex', false, 'Plain nut', 'Acme');
"""
SETTINGS = (
    "entities: [{name: item, table: stock, views: {text: [name]}, payload: {maker: maker}}]\n"
)


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Iterator[Case]:
    """The database of the case, with a state database of its own beside it."""
    with encoded_database(database_url, "SQL_ASCII") as url:
        case = Case(url, tmp_path, {"STATE_DATABASE_URL": driver_url(database_url, "libpq")})
        case.sql(TABLE)
        case.settings(SETTINGS)
        yield case


def test_s66_a_row_of_another_encoding_is_set_aside_by_id_and_the_others_are_found(
    old: Case,
) -> None:
    """In SQL_ASCII, a Latin-1 value quarantines its row; UTF-8 ones and tenants go on."""
    scopes = old.scopes("sync", "all")

    kept = old.ask("quarantine", "list")
    assert {key: (it["documents"], it["quarantined"]) for key, it in scopes.items()} == {
        "global": (0, 0),
        "acme": (2, 1),
        "globex": (1, 0),
    }
    assert [(row["db_id"], row["reason"]) for row in kept["rows"]] == [("2", "undecodable")]
    assert "name" in kept["rows"][0]["detail"]
    assert set(old.found("Crépi", tenant="acme")) == {"Crépi fin", "Plain bolt"}
    assert old.run("verify", "all").returncode == 0


def test_s66_a_mended_row_leaves_the_quarantine(old: Case) -> None:
    """The row is there at the next sync after its bytes were corrected."""
    old.run("sync", "all")

    old.sql(r"UPDATE stock SET name = E'B\xc3\xa9ton' WHERE id = 2")
    scopes = old.scopes("sync", "all")

    assert (scopes["acme"]["documents"], scopes["acme"]["quarantined"]) == (3, 0)
    assert old.ask("quarantine", "list")["rows"] == []


def test_s66_the_state_may_lie_in_a_database_without_an_encoding_too(old: Case) -> None:
    """Source, state and Dagster's tables all in SQL_ASCII, whatever the client's variables say."""
    old.environment.pop("STATE_DATABASE_URL")
    old.sql("INSERT INTO stock VALUES (5, 'Straße', false, 'Krampe', 'Müller')")

    scopes = old.scopes("sync", "all", PGCLIENTENCODING="LATIN1")

    assert scopes["acme"]["documents"] == 2
    assert scopes["Straße"]["documents"] == 1
    assert old.found("Krampe", tenant="Straße") == ["Krampe"]


def test_s66_a_client_encoding_in_the_address_changes_nothing(old: Case) -> None:
    """The connection speaks UTF-8 although the address says LATIN1."""
    old.url += "&client_encoding=latin1" if "?" in old.url else "?client_encoding=latin1"

    scopes = old.scopes("sync", "all")

    assert (scopes["acme"]["documents"], scopes["acme"]["quarantined"]) == (2, 1)
