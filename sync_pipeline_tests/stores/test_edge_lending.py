"""One collection of a shared index folder, which another process has to itself for a while."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sync_pipeline.core.errors import StoreLockedError
from sync_pipeline.core.point import Point
from sync_pipeline.stores.edge.files import IndexFiles
from sync_pipeline.stores.edge.hosting import HostedStore
from sync_pipeline.stores.edge.index import EdgeIndex, shared_index
from sync_pipeline.stores.edge.lending import is_lent, lending
from sync_pipeline.stores.edge.store import EdgeStore, lease_edge_store
from sync_pipeline_tests.stores.conftest import HostProcess
from sync_pipeline_tests.stores.samples import SPEC, make_point, search

pytestmark = pytest.mark.process

SERVING = replace(SPEC, model_id="serving")
LARGE = replace(SPEC, dimension=1_024)
"""Long enough vectors for a search graph."""
COLLECTION = LARGE.collection
POINTS = 3_000

LENDER = """
import sys
from pathlib import Path
from sync_pipeline.stores.edge.lending import lending
from sync_pipeline.stores.edge.store import lease_edge_store

path = Path({path!r})
with lease_edge_store(path)() as store, lending(path, {collection!r}):
    store._call("hand_over", {collection!r})
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def filled(path: Path, host: HostProcess) -> Path:
    """Two collections in a folder that another process has open."""
    with lease_edge_store(path)() as store:
        assert isinstance(store, HostedStore)
        store.ensure_collection(SERVING)
        store.upsert(SERVING.collection, [make_point(number) for number in range(POINTS)])
        store.ensure_collection(LARGE)
        store.upsert(COLLECTION, [large_point(number) for number in range(POINTS)])
    return path


def large_point(number: int) -> Point:
    raw = np.random.default_rng(number).standard_normal(LARGE.dimension)
    vector = np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)
    return make_point(number, vectors={"text": vector})


@contextmanager
def lender(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the collection to itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", LENDER.format(path=str(path), collection=COLLECTION)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def open_here(path: Path) -> EdgeIndex:
    """The folder in this process."""
    return shared_index(path, now=lambda: datetime.now(UTC))


def test_searches_go_on_while_another_collection_is_optimized(filled: Path) -> None:
    answered: list[int] = []
    errors: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                with lease_edge_store(filled, wait_seconds=0)() as store:
                    answered.append(len(store.query(SERVING.collection, search())))
            except Exception as error:  # noqa: BLE001 - each is a failure
                errors.append(error)

    reader = threading.Thread(target=ask)
    reader.start()
    with lease_edge_store(filled)() as store:
        optimized = store.optimize(COLLECTION), store.optimize(COLLECTION)
        counted = store.count(COLLECTION)
    done.set()
    reader.join()

    assert errors == []
    assert len(answered) > 3
    assert set(answered) == {10}
    assert (optimized, counted) == ((True, False), POINTS)
    assert not open_here(filled).is_open
    assert not is_lent(IndexFiles(filled), COLLECTION)


def test_what_one_process_has_to_itself_nobody_else_opens(filled: Path) -> None:
    with lender(filled), lease_edge_store(filled)() as store:
        assert store.count(SERVING.collection) == POINTS
        with pytest.raises(StoreLockedError, match="builds its search index; waited 5 s"):
            store.count(COLLECTION)
        with pytest.raises(StoreLockedError):
            store.drop_collection(COLLECTION)

    with lease_edge_store(filled)() as store:
        assert store.count(COLLECTION) == POINTS


def test_a_process_that_is_killed_gives_the_collection_back(filled: Path) -> None:
    with lender(filled) as process, lease_edge_store(filled)() as store:
        process.kill()
        process.wait()

        assert store.count(COLLECTION) == POINTS
        assert store.optimize(COLLECTION)


def test_where_the_host_is_killed_the_collection_stays_closed_to_others(
    filled: Path, host: HostProcess
) -> None:
    with lender(filled):
        host.kill()
        with lease_edge_store(filled, wait_seconds=5)() as store:
            assert isinstance(store, EdgeStore)
            assert store.count(SERVING.collection) == POINTS
            with (
                pytest.raises(StoreLockedError),
                open_here(filled).using(COLLECTION, wait_seconds=0.2),
            ):
                pass

    with lease_edge_store(filled, wait_seconds=5)() as store:
        assert store.count(COLLECTION) == POINTS


def test_a_collection_is_handed_over_once_nobody_uses_it(path: Path) -> None:
    index = open_here(path)
    with lease_edge_store(path)() as store, lending(path, COLLECTION):
        pass
    with lease_edge_store(path)() as store:
        assert isinstance(store, EdgeStore)
        store.ensure_collection(LARGE)
        store.upsert(COLLECTION, [large_point(1)])
        handing = threading.Thread(target=store.hand_over, args=(COLLECTION,))
        with index.using(COLLECTION, wait_seconds=1) as shard:
            handing.start()
            time.sleep(0.2)
            assert handing.is_alive()
            assert shard.info().points_count == 1
        handing.join(timeout=5)

        assert not handing.is_alive()
        assert store.count(COLLECTION) == 1
