"""A text that the database computes from other columns whenever it is read."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.sources.feed_support import has_virtual_columns


@pytest.fixture
def panels(case: Case, engine: sa.Engine) -> Case:
    if not has_virtual_columns(engine):
        pytest.skip("this server has no virtual columns")
    case.settings(
        "entities: [{name: panel, table: panels, views: {text: [title]}, "
        "payload: {areaKey: area_key}}]"
    )
    case.sql(
        "CREATE TABLE panels (id integer PRIMARY KEY, tenant_id text NOT NULL, "
        "is_global boolean NOT NULL DEFAULT false, brand text NOT NULL, width_mm integer NOT NULL, "
        "title text GENERATED ALWAYS AS (brand || ' panel ' || width_mm::text || ' mm'), "
        "area_key integer GENERATED ALWAYS AS (width_mm / 100) STORED)",
        "INSERT INTO panels VALUES (1, 'acme', false, 'Knauf', 600), "
        "(2, 'acme', false, 'Rigips', 1200)",
    )
    return case


def test_s62_a_change_of_base_columns_only_is_followed(panels: Case) -> None:
    """The texts and payloads that depend on them are those of the database."""
    assert panels.run("feed", "install").returncode == 0
    panels.scopes("sync", "all")

    panels.sql(
        "UPDATE panels SET width_mm = 620 WHERE id = 1",
        "UPDATE panels SET brand = 'Siniat' WHERE id = 2",
        "INSERT INTO panels VALUES (3, 'acme', false, 'Norgips', 900)",
    )
    report = panels.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["new"], report["changed"]) == (1, 2)
    assert sorted(panels.found("panel", tenant="acme")) == [
        "Knauf panel 620 mm",
        "Norgips panel 900 mm",
        "Siniat panel 1200 mm",
    ]
    assert panels.ask("verify", "all")["ok"]


def test_s62_another_expression_makes_the_next_sync_look_at_every_row(panels: Case) -> None:
    """No row was touched, and each text is another."""
    assert panels.run("feed", "install").returncode == 0
    panels.scopes("sync", "all")

    panels.sql("ALTER TABLE panels ALTER title SET EXPRESSION AS (brand || ' board')")
    (status,) = panels.ask("feed", "status")["entities"]
    report = panels.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert status["state"] == "outdated"
    assert report["changed"] == 2
    assert panels.ask("verify", "all")["ok"]
