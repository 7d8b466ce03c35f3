"""Ways to bring the records of one REST API into one table: ours, and dlt's."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from benchmarks.child import run_child
from benchmarks.home import REPOSITORY, Home, clean_environment
from benchmarks.landing_erp import ErpProcess
from sync_pipeline.core.entity import Constant, Entity, Sharing
from sync_pipeline.database.engine import make_engine
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed

SETTINGS: Final = """\
connections:
  erp: {{kind: rest, base_url: {url}}}
landings:
  - name: products
    connection: erp
    table: landing.products
    request: {{path: data/products}}
    records: data
    total: total
    pages: {{by: offset, size: 200}}
    id: ID
    owner: {{global: true}}
    modified: {{field: last_modified}}
    gone_when: {{field: Smazano, is: true}}
    columns:
      name: Nazev
      description: Popis
      price: {{field: Cena, type: numeric}}
      tags: {{field: Stitky, join: ", "}}
      tag_list: {{field: Stitky, type: jsonb}}
      stock: {{field: Sklad, type: jsonb}}
      firm: Firma
entities:
  - name: product
    table: landing.products
    updated_at: updated_at
    views: {{text: [name, description, tags]}}
    payload: {{price: price}}
"""

OURS: Final[Mapping[str, Sequence[str]]] = {
    "command": ("--json", "land", "products"),
    "engine": ("-m", "benchmarks.landing_child", "once"),
}
DLT: Final[Mapping[str, Sequence[str]]] = {
    "merge": ("--disposition", "merge", "--format", "csv"),
    "replace": ("--disposition", "replace", "--format", "csv"),
    "merge_default": ("--disposition", "merge", "--format", "insert_values"),
}
NAMES: Final[Mapping[str, str]] = {
    "command": "`sync-pipeline land products`",
    "engine": "the landing alone, without Dagster",
    "merge": "dlt, merge (upsert), CSV",
    "replace": "dlt, replace (insert-from-staging), CSV",
    "merge_default": "dlt, merge (upsert), default format",
}

_WRITTEN: Final = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s
"""
_EVENTS: Final = "SELECT count(*) FROM sync_pipeline.change_event"
_WAL: Final = "SELECT pg_current_wal_insert_lsn() - '0/0'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one landing took and did."""

    seconds: float
    """Process start to process end."""
    cpu_seconds: float
    """Of the process that lands; not of PostgreSQL's and the API's."""
    peak_mib: float
    """Of the same."""
    requests: int
    rows_written: int
    """Of the target: inserted, updated and deleted."""
    wal_mb: float
    """All that was written ahead, staging included."""
    events: int | None
    """Of the change feed on the target; None before it is there."""


@dataclass(slots=True, kw_only=True)
class Way:
    """One way, with a database and a folder of its own."""

    name: str
    database_url: str
    folder: Path
    table: str
    """The target, with its schema."""
    name_column: str
    command: Sequence[str]
    environment: Mapping[str, str]
    has_feed: bool = field(default=False, init=False)

    def install_feed(self) -> None:
        """Have every change of the target noted, as for a sync that follows it."""
        entity = Entity(
            name="product",
            table=self.table,
            tenant=Constant("acme"),
            is_global=Sharing.NONE,
            views=(("text", (self.name_column,)),),
        )
        engine = make_engine(self.database_url)
        PostgresChangeFeed(engine).install([entity])
        engine.dispose()
        self.has_feed = True

    def land(self, erp: ErpProcess) -> Measured:
        """Land once, and look at what that did."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Each begins with the same: the first change of a page after a checkpoint is written whole.
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        before = self._counted()
        erp.take_requests()
        cpu_before = _cpu_of_children()
        done = run_child(
            self.command, environment=self.environment, folder=self.folder, is_watched=True
        )
        cpu_seconds = _cpu_of_children() - cpu_before
        after = self._counted()
        return Measured(
            seconds=done.seconds,
            cpu_seconds=cpu_seconds,
            peak_mib=done.peak_bytes / 2**20,
            requests=erp.take_requests(),
            rows_written=after[0] - before[0],
            wal_mb=(after[1] - before[1]) / 1e6,
            events=after[2] - before[2] if self.has_feed else None,
        )

    def count_rows(self, *, like: str = "%") -> int:
        """Rows of the target whose name is like that."""
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {} LIKE {}").format(
            sql.Identifier(*self.table.split(".")),
            sql.Identifier(self.name_column),
            sql.Literal(like),
        )
        with psycopg.connect(self.database_url) as connection:
            (count,) = connection.execute(statement).fetchone() or (0,)
        return int(count)

    def _counted(self) -> tuple[int, int, int]:
        """Rows written to the target so far, bytes written ahead, events."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            (written,) = connection.execute(_WRITTEN, self.table.split(".")).fetchone() or (0,)
            (wal_bytes,) = connection.execute(_WAL).fetchone() or (0,)
            events = 0
            if self.has_feed:
                (events,) = connection.execute(_EVENTS).fetchone() or (0,)
        return int(written), int(wal_bytes), int(events)


def make_way(
    name: str, *, database_url: str, folder: Path, erp: ErpProcess, rivals_python: Path
) -> Way:
    """One of ``NAMES``, with nothing landed."""
    if name in OURS:
        home = Home(folder=folder, database_url=database_url, provider="hashing")
        folder.mkdir(parents=True)
        (folder / "sync_pipeline.yaml").write_text(SETTINGS.format(url=erp.url), encoding="utf-8")
        return Way(
            name=name,
            database_url=database_url,
            folder=folder,
            table="landing.products",
            name_column="name",
            command=[home.program, *OURS[name]]
            if name == "command"
            else [sys.executable, *OURS[name]],
            environment={**home.environment, "PYTHONPATH": str(REPOSITORY)},
        )
    return Way(
        name=name,
        database_url=database_url,
        folder=folder,
        table="raw.products",
        name_column="nazev",
        command=[
            str(rivals_python), "-m", "benchmarks.rivals.dlt_landing", "--database", database_url,
            "--erp", erp.url, "--folder", str(folder / "state"), *DLT[name],
        ],
        environment={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def _cpu_of_children() -> float:
    """Seconds of CPU of all programs that ended; server and API are none of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
