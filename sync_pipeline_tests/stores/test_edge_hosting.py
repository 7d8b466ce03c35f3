"""An index folder that one process shares: used by others meanwhile, and after its end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client
from pathlib import Path

import psutil
import pytest

from sync_pipeline.core.errors import StoreLockedError, StoreUnavailableError
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.edge import hosting, wire
from sync_pipeline.stores.edge.hosting import HostedStore, IndexHost, connect_to_host, host_file
from sync_pipeline.stores.edge.index import shared_index
from sync_pipeline.stores.edge.store import EdgeStore, lease_edge_store
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore
from sync_pipeline_tests.stores.conftest import HostProcess
from sync_pipeline_tests.stores.samples import COLLECTION, SPEC, digest_ids, make_point
from sync_pipeline_tests.stores.test_edge import Holder

pytestmark = pytest.mark.process

CLIENT = """
import sys
from pathlib import Path
from sync_pipeline.stores.edge.store import lease_edge_store

with lease_edge_store(Path({path!r}))() as store:
    store.list_collections()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index"


def owner(path: Path) -> dict[str, object]:
    return dict(json.loads((path / "owner.json").read_text()))


def stop(host: HostProcess) -> None:
    """As Ctrl-Z does; until all of its threads have stopped."""
    os.kill(host.pid, signal.SIGSTOP)
    while psutil.Process(host.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)


def test_two_processes_use_one_folder_at_the_same_time(path: Path, host: HostProcess) -> None:
    first = owner(path)

    with lease_edge_store(path, wait_seconds=0)() as store:
        assert isinstance(store, HostedStore)
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(number) for number in range(300)])
        with lease_edge_store(path, wait_seconds=0)() as other:
            assert other.count(COLLECTION) == 300

    assert owner(path) == first
    assert not shared_index(path, now=time.time).is_open  # type: ignore[arg-type]  # no clock needed


def test_points_are_read_while_others_are_written(path: Path, host: HostProcess) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(number) for number in range(5_000)])
        pages = store.iter_digests(COLLECTION, scope_key="acme", views=["text"], batch_size=1_000)
        for page in pages:
            assert len(page.point_ids) == 1_000
            # Left before its end.
            next(iter(store.iter_digests(COLLECTION, scope_key="acme", views=["text"])))
            assert store.count(COLLECTION) == 5_000


def test_a_lease_goes_on_when_the_host_is_killed(path: Path, host: HostProcess) -> None:
    with lease_edge_store(path, wait_seconds=10)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(1)])
        host.kill()
        store.upsert(COLLECTION, [make_point(2)])
        assert store.count(COLLECTION) == 2
        assert len(digest_ids(store)) == 2

    with lease_edge_store(path, wait_seconds=0)() as store:
        assert isinstance(store, EdgeStore)
        assert store.count(COLLECTION) == 2
        assert not host_file(path).exists()


def test_a_host_that_is_killed_while_points_are_read_is_said_to_be(
    path: Path, host: HostProcess
) -> None:
    with lease_edge_store(path, wait_seconds=10)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(number) for number in range(12_000)])
        reading = store.iter_digests(COLLECTION, scope_key="acme", views=["text"])
        next(iter(reading))
        host.kill()

        with pytest.raises(StoreUnavailableError, match="ended while its points were read"):
            list(reading)

        assert store.count(COLLECTION) == 12_000


def test_a_host_that_is_stopped_is_named_instead_of_waited_for_for_ever(
    path: Path, host: HostProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "GREETING_SECONDS", 0.2)
    stop(host)
    try:
        with (
            pytest.raises(StoreLockedError, match=f"process {host.pid} "),
            lease_edge_store(path, wait_seconds=0.2)(),
        ):
            pass
    finally:
        os.kill(host.pid, signal.SIGCONT)


def test_a_call_that_is_never_answered_ends(
    path: Path, host: HostProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease_edge_store(path)() as store:
        monkeypatch.setattr(hosting, "ANSWER_SECONDS", 0.2)
        stop(host)
        try:
            with pytest.raises(StoreUnavailableError, match=r"serve.*is stopped or hangs"):
                store.list_collections()
        finally:
            os.kill(host.pid, signal.SIGCONT)


def test_a_client_that_is_killed_leaves_the_folder_to_others(path: Path, host: HostProcess) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(1)])
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT.format(path=str(path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.kill()
    client.communicate()

    # Needs the folder for itself: the host has to give it up.
    with lease_edge_store(path, wait_seconds=10)() as store:
        assert store.optimize(COLLECTION) in {True, False}
        assert store.count(COLLECTION) == 1


def test_only_this_user_can_read_how_to_connect(path: Path, host: HostProcess) -> None:
    assert stat.S_IMODE(host_file(path).stat().st_mode) == 0o600


def test_nothing_is_read_of_who_does_not_know_the_key(path: Path, host: HostProcess) -> None:
    said = json.loads(host_file(path).read_text())

    with Client(said["address"]) as connection:
        connection.send_bytes(b"\0" * 32)
        with pytest.raises((EOFError, ConnectionError)):
            connection.recv_bytes()
    with Client(said["address"]) as connection:
        connection.send_bytes(wire.dump(["list_collections", [], {}]))
        with pytest.raises((EOFError, ConnectionError)):
            connection.recv_bytes()
    with lease_edge_store(path)() as store:
        assert isinstance(store, HostedStore)


def test_what_is_no_call_of_a_store_is_refused(path: Path, host: HostProcess) -> None:
    connection = connect_to_host(path)
    assert connection is not None
    with connection:
        connection.send_bytes(wire.dump(["_require_room", [1], {}]))

        answer = connection.recv_bytes()

    assert answer[:1] == hosting.ERROR
    assert isinstance(wire.load_error(answer[1:]), AttributeError)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda said: said | {"version": "0.0.0"}, id="another version"),
        pytest.param(lambda said: said | {"key": "00" * 32}, id="another key"),
        pytest.param(lambda said: said | {"address": "/nowhere"}, id="no such address"),
        pytest.param(lambda said: {"version": said["version"]}, id="half of it"),
        pytest.param(lambda said: [said], id="no object"),
    ],
)
def test_a_host_that_cannot_be_talked_to_hands_the_folder_over(
    path: Path, host: HostProcess, change: Callable[[dict[str, str]], object]
) -> None:
    said = json.loads(host_file(path).read_text())
    host_file(path).write_text(json.dumps(change(said)))

    with lease_edge_store(path, wait_seconds=10)() as store:
        assert isinstance(store, EdgeStore)
        assert owner(path)["pid"] == os.getpid()


def test_a_service_that_cannot_listen_uses_the_folder_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: object) -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(hosting, "Listener", fail)

    with lease_edge_store(path, is_shared=True)() as store:
        store.ensure_collection(SPEC)
        assert store.count(COLLECTION) == 0

    assert "cannot be shared: AF_UNIX path too long" in caplog.text
    assert not host_file(path).exists()


@contextmanager
def hosting_beside(path: Path, store: FakeVectorStore) -> Iterator[None]:
    """A host in this process, over a fake."""
    host = IndexHost(path, store.lease)
    yield
    host.close()


def test_who_waits_for_the_folder_takes_a_host_that_comes_meanwhile(path: Path) -> None:
    holder = Holder(path)
    entered: list[VectorStore] = []

    def wait() -> None:
        with lease_edge_store(path, wait_seconds=20)() as store:
            entered.append(store)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert entered == []

    with hosting_beside(path, FakeVectorStore()):
        thread.join(10)

    holder.end()
    assert [type(store) for store in entered] == [HostedStore]
