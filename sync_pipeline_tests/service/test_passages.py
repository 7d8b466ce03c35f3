"""Searches of long texts over HTTP, on the page, and by an assistant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync_pipeline.service.tool_models import SearchArguments
from sync_pipeline.service.tools import MAX_HIT_TEXT, Asker, search_catalogue
from sync_pipeline_tests.cli.installed import ENTITIES, CommandLine, row
from sync_pipeline_tests.service.served import Served, serving

ENDING = "Canaries nest below the skylight."
STORY = " ".join(f"Chapter {number} is about mortar number {number}." for number in range(400))


def prepare(run: CommandLine) -> None:
    """Names of materials are long texts."""
    material, work = ENTITIES
    long = replace(material, views=(("story", ("name",)),), long_views=(("story", 20),))
    run.source.tables["materials"].append(row("long", f"{STORY} {ENDING}", tenant="acme"))
    run.use(run.sync.rebound(entities=(long, work)))
    assert run("sync", "all").exit_code == 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, is_synced=False, prepare=prepare) as served:
        yield served


def test_a_hit_names_the_passage_that_is_meant(served: Served) -> None:
    answer = served.search(ENDING, view="story", mode="dense", passages=True)

    hit = answer["hits"][0]
    [passage] = hit["passages"]
    assert hit["payload"]["dbId"] == "long"
    assert passage["view"] == "story"
    assert "Canaries nest" in passage["text"]
    assert hit["text"][passage["start"] : passage["stop"]].strip() == passage["text"]
    assert passage["score"] <= 1.001


def test_nothing_is_said_of_passages_where_nobody_asks(served: Served) -> None:
    answer = served.search(ENDING, view="story", mode="dense")

    assert answer["hits"][0]["passages"] is None


def test_the_page_shows_the_passage_and_not_the_beginning(served: Served) -> None:
    page = served.client.get(
        "/search", params={"q": ENDING, "tenant": "acme"}, headers=served.headers("admin", None)
    )

    assert page.status_code == 200
    assert "Canaries nest" in page.text


def test_an_assistant_reads_the_passage_and_the_beginning_of_a_long_text(served: Served) -> None:
    service = served.app.state.service
    asker = Asker.of(service.authenticator.verify(served.token()))

    answer = search_catalogue(service, asker, SearchArguments(query=ENDING))

    hit = next(hit for hit in answer.hits if hit.document_id == "tenant-material-long")
    assert hit.text == f"{STORY[:MAX_HIT_TEXT]}..."
    assert hit.passages is not None
    assert "Canaries nest" in hit.passages[0].text
