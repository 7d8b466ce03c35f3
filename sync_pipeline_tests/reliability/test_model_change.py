"""A model change under fire: killed at every call that matters, read and written meanwhile."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import pytest

from sync_pipeline.core.scope import Scope
from sync_pipeline.engine import embedders
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.generation import Generation, bind_generation, with_views
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.roles import serving
from sync_pipeline.engine.switching import drop, go_back, go_live, go_live_when_filled
from sync_pipeline_tests.fakes.embedder import FakeEmbedder
from sync_pipeline_tests.reliability.catalogue import Catalogue, Found
from sync_pipeline_tests.reliability.crashing import Driver
from sync_pipeline_tests.reliability.site import Site

WHILE_FILLING: Final[tuple[tuple[str, str, int], ...]] = (
    ("generations.record", "before", 1),
    ("generations.record", "after", 1),
    ("embedder.embed", "after", 1),
    ("cache.put", "after", 1),
    ("store.upsert", "before", 1),
    ("store.upsert", "after", 2),
    ("store.upsert", "after", 9),
    ("store.delete", "after", 1),
    ("state.record_synced", "before", 1),
    ("state.record_synced", "after", 4),
    ("scopes.record_success", "before", 2),
    ("scopes.record_success", "after", 2),
    ("scopes.record_success", "after", 3),
    ("leases.release", "after", 3),
    ("store.set_alias", "before", 1),
    ("store.set_alias", "after", 1),
    ("generations.note_serving", "before", 1),
    ("generations.note_serving", "after", 1),
)
WHILE_DROPPING: Final[tuple[tuple[str, str, int], ...]] = (
    ("store.drop_collection", "before", 1),
    ("store.drop_collection", "after", 1),
    ("state.clear", "after", 1),
    ("scopes.clear", "after", 1),
    ("generations.forget", "before", 1),
    ("generations.forget", "after", 1),
)


REPETITIONS: Final = int(os.environ.get("SYNC_PIPELINE_CHAOS", "0"))
EACH: Final = 1 if REPETITIONS else 3
"""Every place under ``make chaos``, every third otherwise: each costs four processes."""


def found(answer: dict[str, object]) -> list[Found]:
    points = answer["points"]
    assert isinstance(points, list)
    return [Found(*point) for point in points]


@pytest.mark.slow
def test_s20_a_kill_at_any_call_of_a_model_change_loses_and_resurrects_nothing(
    driver: Driver, catalogue: Catalogue
) -> None:
    """At every instant searches are answered from one whole generation."""
    dimensions = itertools.cycle([24, 16])
    serves = driver.ask(dimension=16)["answer"]["serves"]
    for (place, when, number), dimension in zip(WHILE_FILLING[::EACH], dimensions, strict=False):
        settled = set(found(driver.ask(do="look", dimension=40 - dimension)["answer"]))
        catalogue.change(share=0.1)
        kill = {"place": place, "when": when, "number": number}
        killed = driver.ask(kill=kill, dimension=dimension)
        assert killed["signal"] == 9, f"never came to {kill}: {killed}"

        looked = driver.ask(do="look", dimension=dimension)["answer"]
        # What a search finds now was in the source before or after the change.
        assert {it.document_id for it in found(looked)} <= {
            it.document_id for it in settled | catalogue.expected()
        }
        assert looked["hits"] == 10

        mended = driver.ask(dimension=dimension)["answer"]
        assert mended["differences"] == {}, kill
        assert set(found(mended)) == catalogue.expected(), kill
        assert len(found(mended)) == len(set(found(mended)))
        assert mended["serves"] == mended["wanted"] != serves, kill
        serves = mended["serves"]
        driver.ask(do="drop", dimension=dimension)
    assert driver.embedded_twice() == set()


@pytest.mark.slow
def test_s20_a_kill_while_a_generation_is_dropped_is_finished_by_dropping_again(
    driver: Driver, catalogue: Catalogue
) -> None:
    driver.ask(dimension=16)
    for (place, when, number), dimension in zip(
        WHILE_DROPPING[::EACH], itertools.cycle([24, 16]), strict=False
    ):
        driver.ask(dimension=dimension)
        killed = driver.ask(
            do="drop",
            dimension=dimension,
            kill={"place": place, "when": when, "number": number},
        )
        assert killed["signal"] == 9, (place, killed)

        driver.ask(do="drop", dimension=dimension)
        catalogue.change(share=0.05)
        mended = driver.ask(dimension=dimension)["answer"]

        assert mended["differences"] == {}
        assert set(found(mended)) == catalogue.expected()
        assert mended["serves"] == mended["wanted"]


class Models:
    """A site whose settings name one of several models."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.models = {name: FakeEmbedder(model_id=name) for name in ("old", "new")}
        self.wanted = "old"

    @property
    def sync(self) -> SyncContext:
        sync = self.site.sync.rebound(embedder=self.models[self.wanted])

        def open_generation(record: object) -> Generation | None:
            model_id = record.model_id  # type: ignore[attr-defined]
            recipe = record.recipe  # type: ignore[attr-defined]
            return bind_generation(
                alias="documents",
                entities=with_views(sync.entities, recipe["views"]),
                models=embedders.Models(self.models[model_id]),
                sparse=sync.sparse,
                store=sync.store,
                records=sync.records,
            )

        return replace(sync, open_generation=open_generation)

    def run(self, key: str) -> None:
        self.site.run(key, sync=self.sync)
        go_live_when_filled(self.sync)

    def run_all(self) -> None:
        for key in ("global", "acme", "globex"):
            self.run(key)


