"""Writes ``docs/scale-on-paper.md``: every number of it comes from the calculator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sync_pipeline.cli.scale import duration, filled, size
from sync_pipeline.core import measured
from sync_pipeline.core.measured import Measured
from sync_pipeline.core.scaling import Scale, ScalePlan, plan_scale

ROWS: Final = (1e6, 1e8, 1e9)
TENANTS: Final = (100, 10_000, 1_000_000)
WORKERS: Final = 4
LARGE: Final = {1e6: 4, 1e8: 32, 1e9: 128}
"""Workers that a larger installation has; each embeds like FAST."""
NODES: Final = {1e6: 1, 1e8: 3, 1e9: 24}
"""Qdrant nodes of 32 GiB that it has."""
POOLED: Final = 2_000
"""Clients that PgBouncer is allowed."""
FAST: Final = 2_000.0
"""Texts per second of a worker with a GPU or a provider: assumed, not measured here."""
GROUP: Final = 100


def scale_page(generated: str) -> str:
    """The page."""
    return _PAGE.format(
        generated=generated,
        measured=_measured(),
        rows=_by_rows(),
        nights=_by_tenants(),
        gives=_gives_way(),
        after=_afterwards(),
        workers=WORKERS,
        group=GROUP,
        fast=f"{FAST:,.0f}",
        pooled=f"{POOLED:,}",
        rate=f"{measured.TEXTS_PER_SECOND.value:,.0f}",
    )


def _table(head: str, *rows: tuple[str, ...]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(number: Measured) -> str:
    value = number.value
    if value < 1e-3:  # noqa: PLR2004 - microseconds
        return f"{value * 1e6:,.3g} u{number.unit}"
    return f"{value:,.3g} {number.unit}".strip() if value < 1000 else f"{value:,.0f} {number.unit}"  # noqa: PLR2004 - digits


def _measured() -> str:
    numbers = [number for number in vars(measured).values() if isinstance(number, Measured)]
    return _table(
        "What | Measured | Where",
        *(
            (
                number.what,
                _number(number),
                f"`{number.file}`, `{number.figure}`" if number.file else "prototype, not kept",
            )
            for number in numbers
        ),
    )


def _plan(rows: float, tenants: float, **more: float) -> ScalePlan:
    return plan_scale(
        replace(Scale(rows=rows, tenants=tenants, workers=WORKERS), **more)  # type: ignore[arg-type]  # its fields
    )


def _people(number: float) -> str:
    for unit, word in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:g} {word}"
    return f"{number:,.0f}"


def _by_rows() -> str:
    plans = [_plan(rows, TENANTS[0]) for rows in ROWS]
    one = [plan_scale(Scale(rows=rows, tenants=TENANTS[0])) for rows in ROWS]
    lines = (
        ("embedding, one worker", [duration(plan.first_embed_seconds) for plan in one]),
        (f"embedding, {WORKERS} workers", [duration(plan.first_embed_seconds) for plan in plans]),
        (f"the rest of a first sync, {WORKERS} workers",
         [duration(plan.first_write_seconds) for plan in plans]),
        ("comparing every row, a night", [duration(plan.night_compare_seconds) for plan in plans]),
        ("index on disk", [size(plan.index_disk_bytes) for plan in plans]),
        ("index in memory, all of it", [size(plan.index_memory_bytes) for plan in plans]),
        ("index in memory, at least", [size(plan.index_least_memory_bytes) for plan in plans]),
        ("records in PostgreSQL", [size(plan.state_bytes) for plan in plans]),
        ("cache in PostgreSQL", [size(plan.cache_bytes) for plan in plans]),
        ("staged files at once", [size(plan.staging_bytes) for plan in plans]),
    )  # fmt: skip
    head = " | ".join(["Documents", *(_people(rows) for rows in ROWS)])
    return _table(head, *((what, *values) for what, values in lines))


def _combinations() -> Iterator[tuple[float, float]]:
    for rows in ROWS:
        for tenants in TENANTS:
            yield rows, tenants


def _by_tenants() -> str:
    lines = []
    for rows, tenants in _combinations():
        alone, grouped = (_plan(rows, tenants, group=group) for group in (1, GROUP))
        lines.append(
            (
                _people(rows),
                _people(tenants),
                f"{alone.night_runs:,.0f}",
                duration(alone.night_submit_seconds),
                size(alone.dagster_bytes_per_night),
                f"{grouped.night_runs:,.0f}",
                duration(grouped.night_submit_seconds),
                size(grouped.dagster_bytes_per_night),
            )
        )
    return _table(
        "Documents | Tenants | Runs a night | Submitted in | Dagster, a night | "
        f"Runs in groups of {GROUP} | Submitted in | Dagster, a night",
        *lines,
    )


def _gives_way() -> str:
    lines = []
    for rows, tenants in _combinations():
        first, *others = [limit for limit in _plan(rows, tenants).limits if limit.load > 1] or [
            None
        ]
        lines.append(
            (
                _people(rows),
                _people(tenants),
                "nothing" if first is None else f"{first.part}, {filled(first)}",
                "" if first is None else first.remedy,
                ", ".join(f"{limit.part} {filled(limit)}" for limit in others if limit),
            )
        )
    return _table("Documents | Tenants | First | What to set | Then", *lines)


def _afterwards() -> str:
    lines = []
    for rows, tenants in _combinations():
        plan = _plan(
            rows, tenants, group=GROUP, workers=LARGE[rows], texts=FAST, largest=0.05,
            connections=3, allowed=POOLED, small=1, nodes=NODES[rows],
        )  # fmt: skip
        left = [limit for limit in plan.limits if limit.load > 1]
        lines.append(
            (
                _people(rows),
                _people(tenants),
                f"{LARGE[rows]}",
                f"{NODES[rows]}",
                duration(plan.first_seconds),
                duration(plan.night_seconds),
                "; ".join(f"{limit.part} ({filled(limit)}): {limit.remedy}" for limit in left)
                or "nothing",
            )
        )
    return _table(
        "Documents | Tenants | Workers | Nodes | First sync | Night | Still too much", *lines
    )


_PAGE: Final = """\
# Scale on paper

