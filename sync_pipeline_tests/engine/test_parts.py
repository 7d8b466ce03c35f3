"""A scope is cut into as many parts as it needs, and each stays as small as asked for."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.spread import MAX_FAN_OUT, open_parts
from sync_pipeline.engine.staged import part_bounds, parts_for
from sync_pipeline.engine.steps.compare import iter_parts
from sync_pipeline.engine.steps.export import preview_export
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline.staging import parquet
from sync_pipeline.staging.parquet import ParquetStaging
from sync_pipeline_tests.engine.world import UNGUARDED, World, counts

ACME = Scope("acme")
SCHEMA = pa.schema({"point_id": pa.string(), "text": pa.string()})


@pytest.mark.parametrize(
    ("rows", "part_rows", "parts"),
    [
        pytest.param(0, 12_500, 1, id="none"),
        pytest.param(12_500, 12_500, 1, id="just one"),
        pytest.param(12_501, 12_500, 2, id="one more"),
        pytest.param(10_000_000, 12_500, 800, id="millions"),
        pytest.param(50_000_000, 1_000, 50_000, id="as small as can be"),
    ],
)
def test_there_are_as_many_parts_as_rows_need(rows: int, part_rows: int, parts: int) -> None:
    assert parts_for(rows, part_rows=part_rows) == parts


@pytest.mark.parametrize("parts", [1, 2, 255, 257, 50_000])
def test_parts_cut_the_ids_without_a_gap(parts: int) -> None:
    bounds = part_bounds(parts)

    assert (len(bounds), bounds[0][0], bounds[-1][1]) == (parts, None, None)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    edges = [start for start, _ in bounds[1:] if start is not None]
    assert edges == sorted(set(edges))


@pytest.mark.slow
def test_a_scope_of_more_than_256_parts_is_compared_in_small_ones(world: World) -> None:
    world.put_many(*map(str, range(1_500)))
    world.set_options(part_rows=4, cleanup=UNGUARDED)

    with preview_export(world.sync, scope=ACME, mode="full") as export:
        parts = [
            part.table.column("point_id").to_pylist()
            for part in iter_parts(world.sync, export=export)
        ]

    assert len(parts) == 375 > MAX_FAN_OUT
    assert max(map(len, parts)) <= 20
    ids = [one for part in parts for one in part]
    assert ids == sorted(point_id(f"tenant-material-{number}") for number in range(1_500))


@pytest.mark.slow
def test_a_scope_of_more_than_256_parts_is_synced_and_nothing_is_left_behind(
    world: World, tmp_path: Path
) -> None:
    world.put_many(*map(str, range(1_500)))
    world.set_options(part_rows=4, cleanup=UNGUARDED)
    world.staging = ParquetStaging(str(tmp_path))

    first = world.run()
    world.put("7", name="changed")
    world.remove("8", "9")
    second = world.run()

    assert counts(first)["new"] == 1_500
    assert counts(second) == {
        "changed": 1,
        "unchanged": 1_497,
        "deleted": 2,
        "embedded_texts": 1,
    }
    assert len(world.ids("acme")) == 1_498
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_the_index_holds_is_compared_in_parts_too_where_the_rows_are_gone(
    world: World,
) -> None:
    world.put_many(*map(str, range(60)))
    world.set_options(part_rows=4, cleanup=UNGUARDED)
    world.run()
    world.remove(*map(str, range(58)))

    with preview_export(world.sync, scope=ACME, mode="full") as export:
        held = [len(part.indexed) for part in iter_parts(world.sync, export=export)]

    assert (len(held), sum(held)) == (15, 60)


@pytest.mark.slow
def test_an_export_stops_between_its_two_passes(world: World) -> None:
    world.put_many(*map(str, range(1_500)))
    world.set_options(part_rows=4)
    asked = itertools.count(1)
    # The fakes' source yields one batch; the second question is of the second pass.
    stopping = replace(world.sync, should_stop=lambda: next(asked) >= 2)

    stopped = sync_scope(stopping, scope=ACME, run_id="first")

    assert "stopped in scope 'acme'" in str(stopped.error)
    assert (stopped.stopped_reason, stopped.rows) == ("asked to stop", 1_500)
    assert counts(world.run())["new"] == 1_500


@pytest.mark.slow
def test_many_parts_are_written_in_few_files_and_a_small_buffer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    buffer_bytes, documents, parts = 64 * 2**10, 20_000, 1_000
    monkeypatch.setattr(parquet, "BUFFER_BYTES", buffer_bytes)
    staging = ParquetStaging(str(tmp_path))

    with open_parts(
        staging, "documents", schema=SCHEMA, parts=parts, checkpoint=lambda: None
    ) as write:
        for table in _tables(documents):
            write(table)

    files = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    assert len(files) < 2 * parts
    assert [int(name.split("-")[1]) for name in files] == sorted(
        int(name.split("-")[1]) for name in files
    )
    dataset = staging.open_dataset("documents")
    read = [dataset.read(part).column("point_id").to_pylist() for part in range(parts)]
    assert sum(map(len, read)) == documents
    for (start, stop), ids in zip(part_bounds(parts), read, strict=True):
        assert all((start or "") <= str(found) < (stop or "g") for found in ids)


def _tables(documents: int) -> Iterator[pa.Table]:
    for begin in range(0, documents, 500):
        ids = [str(uuid.UUID(point_id(f"d{number}"))) for number in range(begin, begin + 500)]
        yield pa.table({"point_id": ids, "text": ["cement"] * 500}, schema=SCHEMA)
