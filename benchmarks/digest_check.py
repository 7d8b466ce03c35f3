"""Asking the source which of many tenants changed."""

from __future__ import annotations

import time

import sqlalchemy as sa

from benchmarks.catalogue import CatalogueSize
from benchmarks.home import require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.database.engine import make_engine
from sync_pipeline.settings import Settings
from sync_pipeline.sources.postgres import PostgresRowSource

TITLE = "Digests of all scopes"
MAX_SECONDS = 2.0


def measure(bench: Workbench) -> Outcome:
    size = CatalogueSize(rows=bench.sizes.digest_rows, tenants=bench.sizes.digest_tenants)
    engine = make_engine(bench.new_database(size))
    try:
        seconds = [_ask(engine, size) for _ in range(bench.sizes.repetitions)]
    finally:
        engine.dispose()
    return Outcome(
        name="digest_check",
        title=TITLE,
        figures=(
            Figure(key="rows", label="rows", unit="rows", samples=(size.rows,)),
            Figure(key="tenants", label="tenants", unit="tenants", samples=(size.tenants,)),
            Figure(
                key="digests",
                label="digests of all scopes",
                unit="s",
                samples=tuple(seconds),
                limit=bench.limit(MAX_SECONDS, "1,000,000 rows of 10,000 tenants")
                if bench.suite == "full"
                else None,
            ),
        ),
    )


def _ask(engine: sa.Engine, size: CatalogueSize) -> float:
    entities = Settings().core_entities
    began = time.perf_counter()
    found = PostgresRowSource(engine).digest_by_scope(entities)
    seconds = time.perf_counter() - began
    require(len(found) == size.scopes, "every scope has a digest")
    return seconds
