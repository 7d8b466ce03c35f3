"""A table that dlt replaces again and again, landed and synced meanwhile: is anything lost?

dlt loads ``raw.products`` with each of its three ways to replace a table, some thousand rows a
file, so that a table that is half there is seen where it can be. Beside it one process lands it
without a pause, another one syncs, and a third one counts what is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from benchmarks.child import ChildFailedError, run_child
from benchmarks.home import REPOSITORY, Home, clean_environment, require
from benchmarks.landing import DLT_MISSING, dlt_version
from benchmarks.landing_erp import ErpProcess, running_apart
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.tcp_server import TcpServer
from benchmarks.workbench import Workbench

TITLE = "A landing and syncs beside dlt's replace"

PRODUCTS: Final = 5_000
CHANGED: Final = 50
SECONDS: Final = 60.0
ROWS_A_FILE: Final = 1_000
STRATEGIES: Final = ("truncate-and-insert", "insert-from-staging", "staging-optimized")

SETTINGS: Final = """\
landings:
  - name: products
    from: raw.products
    table: landing.products
    complete_when:
      {table: raw._dlt_loads, where: {status: 0}, load_column: load_id, row_column: _dlt_load_id}
    id: id
    owner: {global: true}
    columns:
      name: nazev
      description: popis
      price: {field: cena, type: numeric}
entities:
  - name: product
    table: landing.products
    updated_at: updated_at
    views: {text: [name, description]}
    payload: {price: price}
"""

RAW: Final = "SELECT count(*) FROM raw.products"
LANDED: Final = "SELECT count(*) FROM landing.products"
DOCUMENTS: Final = "SELECT count(*) FROM sync_pipeline.index_state"
_DIFFERENT: Final = """
SELECT count(*) FROM raw.products r FULL JOIN landing.products l USING (id)
WHERE (r.nazev, r.popis, r.cena) IS DISTINCT FROM (l.name, l.description, l.price)
"""


@dataclass(slots=True)
class Least:
    """How few rows a statement has counted, and how often there were none."""

    url: str
    statement: str
    rows: int = sys.maxsize
    reads: int = 0
    empty_reads: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count all the time for the length of the ``with``."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._stopped.wait(0.005):
                self._look(connection)

    def _look(self, connection: psycopg.Connection) -> None:
        try:
            (rows,) = connection.execute(self.statement.encode()).fetchone() or (0,)
        except psycopg.errors.UndefinedTable:
            # Another one takes its name in a moment.
            return
        self.reads += 1
        self.rows = min(self.rows, int(rows))
        self.empty_reads += rows == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was done and seen of one strategy."""

    loads: int
    landings: Counter[str]
    """By what became of them."""
    landed_deletions: int
    syncs: int
    failed_syncs: int
    synced_deletions: int
    raw: Least
    landed: Least
    documents: Least
    differences: int
    """Rows that are not what dlt loaded last, in the end."""
    is_verified: bool


def measure(bench: Workbench) -> Outcome:
    """Try each strategy for about a minute."""
    if dlt_version(bench) is None:
        return Outcome(name="landing_beside_loader", title=TITLE, skipped=DLT_MISSING)
    seconds = SECONDS * min(1.0, max(0.2, bench.scale))
    folder = bench.new_folder("loader")
    folder.mkdir(parents=True)
    figures: list[Figure] = []
    with TcpServer(folder / "pg") as server, running_apart(PRODUCTS, folder=folder) as erp:
        for strategy in STRATEGIES:
            bench.say(f"landing and syncing beside dlt's {strategy}")
            home = Home(
                folder=bench.new_folder("home"), database_url=server.create(), provider="hashing"
            )
            figures += _figures(strategy, _try(bench, home, erp, strategy, seconds=seconds))
    note = (
        f"{PRODUCTS:,} products, of which {CHANGED} change every second and none goes; dlt "
        f"loads all of them for {seconds:.0f} s without a pause, {ROWS_A_FILE:,} rows a file. What "
        "is least was counted all the time, every few milliseconds."
    )
    return Outcome(name="landing_beside_loader", title=TITLE, figures=tuple(figures), notes=(note,))


def _try(bench: Workbench, home: Home, erp: ErpProcess, strategy: str, *, seconds: float) -> Seen:
    home.folder.mkdir(parents=True)
    (home.folder / "sync_pipeline.yaml").write_text(SETTINGS, encoding="utf-8")
    loader = _loader(bench, home, erp, strategy)
    run_child(loader, environment=_loader_environment(), folder=home.folder)
    home.run("land", "products")
    home.sync()
    least = {it: Least(home.database_url, it) for it in (RAW, LANDED, DOCUMENTS)}
    with (
        least[RAW].watching(),
        least[LANDED].watching(),
        least[DOCUMENTS].watching(),
        _started([*loader, "--seconds", f"{seconds}"], home, _loader_environment()) as loading,
        _started(
            [sys.executable, "-m", "benchmarks.landing_child", f"{seconds}"], home,
            {**home.environment, "PYTHONPATH": str(REPOSITORY)},
        ) as landing,
    ):  # fmt: skip
        with _changing(erp):
            syncs = _sync_until(time.monotonic() + seconds, home)
        landed = [json.loads(line) for line in _output(landing).splitlines()]
        loads = json.loads(_output(loading))["loads"]
    home.run("land", "products")
    deleted = home.sync().totals["deleted"]
    return Seen(
        loads=loads,
        landings=Counter(map(_became, landed)),
        landed_deletions=sum(it.get("deleted", 0) for it in landed),
        syncs=syncs["done"],
        failed_syncs=syncs["failed"],
        synced_deletions=syncs["deleted"] + deleted,
        raw=least[RAW],
        landed=least[LANDED],
        documents=least[DOCUMENTS],
        differences=_differences(home),
        is_verified=_is_verified(home),
    )


