"""Case unknown-script (S70): catalogues in scripts that the bundled model does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import Scope
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.engine.questions.doctor import words_known
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline_tests.reliability.site import Site

TABLE = """
CREATE TABLE materials_am (id int PRIMARY KEY, tenant_id text, is_global boolean, name text)
"""
ROWS = {
    "addis": ["ሲሚንቶ", "ቀለም", "ብሎኬት", "Cement"],
    "phnom": ["ស៊ីម៉ងត៍", "ថ្នាំលាប 5 l"],
    "moskva": ["Цемент М500 мешок 50 кг", "Штукатурка гипсовая Ротбанд"],
    "london": ["Portland cement 50 kg", "Gypsum plaster"],
}

pytestmark = pytest.mark.model


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    entity = Entity(name="material", table="materials_am", views=(("text", ("name",)),))
    with engine.begin() as connection:
        connection.execute(text(TABLE))
        for number, (tenant, name) in enumerate(
            (tenant, name) for tenant, names in ROWS.items() for name in names
        ):
            connection.execute(
                text("INSERT INTO materials_am VALUES (:number, :tenant, false, :name)"),
                {"number": number, "tenant": tenant, "name": name},
            )
    embedder = SentenceTransformersEmbedder(device="cpu")
    return Site(engine=engine, folder=tmp_path, entity=entity, embedder=embedder)


def unknown(site: Site, tenant: str) -> Any:
    report = sync_scope(site.sync, scope=Scope(tenant), run_id=f"run-{tenant}")
    return report.unknown["text"]


@pytest.mark.parametrize(
    ("tenant", "texts", "unknown_texts"),
    [
        pytest.param("addis", 4, 3, id="Amharic, and one English text"),
        pytest.param("phnom", 2, 2, id="Khmer"),
        pytest.param("moskva", 2, 0, id="Russian"),
        pytest.param("london", 2, 0, id="English"),
    ],
)
def test_a_sync_counts_the_texts_that_the_model_does_not_know(
    site: Site, tenant: str, texts: int, unknown_texts: int
) -> None:
    found = unknown(site, tenant)

    assert (found["texts"], found["unknown_texts"]) == (texts, unknown_texts)
    assert (found["unknown_tokens"] > 0) is (unknown_texts > 0)


def test_doctor_names_the_view_and_a_model_that_helps(site: Site) -> None:
    finding = words_known(site.sync)

    assert not finding.ok
    assert "material.text: the model does not know 5 of 10 texts" in finding.detail
    assert "intfloat/multilingual-e5-small" in finding.fix


def test_doctor_is_content_with_scripts_that_the_model_knows(site: Site, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM materials_am WHERE tenant_id NOT IN ('moskva', 'london')")
        )

    finding = words_known(site.sync)

    assert finding.ok
    assert finding.detail == "the model knows the 4 texts that were looked at"
