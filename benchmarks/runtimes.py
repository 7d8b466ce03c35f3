"""What a search and a small sync take with the runtime that they choose, and with torch.

``python -m benchmarks.runtimes TEXTS ROUNDS`` embeds the texts of a JSON file with every runtime in
turn, so many times, and prints texts per second of time and of CPU as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import source
from benchmarks.bare_start import TEXT
from benchmarks.catalogue import CatalogueSize
from benchmarks.home import Home, require
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.workbench import Workbench, sample_texts

TITLE = "Runtimes of the model"
TENANT: Final = "tenant-00001"
CHANGED: Final = 10
MAX_SEARCH_SECONDS: Final = 1.5
MAX_SYNC_SECONDS: Final = 4.0
NOT_SLOWER: Final = 1.05
"""Two runs of the same differ by so much."""
SPEED_TEXTS: Final = 256
AS_BEFORE: Final = {"SYNC_PIPELINE__EMBEDDING__RUNTIME": "torch"}
EXACT: Final = {"SYNC_PIPELINE__EMBEDDING__DTYPE": "float32"}

WAYS: Final = (
    ("torch", "float32"),
    ("onnx", "float32"),
    ("numpy", "float32"),
    ("torch", "bfloat16"),
)
"""Runtime and number format, the first one what the others are compared with."""


def measure(bench: Workbench) -> Outcome:
    figures = [*_starts(bench), *_first_syncs(bench), *_speeds(bench)]
    load = os.getloadavg()[0]
    note = f"Ways alternate, a ratio is within one round. Load at the end {load:.1f}."
    return Outcome(name="runtimes", title=TITLE, figures=tuple(figures), notes=(note,))


def _starts(bench: Workbench) -> list[Figure]:
    """From process start to the end of a search, and of a sync of ten changed texts."""
    home = bench.synced_home
    before = replace(home, settings={**home.settings, **AS_BEFORE})
    numbers = iter(range(10_000, 20_000))

    def sync(home: Home, *words: str) -> float:
        source.change_texts(home.database_url, count=CHANGED, round_=next(numbers))
        done = home.sync(*words)
        require(done.totals["embedded_texts"] == CHANGED, "ten texts are embedded")
        return done.seconds

    def search(home: Home) -> float:
        return home.run("--json", "search", TEXT, "--tenant", TENANT).seconds

    ways: Mapping[str, Callable[[], float]] = {
        "bare/numpy": lambda: _bare(bench, "numpy"),
        "bare/onnx": lambda: _bare(bench, "onnx"),
        "bare/torch": lambda: _bare(bench, "torch"),
        "search/auto": lambda: search(home),
        "search/torch": lambda: search(before),
        "sync/changes": lambda: sync(home, "--mode", "incremental"),
        "sync/auto": lambda: sync(home),
        "sync/torch": lambda: sync(before),
    }
    home.run("feed", "install")
    home.sync("--force")
    # The first of each finds cold caches, and proves the runtime for all that follow.
    taken: dict[str, list[float]] = {key: [] for key in (*ways, *(f"cpu/{key}" for key in ways))}
    for way in ways.values():
        way()
    for _ in range(bench.sizes.repetitions):
        bench.say("starting searches and syncs")
        for key, way in ways.items():
            before_cpu = _cpu_of_children()
            taken[key].append(way())
            taken[f"cpu/{key}"].append(_cpu_of_children() - before_cpu)
    home.run("feed", "remove")
    return _start_figures(bench, taken)


def _start_figures(bench: Workbench, taken: Mapping[str, Sequence[float]]) -> list[Figure]:
    rows = bench.sizes.rows
    labels = {
        "bare/numpy": "bare numpy and tokenizer: process start to the first vector",
        "bare/onnx": "bare ONNX Runtime and tokenizer: the same",
        "bare/torch": "bare sentence-transformers: the same",
        "search/auto": f"`search` of {rows:,} documents, process start to end",
        "search/torch": "`search` with torch",
        "sync/changes": f"`sync all --mode incremental` after {CHANGED} changed texts, "
        "process start to end",
        "sync/auto": f"`sync all`, which compares everything, after {CHANGED} changed texts",
        "sync/torch": f"`sync all` after {CHANGED} changed texts with torch",
    }
    limits = {
        "search/auto": bench.limit(MAX_SEARCH_SECONDS, "somebody waits for it"),
        "sync/changes": bench.limit(MAX_SYNC_SECONDS, "somebody waits for it"),
        "sync/auto": bench.limit(MAX_SYNC_SECONDS, "somebody waits for it"),
    }
    figures = [
        Figure(key=key, label=label, unit="s", samples=tuple(taken[key]), limit=limits.get(key))
        for key, label in labels.items()
    ]
    figures += [
        Figure(
            key=f"cpu/{key}", label=f"{label}: CPU", unit="s", samples=tuple(taken[f"cpu/{key}"])
        )
        for key, label in labels.items()
    ]
    ratios = (
        ("search/bare", "`search` / bare numpy", "search/auto", "bare/numpy"),
        (
            "sync/changes/bare",
            f"`sync all --mode incremental` of {CHANGED} / bare numpy",
            "sync/changes",
            "bare/numpy",
        ),
        ("sync/bare", f"`sync all` of {CHANGED} / bare numpy", "sync/auto", "bare/numpy"),
        ("search/before", "`search` with torch / as it is", "search/torch", "search/auto"),
        (
            "sync/before",
            f"`sync all` of {CHANGED} with torch / as it is",
            "sync/torch",
            "sync/auto",
        ),
        ("cpu/search", "the same of CPU: `search`", "cpu/search/torch", "cpu/search/auto"),
        (
            "cpu/sync",
            f"the same of CPU: `sync all` of {CHANGED}",
            "cpu/sync/torch",
            "cpu/sync/auto",
        ),
    )
    return figures + [
        Figure(key=f"ratio/{key}", label=label, unit="x", samples=_ratios(taken[one], taken[other]))
        for key, label, one, other in ratios
    ]


def _first_syncs(bench: Workbench) -> list[Figure]:
    """First syncs side by side: as they choose, and with torch."""
    size = CatalogueSize(rows=bench.sizes.model_rows)
    figures = []
    ways: list[tuple[str, Mapping[str, str]]] = [("auto", {}), ("torch", AS_BEFORE)]
    # By default both may choose the same: what is looked for is small, and takes several rounds.
    for name, settings, rounds in (
        ("default", {}, bench.sizes.repetitions),
        ("float32", EXACT, bench.sizes.model_repetitions),
    ):
        taken: dict[str, list[float]] = {"auto": [], "torch": []}
        for round_ in range(rounds):
            for way, more in ways if round_ % 2 else reversed(ways):
                bench.say(f"first sync of {size.rows:,} rows, {name} number format, {way}")
                home = bench.new_home(size, provider="sentence-transformers")
                done = replace(home, settings={**settings, **more}).sync()
                taken[way].append(done.seconds)
        is_default = name == "default"
        limit = Limit(value=NOT_SLOWER, reason="not slower than with torch")
        figures += [
            Figure(
                key=f"first/{name}/{way}",
                label=f"first sync of {size.rows:,} rows, number format {name}, {way}",
                unit="s",
                samples=tuple(seconds),
            )
            for way, seconds in taken.items()
        ]
        figures.append(
            Figure(
                key=f"ratio/first/{name}",
                label=f"first sync, number format {name}: as it chooses / with torch",
                unit="x",
                samples=_ratios(taken["auto"], taken["torch"]),
                limit=limit if is_default else None,
            )
        )
    return figures


def _speeds(bench: Workbench) -> list[Figure]:
    """Documents a second of each runtime in one process, in turn."""
    folder = bench.new_folder("runtimes")
    folder.mkdir()
    texts = sample_texts(bench.catalogue, SPEED_TEXTS)
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    bench.say("embedding with every runtime in turn")
    rounds = str(bench.sizes.repetitions + 2)
    done = bench.run_module("benchmarks.runtimes", "texts.json", rounds, folder=folder)
    found: dict[str, dict[str, list[float]]] = json.loads(done.output)
    figures = []
    for runtime, dtype in WAYS:
        name = f"{runtime} in {dtype}"
        speeds, reference = found[name], found["torch in float32"]
        figures.append(
            Figure(
                key=f"speed/{runtime}/{dtype}",
                label=f"documents by {name}",
                unit="texts/s",
                samples=tuple(speeds["wall"]),
            )
        )
        figures += [
            Figure(
                key=f"ratio/{kind}/{runtime}/{dtype}",
                label=f"documents by {name} / torch in float32, per second of {of}",
                unit="x",
                samples=_ratios(speeds[kind], reference[kind]),
            )
            for kind, of in (("wall", "time"), ("cpu", "CPU"))
            if (runtime, dtype) != WAYS[0]
        ]
    return figures


def _ratios(ones: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Within each round."""
    return tuple(one / other for one, other in zip(ones, others, strict=True))


def _cpu_of_children() -> float:
    """Seconds of CPU of all programs that ended; the database server is none of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _bare(bench: Workbench, runtime: str) -> float:
    return bench.run_module("benchmarks.bare_start", runtime, folder=bench.folder).seconds


def main() -> None:
    from sync_pipeline.embedding.sentence_transformers import (  # noqa: PLC0415
        SentenceTransformersEmbedder,
    )

    texts: list[str] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    embedders = {
        f"{runtime} in {dtype}": SentenceTransformersEmbedder(
            device="cpu",
            runtime=runtime,  # type: ignore[arg-type]  # one of its names
            dtype=dtype,  # type: ignore[arg-type]  # one of its names
        )
        for runtime, dtype in WAYS
    }
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in embedders}
    for round_ in range(int(sys.argv[2]) + 1):
        for name, embedder in embedders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            embedder.embed(texts)
            if round_:  # The first one loads.
                found[name]["wall"].append(len(texts) / (time.perf_counter() - wall))
                found[name]["cpu"].append(len(texts) / (time.process_time() - cpu))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
