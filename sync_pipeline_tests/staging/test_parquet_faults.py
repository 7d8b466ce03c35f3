"""Killed writers, full disks and damaged files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipeline.core.errors import (
    ConfigurationError,
    OutOfSpaceError,
    PermanentError,
    TransientError,
)
from sync_pipeline.staging import parquet
from sync_pipeline.staging.parquet import ParquetStaging

SCHEMA = pa.schema([("text", pa.string())])


def stage(root: Path, *texts: str) -> None:
    with ParquetStaging(str(root)).open_writer("rows", schema=SCHEMA, parts=1) as writer:
        writer.write(0, pa.table({"text": list(texts)}, schema=SCHEMA))


def texts_in(root: Path) -> list[str | None]:
    return ParquetStaging(str(root)).open_dataset("rows").read(0).column("text").to_pylist()


def files_in(root: Path) -> list[Path]:
    return sorted(place for place in root.rglob("*") if place.is_file())


def only_part(root: Path) -> Path:
    return next(root.rglob("part-*.parquet"))


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


KILLED_WRITER = """
import os, signal, sys
import pyarrow as pa
from sync_pipeline.staging import parquet
parquet.FILE_BYTES = 1
schema = pa.schema([("text", pa.string())])
with parquet.ParquetStaging(sys.argv[1]).open_writer("rows", schema=schema, parts=1) as writer:
    for _ in range(3):
        writer.write(0, pa.table({"text": ["new"]}, schema=schema))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_a_killed_writer_leaves_the_old_dataset_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    stage(tmp_path, "old")

    run_python(KILLED_WRITER, str(tmp_path))

    assert len(list(tmp_path.rglob("part-*.parquet"))) == 4
    assert texts_in(tmp_path) == ["old"]
    stage(tmp_path, "newer")
    assert texts_in(tmp_path) == ["newer"]
    assert len(files_in(tmp_path)) == 2


NO_SPACE = """
import resource, sys
import pyarrow as pa
from sync_pipeline.core.errors import OutOfSpaceError
from sync_pipeline.staging.parquet import ParquetStaging
import random
schema = pa.schema([("text", pa.string())])
texts = [random.Random(place).randbytes(500).hex() for place in range(2000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with ParquetStaging(sys.argv[1]).open_writer("rows", schema=schema, parts=1) as writer:
        writer.write(0, pa.table({"text": texts}, schema=schema))
except OutOfSpaceError as error:
    print(error)
"""


@pytest.mark.process
def test_a_full_quota_is_out_of_space_and_leaves_the_old_dataset(tmp_path: Path) -> None:
    stage(tmp_path, "old")

    finished = run_python(NO_SPACE, str(tmp_path))

    assert "no space left to write" in finished.stdout, finished.stderr
    assert texts_in(tmp_path) == ["old"]
    assert len(files_in(tmp_path)) == 2


def test_a_full_device_is_out_of_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    staging = ParquetStaging(str(tmp_path))
    monkeypatch.setattr(staging._files, "locate", lambda path: "/dev/full")

    with (
        pytest.raises(OutOfSpaceError, match="no space left to write"),
        staging._files.create("rows") as file,
    ):
        file.write(b"x" * 100_000)


def test_a_flipped_byte_is_damage(tmp_path: Path) -> None:
    stage(tmp_path, *(f"text {place}" for place in range(1000)))
    part = only_part(tmp_path)
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)

    with pytest.raises(PermanentError, match=r"'rows' is damaged.*writes it again"):
        texts_in(tmp_path)


def test_a_cut_file_is_damage(tmp_path: Path) -> None:
    stage(tmp_path, "a", "b")
    part = only_part(tmp_path)
    part.write_bytes(part.read_bytes()[:-20])

    with pytest.raises(PermanentError, match="'rows' is damaged"):
        texts_in(tmp_path)


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    stage(tmp_path, "a")
    only_part(tmp_path).unlink()

    with pytest.raises(PermanentError, match="'rows' is damaged or was removed"):
        texts_in(tmp_path)


def test_a_file_with_other_rows_than_were_written_is_refused(tmp_path: Path) -> None:
    stage(tmp_path / "one", "a")
    stage(tmp_path / "two", "a", "b")
    only_part(tmp_path / "one").write_bytes(only_part(tmp_path / "two").read_bytes())

    with pytest.raises(PermanentError, match="holds 2 rows, but 1 were written"):
        texts_in(tmp_path / "one")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half a JSON object"),
        pytest.param(b"{}", id="without its fields"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b'{"attempt": "@a", "schema": "AAAA", "parts": []}', id="without a schema"),
    ],
)
def test_a_damaged_marker_says_so(tmp_path: Path, content: bytes) -> None:
    stage(tmp_path, "a")
    (tmp_path / "rows" / "_dataset.json").write_bytes(content)

    with pytest.raises(PermanentError, match="'rows' is damaged"):
        texts_in(tmp_path)


def test_a_damaged_manifest_says_so(tmp_path: Path) -> None:
    staging = ParquetStaging(str(tmp_path))
    staging.write_manifest("rows", {"rows": 1})
    (tmp_path / "rows" / "_manifest.json").write_text("{")

    with pytest.raises(PermanentError, match="'rows' is damaged"):
        staging.read_manifest("rows")


def test_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    root = tmp_path / "home" / "staging"

    stage(root, "a")

    folders = [tmp_path / "home", root, *(place for place in root.rglob("*") if place.is_dir())]
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}


def test_making_a_staging_area_touches_nothing(tmp_path: Path) -> None:
    ParquetStaging(str(tmp_path / "staging"))

    assert list(tmp_path.iterdir()) == []


def test_many_small_writes_become_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "FILE_BYTES", 20_000)
    table = pa.table({"text": ["x" * 96] * 10}, schema=SCHEMA)

    with ParquetStaging(str(tmp_path)).open_writer("rows", schema=SCHEMA, parts=1) as writer:
        for _ in range(100):
            writer.write(0, table)

    assert len(texts_in(tmp_path)) == 1000
    assert len(list(tmp_path.rglob("part-*.parquet"))) == 5


def test_memory_is_bounded_over_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BUFFER_BYTES", 100_000)
    held: list[int] = []

    with ParquetStaging(str(tmp_path)).open_writer("rows", schema=SCHEMA, parts=64) as writer:
        for place in range(640):
            writer.write(place % 64, pa.table({"text": ["x" * 100] * 10}, schema=SCHEMA))
            held.append(sum(writer._held_bytes))

    assert max(held) < 102_000
    assert ParquetStaging(str(tmp_path)).open_dataset("rows").read(63).num_rows == 100


def test_an_address_that_nothing_can_open_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"zzz:// addresses.*s3fs"):
        ParquetStaging("zzz://user:secret@host/path")


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(PermanentError, match=r"could not write .*file/rows"):
        stage(tmp_path / "file", "a")


@pytest.mark.process
@pytest.mark.parametrize(
    ("variables", "expected", "told"),
    [
        pytest.param(
            {}, ConfigurationError, "no usable credentials for that store", id="no credentials"
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            TransientError,
            "EndpointConnectionError",
            id="nobody answers",
        ),
    ],
)
def test_what_an_object_store_does_not_do_is_told_as_ours(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    variables: dict[str, str],
    expected: type[Exception],
    told: str,
) -> None:
    import s3fs  # noqa: PLC0415 - takes a second

    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1"}
    for name, value in (nowhere | nothing | variables).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()

    with pytest.raises(expected, match=told):
        ParquetStaging("s3://bucket/prefix").write_manifest("name", {"a": 1})
