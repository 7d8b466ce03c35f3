"""A table with neither a tenant column nor a flag: both are generated, virtual by default."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.sources.feed_support import has_virtual_columns


@pytest.fixture
def entries(case: Case, engine: sa.Engine) -> Case:
    if not has_virtual_columns(engine):
        pytest.skip("this server has no virtual columns")
    case.settings("entities: [{name: entry, table: entries, views: {text: [name]}}]")
    case.sql(
        "CREATE TABLE entries (id integer PRIMARY KEY, meta jsonb NOT NULL, name text NOT NULL, "
        "tenant_id text GENERATED ALWAYS AS (meta ->> 'account'), "
        "is_global boolean GENERATED ALWAYS AS (meta ->> 'account' IS NULL))",
        """INSERT INTO entries VALUES (1, '{"account": "acme"}', 'bolt')""",
        "INSERT INTO entries VALUES (2, '{}', 'shared nut'), (5, '{}', 'shared bolt')",
    )
    return case


def test_s62_the_application_s_own_statements_work_and_each_is_followed(entries: Case) -> None:
    """New rows, a new text, another owner, a deletion."""
    assert entries.run("feed", "install").returncode == 0
    entries.scopes("sync", "all")

    entries.sql(
        """INSERT INTO entries VALUES (3, '{"account": "acme"}', 'new washer'), """
        """(4, '{"account": "globex"}', 'first of globex')""",
        "UPDATE entries SET name = 'bolt M8' WHERE id = 1",
        """UPDATE entries SET meta = '{"account": "globex"}' WHERE id = 1""",
        "DELETE FROM entries WHERE id = 5",
    )
    reports = entries.scopes("sync", "all", "--mode", "incremental")

    assert {key: report["status"] for key, report in reports.items()} == {
        "acme": "success",
        "global": "success",
        "globex": "success",
    }
    assert sorted(entries.found("washer", tenant="acme")) == ["new washer", "shared nut"]
    assert sorted(entries.found("bolt", tenant="globex")) == [
        "bolt M8",
        "first of globex",
        "shared nut",
    ]
    assert entries.ask("verify", "all")["ok"]


def test_s62_the_feed_of_virtual_columns_has_no_blind_spot(entries: Case) -> None:
    """And it is said."""
    installed = entries.ask("feed", "install")
    (status,) = entries.ask("feed", "status")["entities"]

    assert installed["ok"]
    assert status["state"] == "installed"
    assert status["blind_spots"] == []
    assert status["epoch"] == installed["entities"][0]["epoch"] is not None
