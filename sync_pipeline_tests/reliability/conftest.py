"""Real installations, and servers that fail on command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from sync_pipeline.database.urls import driver_url
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub
from sync_pipeline_tests.reliability.catalogue import Catalogue
from sync_pipeline_tests.reliability.crashing import Driver
from sync_pipeline_tests.reliability.site import TABLE, Site


@pytest.fixture
def site(engine: sa.Engine, tmp_path: Path) -> Site:
    """An empty table, an empty embedded index."""
    site = Site(engine, tmp_path)
    site.sql(TABLE)
    return site


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    """A Qdrant server that fails on command."""
    with running_stub() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """Seconds that a client of the stub was told to wait, instead of waiting."""
    return []


@pytest.fixture
def server_site(site: Site, stub: QdrantStub, waits: list[float]) -> Site:
    """The same installation with that server for an index."""
    site.store = lease_server_store(stub.url, api_key=None, timeout_seconds=3, sleep=waits.append)
    return site


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    catalogue = Catalogue(driver_url(database_url, "libpq"), rows=120, seed=7)
    yield catalogue
    catalogue.close()


@pytest.fixture
def driver(catalogue: Catalogue, database_url: str, tmp_path: Path) -> Iterator[Driver]:
    del catalogue  # there have to be tables
    driver = Driver(tmp_path / "home", database=database_url)
    yield driver
    driver.close()
