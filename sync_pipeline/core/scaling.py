"""Scale on paper: what an installation of some size takes, from what was measured.

Pure arithmetic. It says orders of magnitude: the rates are of small machines and short texts, and
each is replaced by what this installation measured of itself where there is such a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Final

from sync_pipeline.core import measured
from sync_pipeline.core.errors import ConfigurationError

BYTES_PER_NUMBER: Final = 4
GIB: Final = 2**30
HOUR: Final = 3600.0

NIGHT_SECONDS: Final = 8 * HOUR
"""How long a night may take."""
FIRST_SECONDS: Final = 72 * HOUR
"""How long a first sync may take before another way of embedding is worth it: a weekend."""
EDGE_POINTS: Final = 1_000_000
"""Most points that the embedded index was measured with (docs/decisions/0008)."""
PARTITION_KEYS: Final = 100_000
"""Most partitions of an asset that Dagster's manual advises."""
STATE_BYTES: Final = 2**40
"""PostgreSQL's share of the state that one server without partitioned tables keeps well."""
DAGSTER_BYTES: Final = 100 * GIB
"""Size of Dagster's tables from which its event log answers slowly."""
DAGSTER_CONNECTIONS: Final = 2
"""Of a worker to Dagster's tables: one for the run, one for whoever looks after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is asked about. Each field is a key of ``plan --scale``."""

    rows: float
    """Rows of the source, of all tenants together."""
    tenants: float = 1
    workers: float = 1
    """Processes that execute runs, or parts of one."""
    changed: float = 0.01
    """Share of the rows whose text changes between two nights."""
    largest: float = 0.5
    """Share of the rows in the largest scope: what one run has to write alone."""
    views: float = 1
    """Texts per row, each with a vector."""
    distinct: float = measured.DISTINCT_TEXTS.value
    """Share of the texts that no other row has too."""
    dimension: float = measured.MEASURED_DIMENSION
    """Numbers per vector."""
    texts: float = measured.TEXTS_PER_SECOND.value
    """Texts per second that one worker embeds."""
    replication: float = 1
    """Copies of the index, Qdrant's replication factor."""
    group: float = 1
    """Tenants per run; 1: every tenant has its own."""
    nodes: float = 1
    """Qdrant nodes that share the index."""
    node_gib: float = 32
    """Memory of one of them."""
    small: float = 0
    """1: vectors lie on disk and are searched by small copies of them: `index.vectors_on_disk:
    true` and `index.quantization: scalar`."""
    connections: float = 10
    """Per worker to PostgreSQL: `source.max_connections`, and `state.max_connections` where the
    state has a database of its own."""
    allowed: float = 97
    """Connections that the PostgreSQL server allows."""
    retention_days: float = 14
    """How long runs are kept: `schedule.run_retention_days`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One part, and how much of what it can carry is asked of it."""

    part: str
    needed: float
    carried: float
    unit: str
    remedy: str
    """What to set, or what to have instead, where it gives way."""

    @property
    def load(self) -> float:
        """1 where it is full; above that it gives way."""
        return self.needed / self.carried


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePlan:
    """What an installation of one size takes; seconds and bytes."""

    scale: Scale
    first_embed_seconds: float
    first_write_seconds: float
    """Reading, comparing and writing, without embedding."""
    first_seconds: float
    night_runs: float
    night_submit_seconds: float
    night_compare_seconds: float
    night_embed_seconds: float
    night_seconds: float
    index_disk_bytes: float
    index_memory_bytes: float
    """With every page in memory."""
    index_least_memory_bytes: float
    """With `vectors_on_disk` and scalar quantization; searches then read the disk."""
    staging_bytes: float
    """At most, while the largest scope and one by each other worker have their first sync."""
    state_bytes: float
    """Records of the documents, in PostgreSQL."""
    cache_bytes: float
    """Vectors in the cache, in PostgreSQL."""
    dagster_bytes_per_night: float
    dagster_bytes: float
    """While runs are kept."""
    connections: float
    limits: tuple[Limit, ...]
    """The part with the highest load first."""

    @property
    def first_to_give_way(self) -> Limit | None:
        """The part that is overloaded most; None where all carry what is asked."""
        return self.limits[0] if self.limits[0].load > 1 else None


