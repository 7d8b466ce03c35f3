"""A provider that is down, with everything real but the providers: two services of the suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.search import SearchRequest, SearchResult, search
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import open_installation
from sync_pipeline_tests.embedding.service import (
    DIMENSION,
    Answer,
    EmbeddingService,
    running_service,
)

pytestmark = [pytest.mark.process, pytest.mark.slow]

ACME = Scope("acme")
DOWN = [Answer(status=401)] * 100
"""A key that is not accepted any more: nobody waits for that to pass."""
ENTITIES = """
entities:
  - {name: material, table: materials, id: id, tenant: tenant_id, is_global: is_global,
     views: {text: [name]}}
"""


@pytest.fixture
def first() -> Iterator[EmbeddingService]:
    with running_service() as service:
        yield service


@pytest.fixture
def second() -> Iterator[EmbeddingService]:
    with running_service() as service:
        yield service


class Installed:
    """An installation whose settings can be changed, opened as every program opens it."""

    def __init__(self, database_url: str, folder: Path, first: EmbeddingService) -> None:
        self.folder = folder
        self.first = first
        self.env = {"DATABASE_URL": database_url, "SYNC_PIPELINE_HOME": str(folder / "home")}
        self.fallbacks: list[dict[str, object]] = []
        self.runs = 0

    @property
    def sync(self) -> SyncContext:
        path = self.folder / "settings.yaml"
        path.write_text(
            f"embedding: {{provider: openai, model: small, dimension: {DIMENSION}, "
            f'base_url: "{self.first.url}", fallbacks: {json.dumps(self.fallbacks)}}}\n{ENTITIES}'
        )
        settings = load_settings(config=path, env=self.env)
        return open_installation(settings).sync

    def run(self, scope: Scope = ACME) -> tuple[int, int]:
        """Texts embedded and documents that wait."""
        self.runs += 1
        report = sync_scope(self.sync, scope=scope, run_id=f"run-{self.runs}")
        return report.embedded_texts, report.pending

    def ask(self, words: str) -> SearchResult:
        return search(self.sync, scope=ACME, request=SearchRequest(text=words))

    def insert(self, *names: str) -> None:
        with open_installation(
            load_settings(config=None, env=self.env)
        ).source_engine.begin() as connection:
            for name in names:
                connection.execute(
                    text("INSERT INTO materials VALUES (:id, 'acme', false, :id)"), {"id": name}
                )


@pytest.fixture
def installed(database_url: str, tmp_path: Path, first: EmbeddingService) -> Installed:
    made = Installed(database_url, tmp_path, first)
    env = {**made.env, "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing"}
    with open_installation(load_settings(config=None, env=env)).source_engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE materials (id text PRIMARY KEY, tenant_id text, "
                "is_global boolean NOT NULL, name text)"
            )
        )
    made.insert("cement", "gravel", "sand")
    return made


def test_the_same_model_elsewhere_continues_in_place(
    installed: Installed, second: EmbeddingService
) -> None:
    installed.fallbacks = [
        {"provider": "openai", "model": "renamed", "dimension": DIMENSION, "base_url": second.url}
    ]
    assert installed.run() == (3, 0)
    installed.insert("brick")
    installed.first.script = list(DOWN)

    embedded = installed.run()

    assert embedded == (1, 0)
    assert "brick" in second.texts()
    assert installed.ask("brick").degraded is None
    assert verify_scope(installed.sync, scope=ACME).is_clean


def test_another_model_never_comes_in_and_stands_by_for_searches(
    installed: Installed, second: EmbeddingService
) -> None:
    second.model = "another model"
    installed.fallbacks = [
        {"provider": "openai", "model": "other", "dimension": DIMENSION, "base_url": second.url}
    ]
    installed.run()
    installed.run(GLOBAL)
    # It is known for another model by now, and gets an index of its own.
    installed.fallbacks[0]["timeout_seconds"] = 59
    installed.run()
    installed.run(GLOBAL)
    installed.insert("brick")
    installed.first.script = list(DOWN)

    waiting = installed.run()
    found = installed.ask("brick")

    assert waiting == (0, 1)
    assert str(found.degraded).startswith("searched with the model openai:other")
    assert found.hits[0].text == "brick"
    installed.first.script = []
    with installed.sync.store() as store:
        assert len(store.list_collections()) == 2
    with open_installation(
        load_settings(config=None, env=installed.env)
    ).state_engine.begin() as connection:
        connection.execute(text("DELETE FROM sync_pipeline.embedding_provider"))
    assert installed.run() == (1, 0)
    assert installed.ask("brick").degraded is None
    assert verify_scope(installed.sync, scope=ACME).is_clean


def test_with_nobody_left_words_are_searched_and_documents_wait(
    installed: Installed, second: EmbeddingService
) -> None:
    installed.fallbacks = [
        {"provider": "openai", "model": "renamed", "dimension": DIMENSION, "base_url": second.url}
    ]
    installed.run()
    installed.insert("brick")
    installed.first.script, second.script = list(DOWN), list(DOWN)

    assert installed.run() == (0, 1)
    found = installed.ask("brick")

    assert str(found.degraded).startswith("searched by words alone")
    assert [hit.text for hit in found.hits] == ["brick"]
