"""Case messy-names: names out of web shops, PDF price lists and spreadsheets (scenario S64)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import SparseVector
from sync_pipeline.embedding.bm25 import Bm25Encoder, _spelled
from sync_pipeline_tests.reliability.site import Site

ITEM: Final = Entity(name="item", table="shop", views=(("text", ("name",)),), markup="html")
NAMES: Final = {
    "1": "Fliesen\u00adkleber flex 25\u00a0kg",
    "2": "Kabelkanal\u200bweiss 40x60",
    "3": "D&uuml;bel &amp; Schrauben &quot;Profi&quot; 3&frac12; mm",
    "4": "<p>Mörtel<br>schnell<br/>abbindend</p>",
    "5": "\ufb01re-rated board 15\u2009mm",
    "6": "Брус 50\u0445150 сосна",
    "7": "\u202bבטון ב30\u202c",
    "8": "Steckdose IP44\ufeff",
    "9": "M\u0131cır 0\u20135 mm",
    "10": "\u00c3\u2013lfarbe wei\u00c3\u0178",
    "11": "\u2026",
    "12": "-",
    "13": "n/a",
    "14": "\u2800\u3164",
}
TEXTS: Final = {
    "1": "Fliesenkleber flex 25 kg",
    "2": "Kabelkanal weiss 40x60",
    "3": 'Dübel & Schrauben "Profi" 3½ mm',
    "4": "Mörtel schnell abbindend",
    "5": "\ufb01re-rated board 15 mm",
    "6": "Брус 50\u0445150 сосна",
    "7": "בטון ב30",
    "8": "Steckdose IP44",
    "9": "M\u0131cır 0\u20135 mm",
    "10": "\u00c3\u2013lfarbe wei\u00c3\u0178",
    "13": "n/a",
}


class EncoderOfBefore(Bm25Encoder):
    """Writes documents as they were before look-alikes were one; searches as ever."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return [self._encode_document(_spelled(text)) for text in texts]


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Site:
    """The table of the case, not synced yet."""
    site = Site(engine, tmp_path, entity=ITEM)
    site.sql("CREATE TABLE shop (id int PRIMARY KEY, tenant_id text, is_global boolean, name text)")
    for row_id, name in NAMES.items():
        site.sql(
            "INSERT INTO shop VALUES (CAST(:id AS int), 'acme', false, :name)", id=row_id, name=name
        )
    return site


def test_texts_are_the_words_that_people_see(shop: Site) -> None:
    shop.run()

    assert shop.texts() == TEXTS


def test_names_without_a_letter_or_digit_are_counted_and_not_embedded(shop: Site) -> None:
    report = shop.run()

    named = {rejection.db_id: rejection.reason for _, rejection in shop.sync.quarantine.list_all()}
    assert (report.documents, report.quarantined) == (11, 3)
    assert named == {"11": "empty_text", "12": "empty_text", "14": "empty_text"}


def test_without_the_setting_markup_stays_as_it_is(shop: Site) -> None:
    shop.entity = replace(ITEM, markup="none")

    shop.run()

    assert shop.texts() == TEXTS | {row_id: NAMES[row_id] for row_id in ("3", "4")}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Fliesenkleber", "1"),
        ("weiss", "2"),
        ("Kabelkanal", "2"),
        ("Dübel", "3"),
        ("Schrauben", "3"),
        ("schnell", "4"),
        ("fire", "5"),
        ("50x150", "6"),
        ("50\u0445150", "6"),
        ("50\u00d7150", "6"),
        ("בטון", "7"),
        ("Steckdose", "8"),
        ("IP44", "8"),
    ],
)
def test_a_name_is_found_by_its_words(shop: Site, text: str, first: str) -> None:
    shop.run()

    assert shop.found("acme", text, mode="text")[0] == f"tenant-item-{first}"


@pytest.mark.parametrize("text", ["50x150", "50\u0445150", "50\u00d7150"])
def test_a_point_written_before_is_found_and_not_written_again(shop: Site, text: str) -> None:
    before = shop.sync.rebound(sparse=EncoderOfBefore("english"))
    shop.run(sync=before)

    again = shop.run()

    assert (again.unchanged, again.new, again.changed, again.payload_changed) == (11, 0, 0, 0)
    assert before.spec.collection == shop.collection
    assert shop.found("acme", text, mode="text")[0] == "tenant-item-6"
