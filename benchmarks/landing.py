"""A landing beside dlt: the same records of the same REST API, into the same PostgreSQL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from benchmarks.home import require
from benchmarks.landing_erp import ErpProcess, running_apart
from benchmarks.landing_ways import NAMES, Measured, Way, make_way
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.tcp_server import TcpServer
from benchmarks.workbench import Workbench

TITLE = "Landing records of a REST API"

PRODUCTS: Final = 109_000
CHANGED_SHARE: Final = 0.01
LATENCY_SECONDS: Final = 0.02
SLOW_WAYS: Final = ("command", "merge_default", "merge")
"""Those that land from the API that takes its time too."""
SLOW_ROUNDS: Final = 2

PHASES: Final = {
    "first": "first landing",
    "unchanged": "nothing changed",
    "changed": "1 % changed",
}
_NOT_SLOWER: Final = "not slower than dlt's merge, as it comes"
_LIMITS: Final = {
    "seconds": _NOT_SLOWER,
    "memory": "no more memory than dlt's merge, as it comes",
}
_NOTHING: Final = Limit(value=0, reason="nothing changed")
DLT_MISSING: Final = (
    "the contenders' environment has no dlt; `make bench-landing` installs it, or "
    "`.venv-bench/bin/pip install -r benchmarks/requirements.txt`"
)

Taken = dict[tuple[str, str], list[Measured]]
"""By way and phase, one of each round."""


def measure(bench: Workbench) -> Outcome:
    """Land with every way in turn, several times, then once more from an API that waits."""
    if dlt_version(bench) is None:
        return Outcome(name="landing", title=TITLE, skipped=DLT_MISSING)
    products = max(1_000, round(PRODUCTS * bench.scale))
    folder = bench.new_folder("landing")
    folder.mkdir(parents=True)
    with (
        # What is written ahead is counted for the whole server, other ways' databases included.
        TcpServer(folder / "pg", settings=["autovacuum=off"]) as server,
        running_apart(products, folder=folder) as erp,
    ):
        taken = _rounds(bench, server, erp, products=products)
        erp.wait_before_each_page(LATENCY_SECONDS)
        slow = _slow_rounds(bench, server, erp)
    figures = [
        Figure(key="products", label="products", unit="rows", samples=(float(products),)),
        *_figures(taken),
        *_ratios(bench, taken),
        *_slow_figures(bench, slow),
    ]
    return Outcome(name="landing", title=TITLE, figures=tuple(figures), notes=_notes(bench))


def dlt_version(bench: Workbench) -> str | None:
    """Which dlt the environment of the contenders has; None where it has none."""
    place = "lib/python*/site-packages/dlt-*.dist-info"
    found = [it.name for it in bench.rivals_python.parent.parent.glob(place)]
    return found[0].removeprefix("dlt-").removesuffix(".dist-info") if found else None


def _notes(bench: Workbench) -> tuple[str, ...]:
    how = (
        "Each way lands in a database of its own of one PostgreSQL, reached by TCP; neither that "
        "nor the API, a process of its own, counts as CPU or memory. Ways take turns; a ratio is "
        "within one round. Seconds are from process start to process end. The database is "
        "vacuumed before each landing and not meanwhile."
    )
    what = (
        f"dlt {dlt_version(bench)}; pages of 200, of which ours have 2 records in common with the "
        f"one before. Load at the end {os.getloadavg()[0]:.1f}."
    )
    return how, what


def _rounds(bench: Workbench, server: TcpServer, erp: ErpProcess, *, products: int) -> Taken:
    taken: Taken = {(name, phase): [] for name in NAMES for phase in PHASES}
    for round_ in range(bench.sizes.repetitions):
        ways = {name: _new_way(bench, server, erp, name) for name in _order(round_)}
        for phase in PHASES:
            if phase == "changed":
                erp.change(round(products * CHANGED_SHARE))
            for name, way in ways.items():
                bench.say(f"landing, round {round_ + 1}, {PHASES[phase]}: {NAMES[name]}")
                taken[name, phase].append(way.land(erp))
                require(way.count_rows() == products, "every product has landed")
                if phase == "first":
                    way.install_feed()
        # What changed in earlier rounds was there from the first landing of this one.
        for way in ways.values():
            there = way.count_rows(like=f"%.{round_ + 1}")
            require(there == round(products * CHANGED_SHARE), "what changed has landed")
            server.drop(way.database_url)
    return taken


def _slow_rounds(bench: Workbench, server: TcpServer, erp: ErpProcess) -> Taken:
    taken: Taken = {(name, "first"): [] for name in SLOW_WAYS}
    for round_ in range(min(SLOW_ROUNDS, bench.sizes.repetitions)):
        for name in SLOW_WAYS if round_ % 2 else reversed(SLOW_WAYS):
            bench.say(f"landing, {LATENCY_SECONDS * 1000:.0f} ms a page: {NAMES[name]}")
            way = _new_way(bench, server, erp, name)
            taken[name, "first"].append(way.land(erp))
            server.drop(way.database_url)
    return taken


def _order(round_: int) -> list[str]:
    """Every way, another one first in each round, there and back."""
    names = list(NAMES)
    names = [*names[round_ % len(names) :], *names[: round_ % len(names)]]
    return names if round_ % 2 else names[::-1]


def _new_way(bench: Workbench, server: TcpServer, erp: ErpProcess, name: str) -> Way:
    return make_way(
        name,
        database_url=server.create(),
        folder=bench.new_folder("way"),
        erp=erp,
        rivals_python=bench.rivals_python,
    )


def _figures(taken: Mapping[tuple[str, str], Sequence[Measured]]) -> Iterator[Figure]:
    for (name, phase), found in taken.items():
        label = f"{PHASES[phase]}: {NAMES[name]}"
        is_still = phase == "unchanged" and name in ("command", "engine")
        for key, unit, samples in _columns(found):
            if not samples:
                continue
            counts = key in ("rows", "events")
            yield Figure(
                key=f"{key}/{phase}/{name}",
                label=f"{label}, {_MEANING[key]}",
                unit=unit,
                samples=samples,
                limit=_NOTHING if is_still and counts else None,
            )


_MEANING: Final = {
    "seconds": "start to end",
    "cpu": "CPU",
    "memory": "most memory",
    "requests": "requests",
    "rows": "rows written to the target",
    "wal": "written ahead",
    "events": "events of the change feed",
}


def _columns(found: Sequence[Measured]) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Key, unit and samples of everything that is measured of a landing."""
    yield "seconds", "s", tuple(one.seconds for one in found)
    yield "cpu", "s", tuple(one.cpu_seconds for one in found)
    yield "memory", "MiB", tuple(one.peak_mib for one in found)
    yield "requests", "requests", tuple(float(one.requests) for one in found)
    yield "rows", "rows", tuple(float(one.rows_written) for one in found)
    yield "wal", "MB", tuple(one.wal_mb for one in found)
    yield "events", "events", tuple(float(one.events) for one in found if one.events is not None)


