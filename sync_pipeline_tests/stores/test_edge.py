"""What is particular to the embedded store: files, crashes, other processes, foreign errors."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import qdrant_edge

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    StoreLockedError,
    SyncPipelineError,
)
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.stores.checks import RefusedError
from sync_pipeline.stores.edge.errors import edge_errors, translate
from sync_pipeline.stores.edge.files import file_errors, write_text
from sync_pipeline.stores.edge.lock import Owner, describe_command
from sync_pipeline.stores.edge.requests import PAYLOAD_INDEXES
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline_tests.stores.samples import COLLECTION, SPEC, digest_ids, make_point, stored

pytestmark = pytest.mark.index

HOLDER = """
import sys
from pathlib import Path
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline_tests.stores.samples import COLLECTION, SPEC, make_point

sys.argv = ["/usr/bin/sync-pipeline", "sync", "--api-key", "s3cret"]
with lease_edge_store(Path({path!r}))() as store:
    store.ensure_collection(SPEC)
    for start in range(0, {points}, 100):
        store.upsert(COLLECTION, [make_point(n) for n in range(start, start + 100)])
    print("ready", flush=True)
    sys.stdin.readline()
"""


class Holder:
    """Another process that has the index open."""

    def __init__(self, path: Path, *, points: int = 0) -> None:
        code = HOLDER.format(path=str(path), points=points)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> None:
        """Let it close the index and end."""
        self.process.communicate("\n", timeout=30)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the index is, or will be."""
    return tmp_path / "index"


# --- leases -----------------------------------------------------------------------------


def test_nothing_is_made_before_a_lease_is_opened(path: Path) -> None:
    lease_edge_store(path)

    assert not path.exists()


def test_leases_of_one_process_nest(path: Path) -> None:
    lease = lease_edge_store(path, wait_seconds=0)

    with lease() as outer:
        outer.ensure_collection(SPEC)
        with lease_edge_store(path, wait_seconds=0)() as inner:
            inner.upsert(COLLECTION, [make_point(1)])
        outer.upsert(COLLECTION, [make_point(2)])

        assert outer.count(COLLECTION) == 2


def test_leases_of_several_threads_share_the_index(path: Path) -> None:
    lease = lease_edge_store(path, wait_seconds=0)
    with lease() as store:
        store.ensure_collection(SPEC)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for start in range(5):
                with lease() as store:
                    store.upsert(COLLECTION, [make_point(number * 100 + start)])
                    store.count(COLLECTION)
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with lease() as store:
        assert store.count(COLLECTION) == 20


def test_a_lease_may_end_in_another_thread_than_it_began(path: Path) -> None:
    lease = lease_edge_store(path)()
    lease.__enter__()
    thread = threading.Thread(target=lease.__exit__, args=(None, None, None))

    thread.start()
    thread.join()

    holder = Holder(path)
    holder.end()
    assert holder.process.returncode == 0


def test_an_index_that_lingers_is_handed_to_the_first_process_that_wants_it(path: Path) -> None:
    with lease_edge_store(path, linger_seconds=600)() as store:
        store.ensure_collection(SPEC)

    holder = Holder(path)  # waits 30 seconds at most

    holder.end()
    assert holder.process.returncode == 0


def test_an_index_that_lingers_is_open_for_the_next_lease(path: Path) -> None:
    lease = lease_edge_store(path, linger_seconds=600)
    with lease() as store:
        store.ensure_collection(SPEC)
    written = (path / "owner.json").stat().st_mtime_ns

    with lease() as store:
        store.count(COLLECTION)

    assert (path / "owner.json").stat().st_mtime_ns == written
    Holder(path).end()


def test_a_store_is_of_no_use_after_its_lease(path: Path) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)

    with pytest.raises(RuntimeError, match="outside of its lease"):
        store.count(COLLECTION)


