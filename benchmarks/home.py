"""One installation under test: a database, an index, and the command line as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg import sql

from benchmarks.child import BenchmarkError, Finished, kill_after, run_child
from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.urls import driver_url

Provider = Literal["hashing", "sentence-transformers", "openai"]

REPOSITORY: Final = Path(__file__).resolve().parent.parent

PROGRAM: Final = str(Path(sys.executable).with_name("sync-pipeline"))
"""The command line as installed beside this interpreter."""

_OURS: Final = ("SYNC_PIPELINE", "DATABASE_URL", "STATE_DATABASE_URL", "QDRANT_", "OPENAI_", "PG")
_QUIET: Final = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}

# The server counts what a connection did when that ends, at the latest.
_WRITES: Final = """
SELECT relname, n_tup_ins + n_tup_upd + n_tup_del
FROM pg_stat_user_tables WHERE schemaname = 'sync_pipeline'
"""


class Server:
    """The embedded PostgreSQL of a run, with a database per purpose."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pg"
        self._made = 0

    def create(self, *, template: str | None = None) -> str:
        """Make a database, empty or a copy of another one that nobody uses; its libpq URL."""
        self._made += 1
        name = f"bench_{self._made}"
        if template is None:
            return driver_url(embedded_database_url(self._folder, database=name), "libpq")
        main = driver_url(embedded_database_url(self._folder), "libpq")
        with psycopg.connect(main, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(_database_of(template))
                )
            )
        return driver_url(embedded_database_url(self._folder, database=name), "libpq")

    def drop(self, url: str) -> None:
        """Remove a database and whoever is connected to it."""
        main = driver_url(embedded_database_url(self._folder), "libpq")
        with psycopg.connect(main, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_database_of(url)))
            )

    def stop(self) -> None:
        """Stop the server."""
        stop_embedded_database(self._folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """One ``sync`` as a user sees it."""

    seconds: float
    """Process start to process end."""
    peak_bytes: int
    totals: Mapping[str, int]
    scopes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folder and database of one installation."""

    folder: Path
    database_url: str
    """libpq URL of source and state."""
    provider: Provider
    settings: Mapping[str, str] = field(default_factory=dict)
    """Other settings, by the name of their variable."""
    program: str = PROGRAM
    """The command line."""

    @property
    def index_folder(self) -> Path:
        """The embedded index."""
        return self.folder / "index"

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with the settings of the installation and no others."""
        return {
            **clean_environment(),
            "SYNC_PIPELINE_HOME": str(self.folder),
            "DATABASE_URL": self.database_url,
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": self.provider,
            **self.settings,
        }

    def run(self, *words: str, is_watched: bool = False) -> Finished:
        """Run the command line; see ``run_child``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return run_child(
            [self.program, *words],
            environment=self.environment,
            folder=self.folder,
            is_watched=is_watched,
        )

    def run_module(self, module: str, *words: str) -> Finished:
        """Run a module of the benchmarks with the settings of the installation."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return run_child(
            [sys.executable, "-m", module, *words],
            environment={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            folder=self.folder,
        )

    def sync(self, *words: str, is_watched: bool = False) -> SyncRun:
        """Run ``sync all`` to its end and check that every scope went well."""
        finished = self.run("--json", "sync", "all", *words, is_watched=is_watched)
        answer = json.loads(finished.output)
        require(answer["ok"], "the sync reports documents or scopes that failed")
        return SyncRun(
            seconds=finished.seconds,
            peak_bytes=finished.peak_bytes,
            totals=answer["totals"],
            scopes=tuple(answer["scopes"]),
        )

    def kill_sync(self, *, after_seconds: float) -> bool:
        """Start ``sync all`` and kill it; whether it was still at work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return kill_after(
            [self.program, "--json", "sync", "all"],
            environment=self.environment,
            folder=self.folder,
            seconds=after_seconds,
        )

    def verify(self, *, is_watched: bool = False) -> Finished:
        """Run ``verify all``, which fails where source, record and index differ."""
        return self.run("--json", "verify", "all", is_watched=is_watched)

    def lose_index(self) -> None:
        """Delete the index, as a lost disk would."""
        shutil.rmtree(self.index_folder)

    def writes(self) -> dict[str, int]:
        """Rows that were ever inserted, updated and deleted, per state table."""
        time.sleep(0.2)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return dict(connection.execute(_WRITES).fetchall())


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of the pipeline."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **_QUIET}


def require(holds: object, claim: str) -> None:
    """Stop a benchmark that would measure something else than it says.

    Raises:
        BenchmarkError: naming the claim that does not hold.
    """
    if not holds:
        raise BenchmarkError(f"the benchmark measured something else than it should: {claim}")


def _database_of(url: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(url)["dbname"]  # type: ignore[return-value]  # always set in ours
