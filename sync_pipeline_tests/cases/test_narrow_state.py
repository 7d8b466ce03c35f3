"""Case narrow-state: the state in a database of an encoding of its own (scenario S66)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from sync_pipeline.database.urls import driver_url, parse_url
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database

TABLE: Final = """
CREATE TABLE stock (id text PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                    name text, maker text);
INSERT INTO stock VALUES ('1', 'acme', false, 'Plain bolt', 'Acme'),
                         ('é株', 'acme', false, 'Гипс 石膏 😀', 'Ł & 株'),
                         ('3', '株式会社 😀', false, 'Гипс', 'Ł'),
                         ('é😀', 'acme', false, NULL, NULL);
"""
SETTINGS: Final = (
    "entities: [{name: item, table: stock, views: {text: [name]}, payload: {maker: maker}}]\n"
)
DAGSTER: Final = "SYNC_PIPELINE__DAGSTER__STORAGE_URL"


@contextmanager
def case_over(source: str, folder: Path, **environment: str) -> Iterator[Case]:
    """Rows with characters of many scripts, in a source of UTF-8."""
    case = Case(driver_url(source, "libpq"), folder, environment)
    case.sql(TABLE)
    case.settings(SETTINGS)
    yield case


def is_empty(url: str) -> bool:
    """Whether a database has no schema of ours."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT FROM pg_namespace WHERE nspname = 'sync_pipeline'")
        return found.fetchone() is None


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "WIN1251"])
def test_s66_a_state_that_could_not_hold_the_ids_of_the_source_is_refused_before_anything_is_done(
    encoding: str, database_url: str, tmp_path: Path
) -> None:
    """Every command says the two encodings and what to do, and writes nothing; that helps."""
    with (
        encoded_database(database_url, encoding) as state,
        case_over(database_url, tmp_path, STATE_DATABASE_URL=state) as case,
    ):
        said = {command: case.run(*command.split()) for command in ("doctor", "sync all", "status")}

        for done in said.values():
            assert done.returncode == 2, done
            assert done.stderr.count("\n") == 1, done
            assert f"has the encoding {encoding}, while the source has UTF8" in done.stderr
            assert "Set `STATE_DATABASE_URL` to a database made with" in done.stderr
        assert is_empty(state)
        advice = said["sync all"].stderr.split("`")[3]
        name = f"{parse_url(database_url).database}_wide"
        with psycopg.connect(case.url, autocommit=True) as administrator:
            administrator.execute(advice.replace(" NAME ", f" {name} ").encode())
            try:
                wide = parse_url(database_url).set(database=name)
                case.environment["STATE_DATABASE_URL"] = driver_url(
                    wide.render_as_string(hide_password=False), "libpq"
                )
                assert case.scopes("sync", "all")["株式会社 😀"]["documents"] == 1
            finally:
                administrator.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_s66_a_state_without_an_encoding_holds_everything(
    database_url: str, tmp_path: Path
) -> None:
    """SQL_ASCII: tenants, ids and quarantined rows of any script are kept and found again."""
    with (
        encoded_database(database_url, "SQL_ASCII") as state,
        case_over(database_url, tmp_path, STATE_DATABASE_URL=state) as case,
    ):
        first = case.scopes("sync", "all")
        second = case.scopes("sync", "all", "--force")

        assert (first["acme"]["new"], first["acme"]["quarantined"]) == (2, 1)
        assert (second["acme"]["unchanged"], second["株式会社 😀"]["unchanged"]) == (2, 1)
        assert [row["db_id"] for row in case.ask("quarantine", "list")["rows"]] == ["é😀"]
        assert case.found("Гипс", tenant="株式会社 😀") == ["Гипс"]
        assert case.run("verify", "all").returncode == 0


def test_s66_a_state_of_the_encoding_of_the_source_is_taken_wherever_it_lies(
    database_url: str, tmp_path: Path
) -> None:
    """LATIN1 both: what the one has, the other can hold."""
    with (
        encoded_database(database_url, "LATIN1") as source,
        encoded_database(source, "LATIN1") as state,
    ):
        case = Case(source, tmp_path, {"STATE_DATABASE_URL": state})
        case.sql(
            "CREATE TABLE stock (id text PRIMARY KEY, tenant_id text, is_global boolean, "
            "name text, maker text)",
            "INSERT INTO stock VALUES ('é-1', 'Société', false, 'Béton', 'Müller')",
        )
        case.settings(SETTINGS)

        assert case.scopes("sync", "all")["Société"]["documents"] == 1
        assert case.run("verify", "all").returncode == 0


def test_s66_a_history_of_runs_that_cannot_hold_a_tenant_is_named(
    database_url: str, tmp_path: Path
) -> None:
    """Dagster's tables in LATIN1 refuse such a tenant before any scope is synced."""
    with (
        encoded_database(database_url, "LATIN1") as history,
        case_over(database_url, tmp_path, **{DAGSTER: history}) as case,
    ):
        done = case.run("sync", "all")

        assert done.returncode == 2, done
        assert "lacks a character of a tenant" in done.stderr
        assert "Set `dagster.storage_url` or `state.url`" in done.stderr
        assert "Traceback" not in done.stderr
        assert {it["points"] for it in case.scopes("status").values()} == {0}
