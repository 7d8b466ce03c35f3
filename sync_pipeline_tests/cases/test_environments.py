"""One settings file, two databases: what is done in one environment is not done in the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.encoded import encoded_database

SETTINGS = """
entities: [{name: item, table: items, views: {text: [name]}}]
environments:
  dev: {source: {url: "${DEV_DATABASE_URL}"}}
  prod: {protected: true, source: {url: "${PROD_DATABASE_URL}"}}
"""
TABLE = (
    "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, "
    "name text)"
)


@pytest.fixture
def both(database_url: str, tmp_path: Path) -> Iterator[Case]:
    """Dev has bolts, prod has nuts; ``DATABASE_URL`` is not set."""
    dev = driver_url(database_url, "libpq")
    with encoded_database(database_url, "UTF8") as prod:
        for url, name in ((dev, "dev bolt"), (prod, "prod nut")):
            Case(url, tmp_path).sql(
                TABLE,
                f"INSERT INTO items VALUES (1, 'acme', false, '{name}')",  # noqa: S608 - ours
            )
        case = Case(
            dev,
            tmp_path,
            {"DATABASE_URL": "", "DEV_DATABASE_URL": dev, "PROD_DATABASE_URL": prod},
        )
        case.settings(SETTINGS)
        yield case


def test_each_environment_has_its_own_documents_and_says_which_it_is(both: Case) -> None:
    synced = [both.ask("--env", name, "sync", "all") for name in ("dev", "prod")]
    found = {
        name: both.ask("search", "bolt", "--tenant", "acme", SYNC_PIPELINE_ENV=name)
        for name in ("dev", "prod")
    }
    told = both.run("--env", "prod", "doctor")

    assert [(it["ok"], it["environment"]) for it in synced] == [(True, "dev"), (True, "prod")]
    assert {name: [hit["text"] for hit in it["hits"]] for name, it in found.items()} == {
        "dev": ["dev bolt"],
        "prod": ["prod nut"],
    }
    assert told.returncode == 0, told.stdout
    assert told.stderr.splitlines()[0] == "environment prod (protected)"
    homes = sorted(path.name for path in (both.folder / "home").iterdir())
    assert homes == ["dev", "prod"]


def test_a_protected_environment_loses_nothing_without_its_name(both: Case) -> None:
    both.ask("--env", "prod", "sync", "all")
    words = ("--env", "prod", "tenants", "remove", "acme", "--yes", "--even-with-rows")

    refused = both.run(*words)
    kept = both.ask("--env", "prod", "tenants")["tenants"]
    removed = both.run(*words, "--confirm-env", "prod")

    assert refused.returncode == 2
    assert "--confirm-env prod" in refused.stderr
    assert [(it["tenant_id"], it["points"]) for it in kept] == [("acme", 1)]
    assert removed.returncode == 0, removed.stderr


def test_a_database_url_that_is_set_for_dev_does_not_become_that_of_prod(both: Case) -> None:
    refused = both.run("--env", "prod", "sync", "all", "--json", DATABASE_URL=both.url)

    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["type"] == "SettingsError"
    assert "DATABASE_URL (source.url): leads elsewhere" in refused.stderr
    assert "postgres@" not in refused.stderr
