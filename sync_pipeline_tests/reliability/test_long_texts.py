"""S27: texts that are longer than a model reads, with the real model, database and index.

And views with models of their own, through a change of the settings and back.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.cases.installation import Case

SUBJECTS: Final = (
    "cement", "gravel", "brickwork", "plaster", "insulation", "roof tiles", "copper pipe",
    "floor screed", "window frames", "paint",
)  # fmt: skip
ENDINGS: Final = {
    "s1": "In winter the greenhouse of the old botanist is full of singing canaries.",
    "s2": "The lighthouse keeper repairs violins for the village orchestra.",
    "s3": "Penguins at the zoo are fed with herring every afternoon.",
}
LENGTH: Final = 20_000
STORIES: Final = """
embedding: {provider: sentence-transformers}
entities:
  - name: story
    table: stories
    tenant: {value: acme}
    is_global: false
    updated_at: updated_at
    views:
      title: [title]
      body: {columns: [body], long: true}
"""


def story(seed: int, *, ending: str) -> str:
    """A text of 20,000 characters; what the last sentence says stands nowhere else."""
    chance = random.Random(seed)  # noqa: S311 - a sample
    sentences: list[str] = []
    while sum(map(len, sentences)) + len(sentences) < LENGTH - len(ending):
        first, second = chance.sample(SUBJECTS, 2)
        number = chance.randint(2, 99)
        sentences.append(
            chance.choice(
                [
                    f"For {first} the site needs {number} pallets before the {second} arrives.",
                    f"The price of {first} rose by {number} percent while {second} became cheaper.",
                    f"Store {first} dry, at least {number} cm above the ground, next to {second}.",
                ]
            )
        )
    return " ".join([*sentences, ending])


@pytest.fixture
def case(database_url: str, tmp_path: Path) -> Case:
    """A table of stories."""
    case = Case(driver_url(database_url, "libpq"), tmp_path)
    case.sql(
        "CREATE TABLE stories (id text PRIMARY KEY, title text, body text, "
        "updated_at timestamptz NOT NULL DEFAULT now())"
    )
    for seed, (row_id, ending) in enumerate(ENDINGS.items()):
        body = story(seed, ending=ending)
        case.sql(
            f"INSERT INTO stories (id, title, body) VALUES ('{row_id}', '{row_id}', '{body}')"  # noqa: S608 - a test's own words
        )
    return case


@pytest.fixture
def stories(case: Case) -> Case:
    """With the real model, and long texts."""
    case.environment["SYNC_PIPELINE__EMBEDDING__PROVIDER"] = "sentence-transformers"
    case.settings(STORIES)
    return case


def found(case: Case, text: str) -> dict[str, Any]:
    """The first hit of a search by the meaning of the long texts."""
    answer = case.ask("search", text, "--tenant", "acme", "--view", "body", "--passages")
    hit: dict[str, Any] = answer["hits"][0]
    return hit


def synced(case: Case) -> dict[str, Any]:
    answer = case.ask("sync", "all")
    report: dict[str, Any] = next(it for it in answer["scopes"] if it["scope_key"] == "acme")
    assert report["status"] == "success", answer
    return report


@pytest.mark.model
@pytest.mark.process
def test_s27_the_end_of_a_long_text_is_found_by_its_meaning(stories: Case) -> None:
    first = synced(stories)
    assert first["truncated"] == 0
    assert 100 < first["texts"] < 400

    hit = found(stories, "birds that sing in a glass house during the cold season")
    [passage] = hit["passages"]
    assert hit["payload"]["dbId"] == "s1"
    assert "canaries" in passage["text"]
    assert hit["text"][passage["start"] : passage["stop"]].strip() == passage["text"]
    assert passage["start"] > LENGTH - 1_000

    stories.sql(
        "UPDATE stories SET updated_at = now(), body = replace(body, "
        "'Penguins at the zoo are fed with herring every afternoon.', "
        "'The submarine captain collects stamps from distant islands.') WHERE id = 's3'"
    )
    assert 1 <= synced(stories)["embedded_texts"] <= 2
    assert found(stories, "postage from remote isles")["payload"]["dbId"] == "s3"

    # Shorter, and reopened by another process: nothing of what stood there is found.
    stories.sql(
        "UPDATE stories SET updated_at = now(), body = left(body, 2000) WHERE id = 's2'",
        "DELETE FROM stories WHERE id = 's1'",
    )
    synced(stories)
    assert "violins" not in found(stories, "repairing musical instruments")["text"]
    assert found(stories, "birds that sing")["payload"]["dbId"] != "s1"
    assert stories.ask("verify", "all")["ok"]

    shutil.rmtree(stories.folder / "home" / "index")
    rebuilt = stories.ask("index", "rebuild")
    assert {report["embedded_texts"] for report in rebuilt["scopes"]} == {0}
    assert stories.ask("verify", "all")["ok"]


VIEWS: Final = """
embedding:
  provider: hashing
  dimension: 64
  models:
    titles: {{provider: hashing, dimension: {titles}}}
entities:
  - name: story
    table: stories
    tenant: {{value: acme}}
    is_global: false
    updated_at: updated_at
    views:
      title: {{columns: [title], model: titles}}
      body: {{columns: [body], long: true, passage_tokens: {tokens}}}
"""


@pytest.mark.process
def test_another_model_of_one_view_and_other_passages_are_filled_beside_what_serves(
    case: Case,
) -> None:
    case.settings(VIEWS.format(titles=32, tokens=100))
    case.sql(
        *(
            f"UPDATE stories SET title = 'story {row_id} about {ending}' WHERE id = '{row_id}'"  # noqa: S608 - a test's own words
            for row_id, ending in ENDINGS.items()
        )
    )
    first = synced(case)
    before = serving(case)

    case.settings(VIEWS.format(titles=48, tokens=100))
    planned = case.ask("index", "plan")
    assert (planned["texts_to_embed"], planned["documents"]) == (3, 3)
    assert case.ask("search", "herring", "--tenant", "acme")["hits"]
    assert synced(case)["embedded_texts"] == 3
    assert serving(case) != before

    case.settings(VIEWS.format(titles=48, tokens=50))
    assert synced(case)["embedded_texts"] > first["texts"]
    case.sql("UPDATE stories SET updated_at = now(), title = 'herring' WHERE id = 's2'")
    # What was embedded for the generations that are kept in step first is in the cache.
    assert synced(case)["embedded_texts"] == 0
    assert case.ask("verify", "all")["ok"]

    case.ask("index", "rollback")
    hits = case.ask("search", "herring", "--tenant", "acme", "--view", "title")["hits"]
    texts = {hit["payload"]["dbId"]: hit["text"] for hit in hits}
    assert texts["s2"].startswith("herring ")


def serving(case: Case) -> str:
    """The collection that searches are answered from."""
    [name] = [
        it["collection"]
        for it in case.ask("index", "status")["generations"]
        if it["role"] == "serving"
    ]
    return str(name)
