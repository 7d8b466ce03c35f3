"""Case database-urls: the address of a database as other programs have it (scenario S67)."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

import pytest
from psycopg.conninfo import conninfo_to_dict

from sync_pipeline_tests.cases.installation import Case

TABLE = """
CREATE SCHEMA shop;
CREATE TABLE shop.items (id integer PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                         name text);
INSERT INTO shop.items VALUES (1, 'acme', false, 'Plain bolt');
"""
SETTINGS = "entities: [{name: item, table: items, views: {text: [name]}}]\n"


@dataclass(slots=True)
class Shop:
    """The case, and the parts that its addresses are made of."""

    case: Case
    place: str
    """The folder of the server's socket, percent-encoded."""
    words: dict[str, str]

    def doctor(self, url: str) -> str:
        """What ``doctor`` finds wrong with this address."""
        self.case.url = url
        return self.case.advice()


@pytest.fixture
def shop(case: Case) -> Shop:
    """A table in a schema that no search path has by itself."""
    case.sql(TABLE)
    case.settings(SETTINGS)
    words = {word: str(value) for word, value in conninfo_to_dict(case.url).items()}
    return Shop(case, words["host"].replace("/", "%2F"), words)


def test_s67_an_orm_address_is_synced(shop: Shop) -> None:
    """Prisma's schema is the search path; its pool means nothing here."""
    shop.case.url = (
        f"postgres://{shop.words['user']}:x@{shop.place}/{shop.words['dbname']}"
        "?schema=shop&connection_limit=1&pool_timeout=20&pgbouncer=true"
    )

    scopes = shop.case.scopes("sync", "all")

    assert scopes["acme"]["documents"] == 1
    assert shop.case.found("bolt", tenant="acme") == ["Plain bolt"]
    assert shop.case.advice() == ""


def test_s67_a_line_of_words_with_several_hosts_and_options_is_synced(shop: Shop) -> None:
    """libpq's lines work, with a list of hosts of which one is down, and with options."""
    shop.case.url = (
        f"host={shop.case.folder}/nothing,{shop.words['host']} user={shop.words['user']} "
        f"dbname={shop.words['dbname']} sslmode=disable options='-c search_path=shop'"
    )

    assert shop.case.scopes("sync", "all")["acme"]["documents"] == 1
    assert shop.case.scopes("sync", "all", "--mode", "full")["acme"]["unchanged"] == 1


def test_s67_a_service_is_an_address(shop: Shop) -> None:
    """``service=NAME`` takes everything from the service file."""
    file = shop.case.folder / "pg_service.conf"
    file.write_text(
        f"[shop]\nhost={shop.words['host']}\nuser={shop.words['user']}\n"
        f"dbname={shop.words['dbname']}\noptions=-csearch_path=shop\n"
    )
    shop.case.url = "service=shop"

    scopes = shop.case.scopes("sync", "all", PGSERVICEFILE=str(file))

    assert scopes["acme"]["documents"] == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sslmod=require", ["sslmod", "did you mean sslmode"]),
        ("sslmode=requires", ["sslmode", "choose from disable"]),
        ("foo=1&bar=2", ["foo", "bar", "take it out"]),
    ],
)
def test_s67_a_parameter_that_cannot_be_used_is_named(
    shop: Shop, query: str, expected: list[str]
) -> None:
    """The settings are refused with each parameter's name and what to do; no password is shown."""
    shop.case.url = f"postgresql://app:hush@{shop.place}/{shop.words['dbname']}?{query}"

    done = shop.case.run("sync", "all")

    assert done.returncode == 2
    assert all(word in done.stderr for word in expected), done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_s67_what_the_driver_finds_wrong_is_a_mistake_of_the_settings(shop: Shop) -> None:
    """A setting that the server does not know ends with exit code 2 and the word that helps."""
    shop.case.url = (
        f"postgresql://{shop.words['user']}@{shop.place}/{shop.words['dbname']}"
        "?options=-csearch_pth%3Dshop"
    )

    done = shop.case.run("sync", "all")

    assert done.returncode == 2, done.stderr
    assert "correct `options`" in done.stderr
    assert "search_pth" in done.stderr
    assert "Check that it is up" not in done.stderr


def test_s67_a_server_that_is_down_is_no_mistake_of_the_settings(case: Case) -> None:
    """It is said that the server cannot be reached, and where."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        case.url = f"postgresql://app@127.0.0.1:{port}/x"
        case.settings(SETTINGS)

        done = case.run("sync", "all", "--json")

    assert done.returncode not in {0, 2}, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr + json.dumps(done.stdout)