def read_scale(text: str, *, defaults: Mapping[str, float] | None = None) -> Scale:
    """Read ``rows=1000000,tenants=100,workers=4``.

    Args:
        text: Keys of ``Scale`` with their numbers, also as ``1e6`` or ``1_000_000``.
        defaults: What the installation knows better than ``Scale``'s own defaults.

    Raises:
        ConfigurationError: unknown or doubled keys, no numbers, numbers out of their range, or no
            rows.
    """
    values: dict[str, float] = dict(defaults or {})
    given: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, number = (piece.strip() for piece in part.partition("="))
        if key not in _RANGES:
            alike = get_close_matches(key, _RANGES, n=1)
            hint = f"did you mean {alike[0]}? " if alike else ""
            raise ConfigurationError(
                f"--scale knows no {key!r}: {hint}There are {', '.join(_RANGES)}."
            )
        if key in given:
            raise ConfigurationError(f"--scale says {key} twice; say it once.")
        given.add(key)
        values[key] = _number(key, number)
    if "rows" not in values:
        raise ConfigurationError("--scale needs rows, as in rows=1000000,tenants=100,workers=4.")
    if values["rows"] < values.get("tenants", 1):
        raise ConfigurationError(
            f"--scale says fewer rows ({values['rows']:,.0f}) than tenants "
            f"({values.get('tenants', 1):,.0f}); every tenant has a row at least."
        )
    return Scale(**values)


_SHARES: Final = frozenset({"changed", "largest", "distinct", "small"})
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    one.name: (0, 1) if one.name in _SHARES else (1e-3, 1e15) if one.name == "texts" else (1, 1e15)
    for one in fields(Scale)
}


