"""Every store that the contract is asked of."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from sync_pipeline.core.cluster_options import ClusterOptions
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.stores.server.store import ServerStore, lease_server_store
from sync_pipeline_tests.fakes.qdrant_stub import QdrantStub, running_stub
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore
from sync_pipeline_tests.stores.samples import SPEC

SERVER_VARIABLE = "SYNC_PIPELINE_TEST_QDRANT_URL"


@contextmanager
def _real_server() -> Iterator[VectorStore]:
    url = os.environ.get(SERVER_VARIABLE)
    if not url:
        pytest.skip(f"no Qdrant server: set {SERVER_VARIABLE}")
    with lease_server_store(url, api_key=os.environ.get("QDRANT_API_KEY"))() as store:
        store.drop_collection(SPEC.collection)
        before = set(store.list_collections())
        try:
            yield store
        finally:
            for collection in set(store.list_collections()) - before:
                store.drop_collection(collection)


@contextmanager
def _stub_store() -> Iterator[VectorStore]:
    with running_stub() as stub, lease_server_store(stub.url, api_key=None)() as store:
        yield store


@contextmanager
def _cluster_store() -> Iterator[VectorStore]:
    """Three copies, of which one is always behind: the other two have to be enough."""
    cluster = ClusterOptions(shard_number=6, replication_factor=3, search_consistency="majority")
    with (
        running_stub(replicas=3) as stub,
        lease_server_store(stub.url, api_key=None, cluster=cluster)() as store,
    ):
        stub.replicas.lag(2)
        yield store


@contextmanager
def _memory_store() -> Iterator[VectorStore]:
    client = QdrantClient(":memory:")
    yield ServerStore(client, address="memory")
    client.close()


HOST = """
import sys
from pathlib import Path
from sync_pipeline.stores.edge.index import close_idle_indexes
from sync_pipeline.stores.edge.store import lease_edge_store

for line in sys.stdin:
    close_idle_indexes()
    with lease_edge_store(Path(line.rstrip()), linger_seconds=600, is_shared=True)():
        pass
    print("ready", flush=True)
"""


class HostProcess:
    """Another process that shares one index folder after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def open(self, folder: Path) -> None:
        """Give up the last folder and open this one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Give up the last folder, and end."""
        self._process.communicate()


@pytest.fixture(scope="session")
def host_of_all() -> Iterator[HostProcess]:
    """One for all tests of the contract."""
    host = HostProcess()
    yield host
    host.end()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """One that has the test's index folder open, and may be killed."""
    host = HostProcess()
    host.open(tmp_path / "index")
    yield host
    host.end()


def _open(kind: str, folder: Path) -> AbstractContextManager[VectorStore]:
    if kind in {"edge", "hosted"}:
        return lease_edge_store(folder)()
    if kind == "memory":
        return _memory_store()
    if kind == "stub":
        return _stub_store()
    if kind == "cluster":
        return _cluster_store()
    if kind == "server":
        return _real_server()
    return FakeVectorStore().lease()


@pytest.fixture(
    params=[
        "fake",
        pytest.param("edge", marks=pytest.mark.index),
        pytest.param("hosted", marks=pytest.mark.process),
        pytest.param("memory", marks=pytest.mark.index),
        pytest.param("stub", marks=pytest.mark.process),
        pytest.param("cluster", marks=pytest.mark.process),
        pytest.param("server", marks=pytest.mark.server),
    ]
)
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """A store without collections."""
    if request.param == "hosted":
        request.getfixturevalue("host_of_all").open(tmp_path / "index")
    with _open(request.param, tmp_path / "index") as store:
        yield store


@pytest.fixture
def store(empty_store: VectorStore) -> VectorStore:
    """A store with the sample collection, without points."""
    empty_store.ensure_collection(SPEC)
    return empty_store


@pytest.fixture
def stub() -> Iterator[QdrantStub]:
    """A Qdrant server that fails on command."""
    with running_stub() as running:
        yield running


@pytest.fixture
def alias() -> str:
    """An alias that no other test uses."""
    return f"documents_{uuid.uuid4().hex[:8]}"
