"""What every staging area promises (``core.ports.StagingArea``)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.ports import StagingArea
from sync_pipeline.staging.deferred import DeferredStaging
from sync_pipeline.staging.parquet import ParquetStaging

SCHEMA = pa.schema([("point_id", pa.string())]).append(pa.field("is_indexed", pa.bool_()))


def rows(*ids: str) -> pa.Table:
    return pa.table({"point_id": list(ids), "is_indexed": [True] * len(ids)}, schema=SCHEMA)


def stage(staging: StagingArea, name: str, *parts: list[str]) -> None:
    with staging.open_writer(name, schema=SCHEMA, parts=len(parts)) as writer:
        for part, ids in enumerate(parts):
            writer.write(part, rows(*ids))


def ids_of(staging: StagingArea, name: str) -> list[list[str | None]]:
    dataset = staging.open_dataset(name)
    return [dataset.read(part).column("point_id").to_pylist() for part in range(dataset.parts)]


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """A stand-in for S3 on this machine; its address."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes a second

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(
    params=[
        "folder",
        "deferred",
        "file-url",
        "memory",
        pytest.param("s3", marks=pytest.mark.process),
    ]
)
def staging(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StagingArea:
    if request.param == "s3":
        return in_bucket(request.getfixturevalue("object_store"), monkeypatch)
    if request.param == "deferred":
        return DeferredStaging(lambda: ParquetStaging(str(tmp_path / "deferred")))
    urls = {
        "folder": str(tmp_path / "with space"),
        "file-url": f"file://{tmp_path}/staging",
        "memory": f"memory://{uuid.uuid4().hex}",
    }
    return ParquetStaging(urls[request.param])


def in_bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> StagingArea:
    """A staging area in a bucket of its own, found as workers find theirs: by variables."""
    import s3fs  # noqa: PLC0415 - takes a second

    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"staging-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(bucket)
    return ParquetStaging(f"s3://{bucket}/of this test")


def test_what_was_written_is_read_back_part_by_part(staging: StagingArea) -> None:
    stage(staging, "acme/run/rows", ["a", "b"], [], ["c"])

    assert ids_of(staging, "acme/run/rows") == [["a", "b"], [], ["c"]]


def test_several_writes_to_a_part_keep_their_order(staging: StagingArea) -> None:
    with staging.open_writer("rows", schema=SCHEMA, parts=2) as writer:
        for place in range(50):
            writer.write(place % 2, rows(f"{place:02d}"))

    assert ids_of(staging, "rows") == [
        [f"{place:02d}" for place in range(0, 50, 2)],
        [f"{place:02d}" for place in range(1, 50, 2)],
    ]


def test_batches_have_the_asked_size_and_the_order_written(staging: StagingArea) -> None:
    stage(staging, "rows", [str(place) for place in range(10)])

    batches = list(staging.open_dataset("rows").iter_batches(0, batch_size=4))

    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert pa.Table.from_batches(batches).column("point_id").to_pylist() == list("0123456789")


def test_chosen_columns_come_in_the_order_asked(staging: StagingArea) -> None:
    stage(staging, "rows", ["a"])

    table = staging.open_dataset("rows").read(0, columns=["is_indexed", "point_id"])

    assert table.column_names == ["is_indexed", "point_id"]
    assert table.to_pylist() == [{"is_indexed": True, "point_id": "a"}]


def test_an_empty_dataset_has_parts_and_columns(staging: StagingArea) -> None:
    stage(staging, "rows", [], [])

    dataset = staging.open_dataset("rows")

    assert dataset.parts == 2
    assert dataset.read(1).schema.equals(SCHEMA)
    assert list(dataset.iter_batches(0, batch_size=10)) == []


def test_writing_again_replaces_the_whole_dataset(staging: StagingArea) -> None:
    stage(staging, "rows", ["old", "older"], ["oldest"])

    stage(staging, "rows", ["new"])

    assert ids_of(staging, "rows") == [["new"]]


def test_a_dataset_does_not_exist_before_its_writer_is_closed(staging: StagingArea) -> None:
    with staging.open_writer("rows", schema=SCHEMA, parts=1) as writer:
        writer.write(0, rows("a"))

        with pytest.raises(PermanentError, match="no staged dataset 'rows'"):
            staging.open_dataset("rows")


def test_a_writer_that_fails_leaves_the_old_dataset(staging: StagingArea) -> None:
    stage(staging, "rows", ["old"])

    def fail_half_way() -> None:
        with staging.open_writer("rows", schema=SCHEMA, parts=1) as writer:
            writer.write(0, rows("new"))
            raise ZeroDivisionError("half way")

    with pytest.raises(ZeroDivisionError, match="half way"):
        fail_half_way()

    assert ids_of(staging, "rows") == [["old"]]


def test_other_columns_than_declared_are_refused(staging: StagingArea) -> None:
    with (
        pytest.raises(PermanentError, match=r"is to hold the columns \['point_id'"),
        staging.open_writer("rows", schema=SCHEMA, parts=1) as writer,
    ):
        writer.write(0, pa.table({"point_id": ["a"]}))


def test_a_missing_dataset_names_the_step_to_run_again(staging: StagingArea) -> None:
    with pytest.raises(PermanentError, match=r"no staged dataset 'acme/run/rows'.*again"):
        staging.open_dataset("acme/run/rows")


def test_deleting_twice_is_not_an_error(staging: StagingArea) -> None:
    stage(staging, "rows", ["a"])

    staging.delete("rows")
    staging.delete("rows")

    with pytest.raises(PermanentError, match="no staged dataset"):
        staging.open_dataset("rows")


def test_deleting_a_folder_deletes_the_datasets_below_it_and_no_others(
    staging: StagingArea,
) -> None:
    for name in ("acme/run1/rows", "acme/run1/stale", "acme/run2/rows", "acme/run11/rows"):
        stage(staging, name, ["a"])

    staging.delete("acme/run1")

    assert ids_of(staging, "acme/run2/rows") == ids_of(staging, "acme/run11/rows") == [["a"]]
    with pytest.raises(PermanentError, match="no staged dataset"):
        staging.open_dataset("acme/run1/rows")


def test_replacing_a_dataset_leaves_those_below_its_name(staging: StagingArea) -> None:
    stage(staging, "acme", ["old"])
    stage(staging, "acme/run/rows", ["below"])

    stage(staging, "acme", ["new"])

    assert ids_of(staging, "acme/run/rows") == [["below"]]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("..", id="parent folder"),
        pytest.param("ООО «Ромашка»", id="Cyrillic and quotes"),
        pytest.param("a b?c#d*e%f", id="characters with a meaning in URLs"),
        pytest.param("x" * 400, id="longer than a file name may be"),
    ],
)
def test_any_scope_key_can_be_part_of_a_name(staging: StagingArea, key: str) -> None:
    stage(staging, f"{key}/rows", ["a"])

    assert ids_of(staging, f"{key}/rows") == [["a"]]


def test_a_manifest_is_read_back_and_can_be_replaced(staging: StagingArea) -> None:
    staging.write_manifest("acme/rows", {"rows": 1})

    staging.write_manifest("acme/rows", {"rows": 2, "unit": "м²", "seconds": 0.5, "none": None})

    assert staging.read_manifest("acme/rows") == {
        "rows": 2,
        "unit": "м²",
        "seconds": 0.5,
        "none": None,
    }


def test_a_missing_manifest_is_none(staging: StagingArea) -> None:
    assert staging.read_manifest("acme/rows") is None


def test_a_manifest_outlives_a_new_dataset_of_its_name_and_goes_with_delete(
    staging: StagingArea,
) -> None:
    staging.write_manifest("rows", {"rows": 1})
    stage(staging, "rows", ["a"])
    kept = staging.read_manifest("rows")

    staging.delete("rows")

    assert kept == {"rows": 1}
    assert staging.read_manifest("rows") is None
