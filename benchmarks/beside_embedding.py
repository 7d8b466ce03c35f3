"""Search texts beside a process that embeds documents on the same two cores.

``python -m benchmarks.beside_embedding KIND TEXTS CORES RUNTIME`` reads a JSON file, loads the
model, and for every number on its input works for so many seconds: KIND ``documents`` embeds full
batches and prints how many texts a second, ``queries`` embeds a search text now and then and prints
the milliseconds of each as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import service
from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError
from benchmarks.home import REPOSITORY, clean_environment, require
from benchmarks.results import Figure, Outcome
from benchmarks.runtimes import AS_BEFORE
from benchmarks.workbench import Workbench, sample_texts

if TYPE_CHECKING:
    from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

TITLE = "Search texts beside a process that embeds"
CORES: Final = 2
PER_SECOND: Final = 4
"""Search texts, at irregular times: several people who search all the time."""
SECONDS: Final = 10.0
"""Of one round of one way."""
RUNTIMES: Final = ("torch", "numpy", "onnx")
"""Of the search texts; those of a service are embedded by the last one that is installed."""
P95_MS: Final = 60.0
KEPT: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One runtime of the search texts beside the documents, and these alone before and after."""

    runtime: str
    milliseconds: tuple[float, ...]
    texts_per_second: float
    alone: float

    @property
    def kept(self) -> float:
        """The share of its speed that the embedding process keeps."""
        return self.texts_per_second / self.alone


def measure(bench: Workbench) -> Outcome:
    texts = sample_texts(bench.catalogue, 2_000)
    folder = bench.new_folder("beside")
    folder.mkdir()
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    bench.say("embedding search texts beside documents")
    rounds = list(_rounds(bench, folder, cores=cores))
    return make_outcome(bench, rounds, more=_beside_a_first_sync(bench))


def make_outcome(
    bench: Workbench, rounds: Sequence[Round], *, more: Sequence[Figure] = ()
) -> Outcome:
    """Quantiles of the search texts, and what the documents lose, per runtime."""
    figures: list[Figure] = []
    for runtime in dict.fromkeys(one.runtime for one in rounds):
        alike = [one for one in rounds if one.runtime == runtime]
        is_ours = runtime != "torch"
        p95 = bench.limit(P95_MS, "part of a second that nobody notices")
        kept = bench.limit(KEPT, "a sync loses 5 % at most", is_minimum=True)
        figures += [
            Figure(
                key=f"p95/{runtime}",
                label=f"search texts by {runtime}, 95 of 100 within",
                unit="ms",
                samples=tuple(quantile(one.milliseconds, 95) for one in alike),
                limit=p95 if is_ours else None,
            ),
            Figure(
                key=f"p50/{runtime}",
                label=f"search texts by {runtime}, half of them within",
                unit="ms",
                samples=tuple(quantile(one.milliseconds, 50) for one in alike),
            ),
            Figure(
                key=f"kept/{runtime}",
                label=f"speed of the documents beside search texts by {runtime}, of that alone",
                unit="x",
                samples=tuple(one.kept for one in alike),
                limit=kept if is_ours else None,
            ),
        ]
    figures.append(
        Figure(
            key="alone",
            label="documents alone",
            unit="texts/s",
            samples=tuple(one.alone for one in rounds),
        )
    )
    figures += more
    note = (
        f"Both on {CORES} cores, {PER_SECOND} search texts a second; the documents are embedded as "
        "a first sync does it on this machine, alone before and after each round."
    )
    return Outcome(name="beside_embedding", title=TITLE, figures=tuple(figures), notes=(note,))


