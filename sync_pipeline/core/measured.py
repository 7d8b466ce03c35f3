"""Rates and sizes that were measured, each with the benchmark result that it comes from.

A test compares every number with its file, so a new measurement is copied here or the suite
fails. To replace a number, measure it and write the figure's new value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number, and where it was measured."""

    value: float
    unit: str
    what: str
    file: str | None
    """Below ``benchmarks/results``; None: of a prototype, no result is kept yet."""
    figure: str = ""
    """``benchmark:key`` of the figure."""
    per: str | float = 1
    """What the figure is divided by: another figure of that file, or a number."""
    factor: float = 1
    """What that is multiplied with, where the units differ."""


_FULL: Final = "2026-11-21-full.json"
_SIZES: Final = "2026-11-29-sizes.json"
_TENANTS: Final = "acceptance/2026-11-29-many-tenants.json"
_FAN_OUT: Final = "acceptance/2026-11-29-fan-out.json"
_BYTES: Final = "row_bytes/2026-11-29-quick.json"
_MIB: Final = 2**20
_INDEXED: Final = 55_000
"""Documents of the benchmark of index sizes."""

SYNC_SECONDS: Final = Measured(
    value=396e-6, unit="s/row", what="first sync of a row without its embedding, at a million",
    file=_FULL, figure="growth:per_row/first/1000000", factor=1e-6,
)  # fmt: skip
COMPARE_SECONDS: Final = Measured(
    value=86.2e-6, unit="s/row", what="comparing a row that has not changed, at a million",
    file=_FULL, figure="growth:per_row/unchanged/1000000", factor=1e-6,
)  # fmt: skip
DIGEST_SECONDS: Final = Measured(
    value=1.32e-6, unit="s/row", what="digest that tells which scopes changed",
    file=_FULL, figure="digest_check:digests", per="digest_check:rows",
)  # fmt: skip
TEXTS_PER_SECOND: Final = Measured(
    value=175, unit="texts/s", what="the bundled model on two cores, short texts",
    file=_FULL, figure="first_sync_model:texts", per="first_sync_model:encoding",
)  # fmt: skip
DISTINCT_TEXTS: Final = Measured(
    value=0.85, unit="", what="distinct texts per row, of the benchmarks' catalogue",
    file=_FULL, figure="first_sync_model:texts", per="first_sync_model:rows",
)  # fmt: skip
POINT_RESIDENT_BYTES: Final = Measured(
    value=3102, unit="bytes/point", what="memory of an index whose every page is in memory",
    file=_SIZES, figure="index_sizes:resident/defaults", per=_INDEXED, factor=_MIB,
)  # fmt: skip
POINT_OWN_BYTES: Final = Measured(
    value=665, unit="bytes/point",
    what="memory that the system cannot give up, with vectors_on_disk and scalar quantization",
    file=_SIZES, figure="index_sizes:own/scalar, vectors_on_disk", per=_INDEXED, factor=_MIB,
)  # fmt: skip
POINT_DISK_BYTES: Final = Measured(
    value=2917, unit="bytes/point", what="built index on disk",
    file=_SIZES, figure="index_sizes:disk/defaults", per=_INDEXED, factor=_MIB,
)  # fmt: skip
STATE_BYTES: Final = Measured(
    value=624, unit="bytes/row", what="record of a document in `index_state`",
    file=_BYTES, figure="row_bytes:index_state",
)  # fmt: skip
CACHE_BYTES: Final = Measured(
    value=1_732, unit="bytes/vector", what="vector in `embedding_cache`",
    file=_BYTES, figure="row_bytes:embedding_cache",
)  # fmt: skip
STAGING_BYTES: Final = Measured(
    value=400, unit="bytes/row", what="staged files of a first sync",
    file=_BYTES, figure="row_bytes:staging",
)  # fmt: skip
RUN_BYTES: Final = Measured(
    value=93_309, unit="bytes/run", what="run of one scope in Dagster's tables",
    file=_BYTES, figure="row_bytes:run_bytes",
)  # fmt: skip
RUN_SECONDS: Final = Measured(
    value=1.12, unit="s/run", what="run of a small scope in which nothing changed",
    file=_BYTES, figure="row_bytes:run_seconds",
)  # fmt: skip
GROUPED_BYTES: Final = Measured(
    value=1_529, unit="bytes/tenant", what="a changed tenant in a run of a group of 100",
    file=_TENANTS, figure="many_tenants:bytes/changed", factor=1000,
)  # fmt: skip
GROUPED_SECONDS: Final = Measured(
    value=0.175, unit="s/tenant", what="a tenant of five rows in a run of a group of 100",
    file=_TENANTS, figure="many_tenants:night/running", per="many_tenants:night/ran",
)  # fmt: skip
SUBMITTED_PER_SECOND: Final = Measured(
    value=1.25, unit="runs/s", what="runs that Dagster's daemon submits",
    file=None,
)  # fmt: skip
WORKER_SHARE: Final = Measured(
    value=0.863, unit="",
    what="speed of each of four workers that embed one scope, alone being 1",
    file=_FAN_OUT, figure="fan_out:one/embedding", per="fan_out:four/embedding", factor=1 / 4,
)  # fmt: skip

MEASURED_DIMENSION: Final = 384
"""Numbers per vector wherever bytes were measured; a number is four bytes."""