@contextmanager
def reading(models: Models) -> Iterator[list[str]]:
    """Search all the time, as one tenant; what went wrong."""
    faults: list[str] = []
    searches: list[int] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            request = SearchRequest(text="cement g0001", limit=100)
            try:
                hits = search(models.sync, scope=Scope("acme"), request=request).hits
            except Exception as error:  # noqa: BLE001 - whatever it is, a search has failed
                faults.append(f"{type(error).__name__}: {error}")
                continue
            searches.append(len(hits))
            names = {str(hit.payload["dbId"]) for hit in hits}
            if not {f"g{number:04}" for number in range(1, 21)} <= names:
                faults.append(f"{len(names)} documents: {sorted(names)[:3]}")
            if any(hit.payload["scope_key"] == "globex" for hit in hits):
                faults.append("a foreign document")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield faults
    finally:
        is_over.set()
        reader.join()
    assert len(searches) > 10


@contextmanager
def writing(site: Site) -> Iterator[None]:
    """Insert, rename and delete rows of a tenant all the time."""
    is_over = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            site.sql(
                "INSERT INTO materials (id, tenant_id, name) VALUES (:id, 'acme', :name)",
                id=f"w{number}",
                name=f"sand {number}",
            )
            site.sql("DELETE FROM materials WHERE id = :id", id=f"w{number - 5}")
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


@pytest.mark.slow
def test_s20_a_continuous_reader_never_sees_an_error_or_a_gap_through_a_whole_model_change(
    site: Site,
) -> None:
    site.fill(20, tenant=None, prefix="g")
    site.fill(60, tenant="acme", prefix="a")
    site.fill(30, tenant="globex", prefix="x")
    site.allow_everything()
    models = Models(site)
    models.run_all()
    old = models.sync.spec.collection

    with writing(site), reading(models) as faults:
        models.wanted = "new"
        models.run_all()
        for _ in range(10):
            if go_live(models.sync).reason is None:
                break
            models.run_all()
        served = serving(models.sync)
        assert served is not None
        assert served.spec.model_id == "new"
        models.run_all()
        go_back(models.sync)
        models.run_all()
        switched = go_live(models.sync)
        if not switched.went_live:
            # Somebody writes all the time: what is as far from the source as what serves passes.
            models.run_all()
            switched = go_live(models.sync)
        assert switched.went_live, switched.reason
        drop(models.sync, collection=old)
        models.run_all()

    assert faults == []
    models.run_all()
    ids = {row_id for (row_id,) in _rows(site, "acme")}
    with models.sync.index() as index:
        assert index.count(scope_key="acme") == len(ids)


def _rows(site: Site, tenant: str) -> list[tuple[str]]:
    with site.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT id FROM materials WHERE tenant_id = %(tenant)s", {"tenant": tenant}
        )
        return [(str(row[0]),) for row in found]