def _beside_a_first_sync(bench: Workbench) -> list[Figure]:
    """The whole service beside a first sync with the real model, as it chooses and with torch."""
    size = CatalogueSize(rows=bench.sizes.model_rows)
    figures = []
    for name, settings in (("auto", {}), ("torch", AS_BEFORE)):
        bench.say(f"searching beside a first sync of {size.rows:,} rows, {name}")
        home = bench.new_home(size, provider="sentence-transformers")
        home = replace(home, settings={**home.settings, **settings})
        # Before that a search has nothing to answer from.
        home.run("--json", "sync", "tenant", service.TENANT)
        texts = [" ".join(text.split()[:4]) for text in sample_texts(size, 500)]
        with service.running(home) as port:
            syncing = subprocess.Popen(
                [home.program, "--json", "sync", "all"],
                env=home.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            load = service.run_load(
                port,
                texts,
                clients=1,
                until=lambda run=syncing: run.poll() is not None,  # type: ignore[misc]  # bound now
                pause_seconds=1 / PER_SECOND,
            )
            output, _ = syncing.communicate()
        require(json.loads(output)["ok"], "the sync beside the searches went well")
        figures += _service_figures(bench, name, load)
    return figures


def _service_figures(bench: Workbench, name: str, load: service.Load) -> list[Figure]:
    limit = bench.limit(P95_MS, "part of a second that nobody notices")
    return [
        Figure(
            key=f"service/{part}/{percent}/{name}",
            label=f"{label} beside a first sync, {name}, {percent} of 100 within",
            unit="ms",
            samples=(quantile(values, percent),),
            limit=limit if (part, percent, name) == ("embedding", 95, "auto") else None,
        )
        for part, label, values in (
            ("embedding", "encoding in `serve`", load.parts["embedding"]),
            ("whole", "whole searches", [1000 * seconds for seconds in load.seconds]),
        )
        for percent in (50, 95)
    ]


def quantile(values: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]


def _rounds(bench: Workbench, folder: Path, *, cores: Sequence[int]) -> Iterator[Round]:
    with ExitStack() as stack:

        def start(kind: str, runtime: str) -> _Worker:
            return stack.enter_context(_worker(folder, kind=kind, runtime=runtime, cores=cores))

        documents = start("documents", "auto")
        searching = {runtime: start("queries", runtime) for runtime in RUNTIMES}
        for _ in range(bench.sizes.repetitions):
            for runtime, queries in searching.items():
                before = documents.ask(SECONDS / 2)
                queries.begin(SECONDS)
                beside = documents.ask(SECONDS)
                milliseconds = queries.answer()
                after = documents.ask(SECONDS / 2)
                yield Round(
                    runtime=runtime,
                    milliseconds=tuple(json.loads(milliseconds)),
                    texts_per_second=float(beside),
                    alone=(float(before) + float(after)) / 2,
                )


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process that has the model loaded and works when it is told to."""

    process: subprocess.Popen[str]

    def begin(self, seconds: float) -> None:
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(f"the model ended with code {self.process.wait()}")
        return line

    def ask(self, seconds: float) -> str:
        self.begin(seconds)
        return self.answer()


@contextmanager
def _worker(folder: Path, *, kind: str, runtime: str, cores: Sequence[int]) -> Iterator[_Worker]:
    words = ["-m", "benchmarks.beside_embedding", kind, "texts.json", json.dumps(cores), runtime]
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            worker = _Worker(process)
            worker.answer()
            yield worker
        finally:
            process.kill()


def main() -> None:
    kind, file, cores, runtime = sys.argv[1:]
    os.sched_setaffinity(0, json.loads(cores))
    from sync_pipeline.embedding.sentence_transformers import (  # noqa: PLC0415
        SentenceTransformersEmbedder,
    )

    texts: list[str] = json.loads(Path(file).read_text(encoding="utf-8"))
    # A named lean runtime wants float32 by name; a search text is embedded in it anyway.
    embedder = SentenceTransformersEmbedder(
        device="cpu",
        runtime=runtime,  # type: ignore[arg-type]  # one of its names
        dtype="float32" if runtime in {"numpy", "onnx"} else "auto",
        is_lasting=kind == "queries",
    )
    work = _embed_documents if kind == "documents" else _embed_queries
    work(embedder, texts, 1.0)
    print("loaded", flush=True)
    for line in sys.stdin:
        print(work(embedder, texts, float(line)), flush=True)


def _embed_documents(
    embedder: SentenceTransformersEmbedder, texts: Sequence[str], seconds: float
) -> float:
    began, done = time.perf_counter(), 0
    for start in itertools.cycle(range(0, len(texts) - embedder.max_batch, embedder.max_batch)):
        embedder.embed(texts[start : start + embedder.max_batch])
        done += embedder.max_batch
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def _embed_queries(
    embedder: SentenceTransformersEmbedder, texts: Sequence[str], seconds: float
) -> list[float]:
    began, taken = time.perf_counter(), []
    for number, text in enumerate(itertools.cycle(texts)):
        asked = time.perf_counter()
        embedder.embed_queries([" ".join(text.split()[:4])])
        taken.append((time.perf_counter() - asked) * 1000)
        if time.perf_counter() - began > seconds:
            break
        # Half to one and a half times the mean distance, the same in every run.
        time.sleep((0.5 + number * 0.618 % 1) / PER_SECOND)
    return taken


if __name__ == "__main__":
    main()