def test_what_was_written_is_there_in_the_next_lease(path: Path) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.set_alias("documents", collection=COLLECTION)
        store.upsert(COLLECTION, [make_point(1)])

    with lease_edge_store(path)() as store:
        assert store.alias_target("documents") == COLLECTION
        assert store.count(COLLECTION) == 1
        assert store.ensure_collection(SPEC) is False


# --- other processes --------------------------------------------------------------------


def test_a_second_process_is_told_who_holds_the_index(path: Path) -> None:
    holder = Holder(path)

    with (
        pytest.raises(StoreLockedError, match=r"waited 0 s") as caught,
        lease_edge_store(path, wait_seconds=0.2)(),
    ):
        pass

    holder.end()
    assert f"process {holder.process.pid} (sync-pipeline sync)" in caught.value.holder
    assert "s3cret" not in str(caught.value)
    assert "no longer running" not in str(caught.value)


def test_a_second_process_waits_until_the_first_is_done(path: Path) -> None:
    holder = Holder(path, points=100)
    release = threading.Timer(0.5, holder.end)
    release.start()

    with lease_edge_store(path, wait_seconds=30)() as store:
        count = store.count(COLLECTION)

    release.join()
    assert count == 100


def test_a_holder_that_is_dead_is_said_to_be(path: Path) -> None:
    holder = Holder(path)
    owner = json.loads((path / "owner.json").read_text())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (path / "owner.json").write_text(json.dumps({**owner, "pid": dead.pid}))

    with (
        pytest.raises(StoreLockedError, match="no longer running"),
        lease_edge_store(path, wait_seconds=0)(),
    ):
        pass

    holder.end()


def test_a_holder_in_another_container_of_the_same_host_name_is_not_said_to_be_dead(
    path: Path,
) -> None:
    holder = Holder(path)
    owner = json.loads((path / "owner.json").read_text())
    elsewhere = {**owner, "pid": 2**22 + 1, "machine": "of another container"}
    (path / "owner.json").write_text(json.dumps(elsewhere))

    with (
        pytest.raises(StoreLockedError) as caught,
        lease_edge_store(path, wait_seconds=0)(),
    ):
        pass

    holder.end()
    assert "no longer running" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="half written"),
        pytest.param('{"pid": 1, "colour": "red"}', id="of another version"),
    ],
)
def test_an_unreadable_owner_file_does_no_harm(path: Path, content: str) -> None:
    holder = Holder(path)
    (path / "owner.json").write_text(content)

    with (
        pytest.raises(StoreLockedError, match="has not said who it is"),
        lease_edge_store(path, wait_seconds=0)(),
    ):
        pass

    holder.end()
    with lease_edge_store(path, wait_seconds=0)() as store:
        assert store.list_collections() == [COLLECTION]


def test_every_confirmed_write_survives_a_kill(path: Path) -> None:
    holder = Holder(path, points=500)

    holder.kill()

    with lease_edge_store(path, wait_seconds=0)() as store:
        assert store.count_by_scope(COLLECTION) == {"acme": 500}
        assert len(store.retrieve(COLLECTION, [make_point(n).point_id for n in range(500)])) == 500


def test_a_program_that_opens_the_shard_by_itself_is_a_lock_too(path: Path) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
    stranger = qdrant_edge.EdgeShard.load(str(path / "collections" / COLLECTION))

    with (
        lease_edge_store(path, wait_seconds=0)() as store,
        pytest.raises(StoreLockedError, match="opened it directly"),
    ):
        store.count(COLLECTION)

    stranger.close()


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        pytest.param(["/usr/bin/sync-pipeline", "sync", "all"], "sync-pipeline sync", id="command"),
        pytest.param(["dagster", "--token=x"], "dagster", id="option with a secret"),
        pytest.param(["x", "postgresql://u:p@h/db"], "x", id="address"),
        pytest.param(["x", "Штукатурка"], "x", id="text"),
        pytest.param(["-c"], "-c", id="python code"),
        pytest.param([], "python", id="nothing"),
    ],
)
def test_a_command_is_named_without_what_can_be_secret(argv: list[str], shown: str) -> None:
    assert describe_command(argv) == shown