<!-- {generated} -->

What grows how, which part gives way first, and what to set, for 1 million, 100 million and
1 billion documents and for 100, 10,000 and 1 million tenants. Nothing here was tried at these
sizes: up to a million rows it was measured (see [performance](performance.md)), beyond that it is
arithmetic. Every number comes from the calculator, which answers for your own:

```bash
sync-pipeline plan --scale rows=100000000,tenants=10000,workers=16,texts=2000,group=100
```

What this page assumes: one text per row, of which 85 of 100 are distinct; 384 numbers per vector;
1 of 100 texts changed a night; half of all rows in one scope, the other half spread over the
tenants alike; {workers} workers, each embedding {rate} texts/s, the bundled model on two cores. The
calculator assumes the same of keys that are left out, but one worker. Where the pipeline is
installed, it takes the rate that was recorded, the model's dimension and the settings from there.

## What grows with the documents

{rows}

- **Embedding is nearly all of a first sync**, and grows with the distinct texts. It is the one
  part that more workers, GPUs or a provider divide as they like.
- **Writing** one scope is done by one worker; other scopes go beside it, into a Qdrant server. The
  embedded index takes one writer, so there it is not divided at all.
- **Memory of the index** cannot be divided in time, only over nodes. With `index.vectors_on_disk`
  and scalar quantization it is the least that is named above, and searches read the disk.
- **Comparing every row** is what a night costs without the
  [change feed](operations.md); with it, only changed rows are read.

## What grows with the tenants

{nights}

A night has a run for every tenant of whom a row changed. What a run costs does not depend on its
rows: events in Dagster's tables, and a place in the queue that its daemon empties at its own pace.
Tenants in groups share a run. A million tenants are more partitions than Dagster's manual advises
(100,000), whatever the groups.

## What gives way first

With {workers} workers, a run per tenant and the defaults. Full means: a first embedding or writing
of three days, a night of eight hours, 32 GiB of memory for the index, 97 connections, 100,000
partitions, 100 GiB of Dagster's tables, 1 TiB of state and cache.

{gives}

## With what is advised

Groups of {group} tenants; workers with a GPU or a provider ({fast} texts/s each, an assumption);
three connections each, through PgBouncer ([how](postgresql-connections.md)) with {pooled} clients;
small copies of the vectors in memory, on nodes of 32 GiB; no scope with more than 5 of 100 rows.

{after}

## Measured

{measured}

Costs per row grow with the embedded index (1.6 times from 100,000 to 1 million rows), so for larger
ones times are too low rather than too high; writing into a Qdrant server was not measured. Bytes
per row are of short texts and few fields: payload and text are part of the index's bytes.
`make bench-row-bytes` measures them again; `sync_pipeline/core/measured.py` keeps the numbers.
"""
