"""A first sync that is killed has embedded what comes first: a real database, a real index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from sync_pipeline.core.entity import Condition, Criterion
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.urls import driver_url
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline.engine.steps.priority import CHUNKS_PER_PIECE
from sync_pipeline_tests.reliability.catalogue import Catalogue
from sync_pipeline_tests.reliability.crash_driver import OPTIONS
from sync_pipeline_tests.reliability.crashing import Driver
from sync_pipeline_tests.reliability.site import MATERIAL, Site

ROWS = 300
PIECE = CHUNKS_PER_PIECE * OPTIONS.embed_chunk_size
ENTITY = {
    "name": "material",
    "table": "materials",
    "updated_at": "updated_at",
    "views": {"text": ["name"]},
    "priority": [
        {"when": {"unit": "active"}},
        {"column": "updated_at", "order": "descending"},
    ],
}


@pytest.fixture
def wanted(catalogue: Catalogue, database_url: str) -> list[str]:
    """Digests of the texts of tenant ``acme``, in the order in which they are wanted."""
    del catalogue  # there have to be tables
    with psycopg.connect(driver_url(database_url, "libpq"), autocommit=True) as connection:
        connection.execute("DELETE FROM materials")
        connection.execute(
            "INSERT INTO materials (id, tenant_id, name, unit, updated_at) "
            "SELECT 'm' || n, 'acme', 'cement ' || n || repeat(' and sand', n %% 5), "
            "CASE WHEN n %% 3 = 0 THEN 'active' END, now() - make_interval(hours => n * 7 %% 300) "
            "FROM generate_series(1, %s) n",
            [ROWS],
        )
        rows = connection.execute(
            "SELECT name FROM materials ORDER BY unit IS NULL, updated_at DESC"
        ).fetchall()
    return [digest(name) for (name,) in rows]


@pytest.fixture
def driver(
    wanted: list[str], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Driver]:
    del wanted  # there have to be rows
    monkeypatch.setenv("SYNC_PIPELINE__ENTITIES", json.dumps([ENTITY]))
    driver = Driver(tmp_path / "home", database=database_url)
    yield driver
    driver.close()


def embedded(driver: Driver, *, among: list[str]) -> list[str]:
    """Digests of texts in the order in which the model was given them, without the canaries."""
    lines = driver.log.read_text().splitlines()
    keys = [key for word, _, key in (line.partition(" ") for line in lines) if word == "embed"]
    return [key for key in dict.fromkeys(keys) if key in set(among)]


@pytest.mark.slow
def test_a_first_sync_that_is_killed_has_embedded_the_first_and_goes_on_from_there(
    driver: Driver, wanted: list[str]
) -> None:
    kill = {"place": "embedder.embed", "when": "before", "number": 14}
    died = driver.ask(scopes=["acme"], kill=kill)
    done = embedded(driver, among=wanted)

    assert died["signal"]
    assert PIECE < len(done) < ROWS / 2
    # Whatever was given to the model is of the first, but for the piece in hand.
    assert set(wanted[: len(done) - PIECE]) < set(done) < set(wanted[: len(done) + PIECE])

    answer = driver.ask(scopes=["acme"])["answer"]

    everything = embedded(driver, among=wanted)
    assert sorted(everything) == sorted(wanted)
    places = {key: place for place, key in enumerate(wanted)}
    assert max(abs(places[key] - place) for place, key in enumerate(everything)) < PIECE
    active = ROWS // 3
    assert set(everything[:active]) == set(wanted[:active])
    assert (answer["differences"], driver.embedded_twice()) == ({}, set())
    assert len(answer["points"]) == ROWS


def test_another_priority_embeds_and_writes_nothing_and_no_scope_is_due(site: Site) -> None:
    site.fill(30)
    site.run()
    before = list(site.embedder.embedded)
    site.entity = replace(
        MATERIAL,
        priority=(
            Criterion(when=(Condition("unit", ("kg",)),)),
            Criterion(column="price", is_descending=True),
        ),
    )

    is_due = judge_scopes(site.sync, scopes=[Scope("acme")])[0].is_due
    report = site.run()

    assert not is_due
    assert (report.unchanged, report.points_written, report.payloads_written) == (30, 0, 0)
    assert site.embedder.embedded == before
    assert verify_scope(site.sync, scope=Scope("acme")).is_clean


def test_an_incremental_sync_reads_ranks_of_what_was_touched(site: Site) -> None:
    site.entity = replace(MATERIAL, priority=(Criterion(column="price", is_descending=True),))
    site.options = replace(site.options, embed_chunk_size=1)
    site.fill(20)
    site.run()
    begun = len(site.embedder.embedded)
    site.sql("UPDATE materials SET name = 'sand ' || price, updated_at = now()")

    site.run(mode="incremental")

    prices = [int(text.split()[1]) for text in site.embedder.embedded[begun:]]
    assert [set(prices[:8]), set(prices[8:16]), set(prices[16:])] == [
        {*range(13, 21)},
        {*range(5, 13)},
        {*range(1, 5)},
    ]