def test_a_holder_on_another_machine_is_not_called_dead(path: Path) -> None:
    holder = Holder(path)
    owner = Owner(pid=2**22 + 1, host="elsewhere", command="sync-pipeline", since="2026")
    (path / "owner.json").write_text(
        json.dumps({name: getattr(owner, name) for name in Owner.__dataclass_fields__})
    )

    with (
        pytest.raises(StoreLockedError, match="on elsewhere since 2026; waited"),
        lease_edge_store(path, wait_seconds=0)(),
    ):
        pass

    holder.end()


# --- files ------------------------------------------------------------------------------


def test_the_manifest_says_what_an_index_was_built_with(path: Path) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)

    manifest = json.loads((path / "collections" / f"{COLLECTION}.json").read_text())
    assert manifest == {
        "alias": "sync_pipeline_test",
        "model_id": "hashing-8",
        "dimension": 8,
        "views": ["text"],
        "sparse_id": "bm25-russian",
        "rendering_version": "1",
        "description": SPEC.describe(),
    }


def test_what_a_crash_left_half_made_is_no_collection_and_is_cleared(path: Path) -> None:
    half = path / "collections" / f".new-{COLLECTION}"
    half.mkdir(parents=True)
    (half / "edge_config.json").write_text("{")
    (path / "collections" / f"{COLLECTION}.json").write_text("{}")

    with lease_edge_store(path)() as store:
        assert store.list_collections() == []
        assert store.ensure_collection(SPEC) is True
        store.upsert(COLLECTION, [make_point(1)])

        assert store.count(COLLECTION) == 1
    assert not half.exists()


def _truncate_log(collection: Path) -> None:
    for file in (collection / "wal").iterdir():
        file.write_bytes(b"x")


def _truncate_segments(collection: Path) -> None:
    for file in (collection / "segments").rglob("version.info"):
        file.write_text("")


DAMAGES = [
    pytest.param(_truncate_log, id="log"),
    pytest.param(_truncate_segments, id="segments"),
    pytest.param(lambda one: (one / "edge_config.json").write_text("{"), id="configuration"),
    pytest.param(lambda one: (one / "edge_config.json").unlink(), id="no configuration"),
    pytest.param(lambda one: one.with_name(f"{one.name}.json").unlink(), id="no manifest"),
    pytest.param(lambda one: one.with_name(f"{one.name}.json").write_text("["), id="manifest"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_says_what_to_do(path: Path, damage: Callable[[Path], object]) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(1)])
    damage(path / "collections" / COLLECTION)

    with (
        lease_edge_store(path)() as store,
        pytest.raises(
            PermanentError, match="Move that folder away and run `sync-pipeline sync all`"
        ),
    ):
        store.count(COLLECTION)


def test_damaged_aliases_say_what_to_do(path: Path) -> None:
    path.mkdir()
    (path / "aliases.json").write_text("[1]")

    with (
        lease_edge_store(path)() as store,
        pytest.raises(PermanentError, match=r"aliases\.json is not a JSON object"),
    ):
        store.alias_target("documents")


def test_an_index_that_was_moved_away_is_built_anew(path: Path) -> None:
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
    shutil.move(path, path.with_name("old"))

    with lease_edge_store(path)() as store:
        assert store.ensure_collection(SPEC) is True


def test_a_place_that_cannot_be_a_folder_is_a_configuration_error(path: Path) -> None:
    path.write_text("a file")

    with (
        pytest.raises(ConfigurationError, match=r"set `index\.url` to another place"),
        lease_edge_store(path)(),
    ):
        pass