def _ratios(
    bench: Workbench, taken: Mapping[tuple[str, str], Sequence[Measured]]
) -> Iterator[Figure]:
    """Ours against dlt's merge, as it comes and with CSV, within each round."""
    for other, phase in itertools.product(("merge_default", "merge"), PHASES):
        pairs = list(zip(taken["command", phase], taken[other, phase], strict=True))
        is_judged = other == "merge_default"
        samples: dict[str, tuple[float, ...]] = {
            "seconds": tuple(one.seconds / its.seconds for one, its in pairs),
            "cpu": tuple(one.cpu_seconds / its.cpu_seconds for one, its in pairs),
            "memory": tuple(one.peak_mib / its.peak_mib for one, its in pairs),
        }
        for key, ratios in samples.items():
            yield Figure(
                key=f"ratio/{key}/{phase}/{other}",
                label=f"{PHASES[phase]}, {_MEANING[key]}: ours / {NAMES[other]}",
                unit="x",
                samples=ratios,
                limit=bench.limit(1.0, _LIMITS[key]) if is_judged and key in _LIMITS else None,
            )


def _slow_figures(
    bench: Workbench, slow: Mapping[tuple[str, str], Sequence[Measured]]
) -> Iterator[Figure]:
    waits = f"{LATENCY_SECONDS * 1000:.0f} ms a page"
    for (name, _), found in slow.items():
        yield Figure(
            key=f"slow/{name}",
            label=f"first landing, {waits}: {NAMES[name]}, start to end",
            unit="s",
            samples=tuple(one.seconds for one in found),
        )
    for other in SLOW_WAYS[1:]:
        pairs = zip(slow["command", "first"], slow[other, "first"], strict=True)
        yield Figure(
            key=f"ratio/slow/{other}",
            label=f"first landing, {waits}, start to end: ours / {NAMES[other]}",
            unit="x",
            samples=tuple(one.seconds / its.seconds for one, its in pairs),
            limit=bench.limit(1.0, _NOT_SLOWER) if other == "merge_default" else None,
        )