def _number(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    least, most = _RANGES[key]
    if not least <= number <= most:
        raise ConfigurationError(
            f"--scale needs a number from {least:g} to {most:g} for {key}, not {text!r}."
        )
    return number


def plan_scale(scale: Scale) -> ScalePlan:
    """Work out what an installation of this size takes."""
    # A server's index takes points of several scopes at once; the largest scope is written alone.
    scopes = scale.tenants + 1
    side_by_side = min(scale.workers, scopes)
    speed = _embedding_speed(scale)
    texts = scale.rows * scale.views * scale.distinct

    def spread(rows: float, seconds_per_row: float) -> float:
        alone = min(scale.largest, 1) if scopes > 1 else 1.0
        return rows * seconds_per_row * max(1 / side_by_side, alone)

    first_embed = texts / speed
    first_write = spread(scale.rows, measured.SYNC_SECONDS.value)

    due = due_scopes(scale)
    runs = math.ceil(due / scale.group)
    submit = runs / measured.SUBMITTED_PER_SECOND.value
    per_scope = measured.RUN_SECONDS.value if scale.group == 1 else measured.GROUPED_SECONDS.value
    compare = (
        scale.rows * measured.DIGEST_SECONDS.value
        + spread(scale.rows * due / scopes, measured.COMPARE_SECONDS.value)
        + due * per_scope / side_by_side
    )
    changed = scale.rows * scale.changed
    night_embed = changed * scale.views * scale.distinct / speed
    night_write = spread(changed, measured.SYNC_SECONDS.value)
    # Runs are submitted while earlier ones are executed.
    night = max(submit, compare + night_embed + night_write)

    per_night = due * (
        measured.RUN_BYTES.value if scale.group == 1 else measured.GROUPED_BYTES.value
    )
    more_vectors = BYTES_PER_NUMBER * (scale.views * scale.dimension - measured.MEASURED_DIMENSION)
    copies = scale.rows * scale.replication
    sizes = {
        "index_disk_bytes": copies * (measured.POINT_DISK_BYTES.value + more_vectors),
        "index_memory_bytes": copies * (measured.POINT_RESIDENT_BYTES.value + more_vectors),
        # A number of a scalar-quantized copy is one byte instead of four.
        "index_least_memory_bytes": copies
        * (measured.POINT_OWN_BYTES.value + more_vectors / BYTES_PER_NUMBER),
        "staging_bytes": scale.rows * _under_way(scale) * measured.STAGING_BYTES.value,
        "state_bytes": scale.rows * measured.STATE_BYTES.value,
        "cache_bytes": texts
        * (
            measured.CACHE_BYTES.value
            + BYTES_PER_NUMBER * (scale.dimension - measured.MEASURED_DIMENSION)
        ),
        "dagster_bytes_per_night": per_night,
        "dagster_bytes": per_night * scale.retention_days,
    }
    connections = scale.workers * (scale.connections + DAGSTER_CONNECTIONS)
    seconds = {
        "first_embed_seconds": first_embed,
        "first_write_seconds": first_write,
        "first_seconds": first_embed + first_write,
        "night_submit_seconds": submit,
        "night_compare_seconds": compare,
        "night_embed_seconds": night_embed,
        "night_seconds": night,
    }
    loads = _limits(scale, seconds=seconds, sizes=sizes, runs=runs, connections=connections)
    return ScalePlan(
        scale=scale,
        night_runs=runs,
        connections=connections,
        limits=tuple(sorted(loads, key=lambda limit: -limit.load)),
        **seconds,
        **sizes,
    )


def due_scopes(scale: Scale) -> float:
    """Scopes with a changed row on an average night, changes falling on any row alike."""
    rows_of_others = scale.rows * (1 - scale.largest) / scale.tenants
    untouched = (1 - scale.changed) ** max(1.0, rows_of_others) if scale.changed < 1 else 0.0
    is_largest_due = 1 if scale.changed > 0 else 0
    return scale.tenants * (1 - untouched) + is_largest_due


def _under_way(scale: Scale) -> float:
    """Share of the rows in scopes that are synced at once, the largest among them."""
    others = min(scale.workers - 1, scale.tenants)
    return min(1.0, scale.largest + others * (1 - scale.largest) / scale.tenants)


def _embedding_speed(scale: Scale) -> float:
    """Texts per second of all workers together: each is slower than one alone."""
    share = 1.0 if scale.workers == 1 else measured.WORKER_SHARE.value
    return scale.texts * scale.workers * share


def _limits(
    scale: Scale,
    *,
    seconds: Mapping[str, float],
    sizes: Mapping[str, float],
    runs: float,
    connections: float,
) -> list[Limit]:
    limits = [
        Limit(
            part="first embedding",
            needed=seconds["first_embed_seconds"] / HOUR,
            carried=FIRST_SECONDS / HOUR,
            unit="h",
            remedy="more workers (workers=), GPUs or a provider (texts=)",
        ),
        Limit(
            part="first writing",
            needed=seconds["first_write_seconds"] / HOUR,
            carried=FIRST_SECONDS / HOUR,
            unit="h",
            remedy="a Qdrant server, and workers for several scopes; the largest scope is written "
            "by one (largest=)",
        ),
        Limit(
            part="night",
            needed=seconds["night_seconds"] / HOUR,
            carried=NIGHT_SECONDS / HOUR,
            unit="h",
            remedy="the change feed (`feed install`), so that only changed rows are read; more "
            "workers; groups of tenants (group=)",
        ),
        Limit(
            part="submitting runs",
            needed=runs,
            carried=NIGHT_SECONDS * measured.SUBMITTED_PER_SECOND.value,
            unit="runs a night",
            remedy="groups of tenants (group=100)",
        ),
        _index_memory(scale, sizes),
        Limit(
            part="PostgreSQL connections",
            needed=connections,
            carried=scale.allowed,
            unit="connections",
            remedy="`source.max_connections: 3`, PgBouncer, or a higher `max_connections` of the "
            "server (docs/postgresql-connections.md)",
        ),
        Limit(
            part="Dagster's partitions",
            needed=scale.tenants + 1,
            carried=PARTITION_KEYS,
            unit="keys",
            remedy="several installations, each with a part of the tenants and a collection of "
            "its own",
        ),
        Limit(
            part="Dagster's tables",
            needed=sizes["dagster_bytes"] / GIB,
            carried=DAGSTER_BYTES / GIB,
            unit="GiB",
            remedy="groups of tenants (group=100), a shorter `schedule.run_retention_days`",
        ),
        Limit(
            part="state and cache in PostgreSQL",
            needed=(sizes["state_bytes"] + sizes["cache_bytes"]) / GIB,
            carried=STATE_BYTES / GIB,
            unit="GiB",
            remedy="a database of its own (`state.url`) with disks for it; `cache prune`; several "
            "installations",
        ),
    ]
    if scale.workers == 1:
        limits.append(
            Limit(
                part="embedded index",
                needed=scale.rows,
                carried=EDGE_POINTS,
                unit="points",
                remedy="a Qdrant server (`index.url`)",
            )
        )
    return limits


def _index_memory(scale: Scale, sizes: Mapping[str, float]) -> Limit:
    """Of all nodes together."""
    is_small = scale.small >= 1
    least = sizes["index_least_memory_bytes"]
    needed = least if is_small else sizes["index_memory_bytes"]
    nodes = math.ceil(needed / (scale.node_gib * GIB))
    smaller = (
        "`index.vectors_on_disk: true` and `index.quantization: scalar` (small=1) take "
        f"{least / GIB:,.1f} GiB at least; or "
    )
    return Limit(
        part="memory of the index",
        needed=needed / GIB,
        carried=scale.nodes * scale.node_gib,
        unit="GiB",
        remedy=f"{'' if is_small else smaller}more nodes (nodes={nodes})",
    )