def _loader(bench: Workbench, home: Home, erp: ErpProcess, strategy: str) -> list[str]:
    return [
        str(bench.rivals_python), "-m", "benchmarks.rivals.dlt_landing",
        "--database", home.database_url, "--erp", erp.url, "--folder", str(home.folder / "dlt"),
        "--disposition", "replace", "--strategy", strategy, "--format", "csv",
    ]  # fmt: skip


def _loader_environment() -> dict[str, str]:
    return {
        **clean_environment(),
        "PYTHONPATH": str(REPOSITORY),
        "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": str(ROWS_A_FILE),
    }


@contextmanager
def _started(
    command: list[str], home: Home, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with (home.folder / "errors.log").open("a") as errors, subprocess.Popen(
        command, env=dict(environment), cwd=home.folder, stdout=subprocess.PIPE, stderr=errors,
        text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _output(process: subprocess.Popen[str]) -> str:
    """What a program said until its end."""
    said, _ = process.communicate(timeout=600)
    require(process.returncode == 0, f"{process.args!r} ends well")
    return said


@contextmanager
def _changing(erp: ErpProcess) -> Iterator[None]:
    """Change some products every second for the length of the ``with``."""
    stopped = threading.Event()

    def change() -> None:
        while not stopped.wait(1.0):
            erp.change(CHANGED)

    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _sync_until(end: float, home: Home) -> Counter[str]:
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        try:
            found["deleted"] += home.sync().totals["deleted"]
        except ChildFailedError:
            found["failed"] += 1
        found["done"] += 1
    return found


def _became(told: Mapping[str, Any]) -> str:
    """What became of a landing."""
    if "refused" in told:
        return str(told["refused"])
    if not told["complete"]:
        return "not complete"
    return "changed" if told["new"] or told["changed"] else "unchanged"


def _differences(home: Home) -> int:
    with psycopg.connect(home.database_url) as connection:
        (rows,) = connection.execute(_DIFFERENT).fetchone() or (0,)
    return int(rows)


def _is_verified(home: Home) -> bool:
    try:
        home.verify()
    except ChildFailedError:
        return False
    return True


def _figures(strategy: str, seen: Seen) -> Iterator[Figure]:
    all_of_them = Limit(value=PRODUCTS, reason="as many as there are", is_minimum=True)
    nothing = Limit(value=0, reason="nothing goes")
    refused = sum(it for name, it in seen.landings.items() if name.endswith("Error"))
    rows: list[tuple[str, str, str, float, Limit | None]] = [
        ("loads", "loads of dlt", "loads", seen.loads, None),
        ("raw", "least rows of raw.products", "rows", seen.raw.rows, None),
        ("empty", "it was empty, of all reads", "%", _share(seen.raw), None),
        ("landings", "landings", "landings", seen.landings.total(), None),
        ("landings/changed", "that landed changes", "landings", seen.landings["changed"], None),
        ("landings/doubted", "of a table that dlt had not finished", "landings",
         seen.landings["not complete"], None),
        ("landings/refused", "that were refused, as deleting too much or of an unreadable table",
         "landings", refused, None),
        ("landed", "least rows landed", "rows", seen.landed.rows, all_of_them),
        ("landed/deleted", "rows that landings deleted", "rows", seen.landed_deletions, nothing),
        ("syncs", "runs of `sync all`", "syncs", seen.syncs, None),
        ("syncs/failed", "of them failed", "syncs", seen.failed_syncs, nothing),
        ("documents", "fewest documents", "documents", seen.documents.rows, all_of_them),
        ("documents/deleted", "documents that syncs deleted", "documents", seen.synced_deletions,
         nothing),
        ("different", "rows that are not as dlt loaded them last, in the end", "rows",
         seen.differences, nothing),
        ("unverified", "`verify all` found something, in the end", "times",
         float(not seen.is_verified), nothing),
    ]  # fmt: skip
    for key, label, unit, value, limit in rows:
        yield Figure(
            key=f"{strategy}/{key}",
            label=f"{strategy}: {label}",
            unit=unit,
            samples=(float(value),),
            limit=limit,
        )


def _share(least: Least) -> float:
    return 100 * least.empty_reads / max(1, least.reads)
