"""Every documented combination of settings leads to the adapters that it names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sync_pipeline.database.embedded import stop_embedded_database
from sync_pipeline.database.urls import driver_url, parse_url
from sync_pipeline.embedding.hashing import HashingEmbedder
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.engine.metering import BookedQueries
from sync_pipeline.settings import load_settings
from sync_pipeline.stores.edge.store import EdgeStore
from sync_pipeline.stores.server.store import ServerStore
from sync_pipeline.wiring import Installation, open_installation
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub

PREFIX: Final = "SYNC_PIPELINE__"
SOURCES: Final = ("embedded", "own")
STATES: Final = ("beside the source", "own")
HISTORIES: Final = ("beside the state", "own")
INDEXES: Final[dict[str, type]] = {
    "embedded": EdgeStore,
    "embedded elsewhere": EdgeStore,
    "server": ServerStore,
}
PROVIDERS: Final[dict[str, type]] = {
    "sentence-transformers": SentenceTransformersEmbedder,
    "openai": OpenAIEmbedder,
    "hashing": HashingEmbedder,
}
STAGINGS: Final = ("home", "folder", "object store")


@pytest.fixture(scope="module")
def stub() -> Iterator[QdrantStub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture
def home(short_folder: Path) -> Iterator[Path]:
    yield short_folder
    stop_embedded_database(short_folder / "postgres")


def named(database: str, name: str) -> str:
    """The same database, under an address of its own."""
    url = parse_url(database).update_query_dict({"application_name": name})
    return url.render_as_string(hide_password=False)


def variables(
    *, database: str, folder: Path, server: str, chosen: tuple[str, ...]
) -> dict[str, str]:
    """The environment that makes one choice of each kind."""
    source, state, history, index, provider, staging = chosen
    made = {"SYNC_PIPELINE_HOME": str(folder), f"{PREFIX}EMBEDDING__PROVIDER": provider}
    if source == "own":
        made["DATABASE_URL"] = database
    if state == "own":
        made["STATE_DATABASE_URL"] = named(database, "state")
    if history == "own":
        made[f"{PREFIX}DAGSTER__STORAGE_URL"] = named(database, "history")
    if index == "embedded elsewhere":
        made["QDRANT_URL"] = f"edge:{folder / 'other index'}"
    elif index == "server":
        made["QDRANT_URL"] = server
    if provider == "openai":
        made |= {
            f"{PREFIX}EMBEDDING__MODEL": "text-embedding-3-small",
            f"{PREFIX}EMBEDDING__DIMENSION": "1536",
            "OPENAI_API_KEY": "none",
        }
    if staging != "home":
        place = folder / "parts" if staging == "folder" else "memory://parts"
        made[f"{PREFIX}STAGING__URL"] = str(place)
    return made


def check(
    installation: Installation, *, chosen: tuple[str, ...], database: str, folder: Path
) -> None:
    """Each adapter is the one that was chosen, and leads where it should."""
    source, state, history, index, provider, _ = chosen
    sync, name = installation.sync, parse_url(database).database
    assert (installation.source_engine.url.database == name) == (source == "own"), chosen
    assert (installation.state_engine is installation.source_engine) == (state != "own"), chosen
    assert ("application_name=history" in installation.dagster_storage_url) == (history == "own"), (
        chosen
    )
    model = sync.models.main
    # The search texts of a service are booked on their way to it.
    adapter = model._embedder if isinstance(model, BookedQueries) else model
    assert type(adapter) is PROVIDERS[provider], chosen
    with sync.store() as store:
        assert type(store) is INDEXES[index], chosen
        assert store.list_collections() == [], chosen
    sync.staging.write_manifest("proof", {"chosen": list(chosen)})
    assert sync.staging.read_manifest("proof") == {"chosen": list(chosen)}
    assert (folder / "parts").exists() or chosen[-1] != "folder", chosen
    assert sync.scopes.list_all() == [], chosen


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_documented_combination_is_wired(
    provider: str, home: Path, database_url: str, stub: QdrantStub
) -> None:
    """Source, state, history, index, embedding and staging, each in every way with all others."""
    database = driver_url(database_url, "libpq")
    combinations = list(
        itertools.product(SOURCES, STATES, HISTORIES, INDEXES, [provider], STAGINGS)
    )

    for chosen in combinations:
        env = variables(database=database, folder=home, server=stub.url, chosen=chosen)
        installation = open_installation(load_settings(env=env))
        check(installation, chosen=chosen, database=database, folder=home)
        installation.source_engine.dispose()
        installation.state_engine.dispose()

    assert len(combinations) == 72