def test_a_disk_that_is_nearly_full_is_not_written_to(path: Path) -> None:
    point = make_point(1)
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [point])
    writes: list[Callable[[VectorStore], object]] = [
        lambda store: store.ensure_collection(replace(SPEC, alias="other")),
        lambda store: store.upsert(COLLECTION, [make_point(2)]),
        lambda store: store.write_payloads(COLLECTION, [(point.point_id, {})]),
        lambda store: store.delete(COLLECTION, [point.point_id], scope_key="acme"),
        lambda store: store.optimize(COLLECTION),
    ]

    with lease_edge_store(path, min_free_bytes=2**60)() as store:
        for write in writes:
            with pytest.raises(OutOfSpaceError, match="MiB must be free"):
                write(store)

        assert stored(store, point)[point.point_id].payload == point.payload
        assert store.list_collections() == [COLLECTION]


def test_a_file_is_replaced_whole(path: Path) -> None:
    path.mkdir()
    write_text(path / "aliases.json", "old")

    write_text(path / "aliases.json", "new")

    assert (path / "aliases.json").read_text() == "new"
    assert [file.name for file in path.iterdir()] == ["aliases.json"]


# --- the engine's errors ----------------------------------------------------------------


class PanicException(BaseException):
    """As the engine's own, which cannot be imported."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            Exception("Can't init WAL: Kind(WouldBlock)"), StoreLockedError, id="opened elsewhere"
        ),
        pytest.param(
            Exception("IO Error: No space left on device (os error 28)"),
            OutOfSpaceError,
            id="disk full",
        ),
        pytest.param(
            Exception("Service runtime error: failed to open WAL"), PermanentError, id="damaged"
        ),
        pytest.param(PanicException("index out of bounds"), PermanentError, id="panic"),
        pytest.param(
            Exception("Vector dimension error: expected dim: 384, got 5"),
            RefusedError,
            id="wrong dimension",
        ),
        pytest.param(ValueError("failed to convert NaN"), RefusedError, id="NaN in a payload"),
        pytest.param(TypeError("failed to extract enum"), RefusedError, id="no JSON"),
    ],
)
def test_an_engines_error_has_one_meaning(
    error: BaseException, expected: type[SyncPipelineError]
) -> None:
    translated = translate(error, path=Path("index"), doing="5 points")

    assert type(translated) is expected
    assert "index" in str(translated)


def test_an_interrupt_is_not_an_engines_error() -> None:
    with pytest.raises(KeyboardInterrupt, match="stop"), edge_errors(Path("i"), doing="x"):
        raise KeyboardInterrupt("stop")
    with pytest.raises(PermanentError, match="boom"), edge_errors(Path("i"), doing="x"):
        raise PanicException("boom")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(errno.ENOSPC, OutOfSpaceError, id="disk full"),
        pytest.param(errno.EDQUOT, OutOfSpaceError, id="quota used up"),
        pytest.param(errno.EROFS, ConfigurationError, id="read-only"),
        pytest.param(errno.EACCES, ConfigurationError, id="not allowed"),
    ],
)
def test_a_file_systems_error_has_one_meaning(
    number: int, expected: type[SyncPipelineError]
) -> None:
    with (
        pytest.raises(expected, match="embedded index at somewhere"),
        file_errors(Path("somewhere")),
    ):
        raise OSError(number, "reason")


# --- folders of earlier releases --------------------------------------------------------


def test_a_collection_without_an_index_on_the_entity_gets_one_and_counts_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [make_point(n, type="work" if n % 3 else "material") for n in range(9)]
    with monkeypatch.context() as earlier:
        earlier.delitem(PAYLOAD_INDEXES, "type")
        with lease_edge_store(path)() as store:
            store.ensure_collection(SPEC)
            store.upsert(COLLECTION, points)

    with lease_edge_store(path)() as store:
        before = store.count_by_entity(COLLECTION, scope_key="acme")
        ids = digest_ids(store, entity_types=["material"])
        is_new = store.ensure_collection(SPEC)
        after = store.count_by_entity(COLLECTION, scope_key="acme")

    assert before == after == {"material": 3, "work": 6}
    assert (is_new, len(ids)) == (False, 3)
    shard = qdrant_edge.EdgeShard.load(str(next(path.rglob("edge_config.json")).parent))
    assert set(shard.info().payload_schema) == {"scope_key", "type"}
    shard.close()
