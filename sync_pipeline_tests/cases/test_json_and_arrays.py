"""Case json-and-arrays: translated names in JSON, tags in an array (scenario S64)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.entity import Entity
from sync_pipeline_tests.reliability.site import Site

GOOD: Final = Entity(
    name="good",
    table="goods",
    views=(("text", ("name", "label", "tags")),),
    payload=(("tags", "tags"), ("label", "label")),
)
CREATE: Final = """
CREATE TABLE goods (
    id integer PRIMARY KEY, tenant_id text NOT NULL, is_global boolean NOT NULL DEFAULT false,
    name json NOT NULL, label jsonb NOT NULL, tags text[]
)
"""
INSERT: Final = (
    "INSERT INTO goods VALUES (:id, 'acme', false, "
    "CAST(:name AS json), CAST(:label AS jsonb), CAST(:tags AS text[]))"
)
NAME: Final = {"ru": "Бетон морозостойкий", "en": "Frost-proof concrete"}
LABEL: Final = {"ru": "Бетон", "en": "Concrete"}
ROWS: Final[tuple[tuple[object, object, str], ...]] = (
    (NAME, LABEL, '{"ready mix",outdoor,NULL,C25/30}'),
    ("Кирпич красный", "brick", r'{"say \"hi\""}'),
    ({}, [], "{}"),
)


@pytest.fixture
def goods(engine: Engine, tmp_path: Path) -> Site:
    """The table of the case, synced."""
    site = Site(engine, tmp_path, entity=GOOD)
    site.sql(CREATE)
    for number, (name, label, tags) in enumerate(ROWS, start=1):
        # Escaped, as many programs write it.
        site.sql(INSERT, id=number, name=json.dumps(name), label=json.dumps(label), tags=tags)
    site.run()
    return site


def test_a_text_is_the_words_of_its_json_and_its_array(goods: Site) -> None:
    assert goods.texts() == {
        "1": "Бетон морозостойкий Frost-proof concrete Concrete Бетон ready mix outdoor C25/30",
        "2": 'Кирпич красный brick say "hi"',
    }


def test_a_row_of_empty_containers_has_nothing_to_embed_and_is_counted(goods: Site) -> None:
    ((_, rejection),) = goods.sync.quarantine.list_all()

    assert (rejection.db_id, rejection.reason) == ("3", "empty_text")
    assert rejection.detail == "nothing to embed in name, label, tags"


def test_the_payload_keeps_the_structure(goods: Site) -> None:
    payloads = goods.payloads()

    assert payloads["1"]["tags"] == ["ready mix", "outdoor", None, "C25/30"]
    assert payloads["1"]["label"] == LABEL
    assert payloads["2"]["label"] == "brick"


@pytest.mark.parametrize(
    ("text", "first"), [("Кирпич", "2"), ("морозостойкий", "1"), ("outdoor", "1"), ("brick", "2")]
)
def test_a_word_inside_finds_its_row_first(goods: Site, text: str, first: str) -> None:
    assert goods.found("acme", text)[0] == f"tenant-good-{first}"


def test_a_key_is_no_word(goods: Site) -> None:
    goods.sql("""UPDATE goods SET name = '{"brick"\\: "stone"}' WHERE id = 1""")
    goods.run()

    assert "brick" not in goods.texts()["1"]


def test_a_change_inside_is_noticed_and_nothing_else_is_written(goods: Site) -> None:
    goods.sql("""UPDATE goods SET label = '{"ru"\\: "Бетон", "en"\\: "Cement"}' WHERE id = 1""")

    changed, again = goods.run(), goods.run()

    assert (changed.changed, changed.unchanged) == (1, 1)
    assert again.unchanged == 2
    assert goods.is_clean()
