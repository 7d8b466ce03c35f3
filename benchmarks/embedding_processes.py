"""Our embedder in one process and in several, and on a GPU where torch can use one.

``python -m benchmarks.embedding_processes TEXTS WAYS`` reads both JSON files, embeds
all texts once per way and prints its measurements as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.results import Figure, Outcome
from benchmarks.workbench import DTYPES, Workbench, sample_texts

if TYPE_CHECKING:
    from sync_pipeline.embedding.precision import Dtype
    from sync_pipeline.embedding.processes import ProcessPoolEmbedder
    from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

TITLE = "Several embedding processes"
SAMPLE_FACTOR: Final = 4
"""How many times the texts of the bare model: divided by processes, each still gets some."""
CHUNK: Final = 256
"""Texts per call with one or two processes: the default of ``sync.embed_chunk_size``."""
CHUNK_PER_PROCESS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to embed."""

    device: str
    dtype: Dtype
    processes: int
    threads: int
    """Of each process."""

    @property
    def key(self) -> str:
        """Names it among the figures."""
        return f"{self.device}/{self.dtype}/{self.processes}/{self.threads}"

    @property
    def label(self) -> str:
        """For people."""
        if self.device != "cpu":
            return f"GPU, {self.dtype}"
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.dtype}, {processes}, {threads} each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one way took."""

    way: Way
    texts_per_second: float
    mib_per_process: float | None
    """Memory that each further process has for itself; None where there is none."""


def measure(bench: Workbench) -> Outcome:
    texts = sample_texts(bench.catalogue, SAMPLE_FACTOR * bench.sizes.speed_texts)
    cores = len(os.sched_getaffinity(0))
    ways = [
        *(way for dtype in DTYPES for way in cpu_ways(dtype, cores=cores)),
        *(Way(device="cuda", dtype=dtype, processes=1, threads=cores) for dtype in DTYPES),
    ]
    bench.say(f"embedding {len(texts)} texts in {len(ways)} ways")
    folder = bench.new_folder("processes")
    folder.mkdir()
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    every_way = [asdict(way) for way in ways] * bench.sizes.speed_repetitions
    (folder / "ways.json").write_text(json.dumps(every_way))
    finished = bench.run_module(
        "benchmarks.embedding_processes", "texts.json", "ways.json", folder=folder
    )
    return make_outcome(
        [
            Measurement(**{**found, "way": Way(**found["way"])})
            for found in json.loads(finished.output)
        ]
    )


def cpu_ways(dtype: Dtype, *, cores: int) -> list[Way]:
    """One process with all threads, then 2, 4, 8 and so on with a share of them each."""
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return [Way(device="cpu", dtype=dtype, processes=n, threads=cores // n) for n in counts]


def make_outcome(found: Sequence[Measurement]) -> Outcome:
    """Figures of all repetitions, and what could not be measured."""
    ways = list(dict.fromkeys(measurement.way for measurement in found))
    sizes = [one.mib_per_process for one in found if one.mib_per_process is not None]
    figures = [
        Figure(
            key=f"speed/{way.key}",
            label=way.label,
            unit="texts/s",
            samples=tuple(one.texts_per_second for one in found if one.way == way),
        )
        for way in ways
    ]
    if sizes:
        label = "memory of each process, without what they share"
        figures.append(Figure(key="memory", label=label, unit="MiB", samples=tuple(sizes)))
    has_gpu = any(way.device != "cpu" for way in ways)
    notes = () if has_gpu else ("GPU: not measured, for torch finds none here.",)
    return Outcome(name="embedding_processes", title=TITLE, figures=tuple(figures), notes=notes)


def main() -> None:
    import torch  # noqa: PLC0415 - seconds, and only here

    texts: list[str] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    ways = [Way(**values) for values in json.loads(Path(sys.argv[2]).read_text())]
    usable = [way for way in ways if way.device == "cpu" or torch.cuda.is_available()]
    print(json.dumps([asdict(_measured(way, texts)) for way in usable]))


def _measured(way: Way, texts: Sequence[str]) -> Measurement:
    import torch  # noqa: PLC0415

    from sync_pipeline.embedding.processes import ProcessPoolEmbedder  # noqa: PLC0415
    from sync_pipeline.embedding.sentence_transformers import (  # noqa: PLC0415
        SentenceTransformersEmbedder,
    )

    make = partial(SentenceTransformersEmbedder, device=way.device, dtype=way.dtype)
    if way.processes == 1:
        torch.set_num_threads(way.threads)
        return Measurement(
            way=way, texts_per_second=_speed(make(), way, texts), mib_per_process=None
        )
    several = ProcessPoolEmbedder(make, processes=way.processes)
    speed = _speed(several, way, texts)
    size = _mib_per_process(way.processes)
    several.close()
    return Measurement(way=way, texts_per_second=speed, mib_per_process=size)


def _speed(
    embedder: SentenceTransformersEmbedder | ProcessPoolEmbedder, way: Way, texts: Sequence[str]
) -> float:
    """Texts per second, in calls like those of a sync; everything is loaded before."""
    from sync_pipeline.core.batching import batched, by_length  # noqa: PLC0415

    chunk = max(CHUNK, CHUNK_PER_PROCESS * way.processes)
    calls = [[texts[place] for place in run] for run in batched(by_length(texts), chunk)]
    embedder.embed(calls[-1])
    began = time.perf_counter()
    for call in calls:
        embedder.embed(call)
    return len(texts) / (time.perf_counter() - began)


def _mib_per_process(processes: int) -> float:
    """The workers are the largest children; multiprocessing has a small one of its own."""
    children = psutil.Process().children()
    sizes = sorted((child.memory_full_info().uss for child in children), reverse=True)
    return sum(sizes[:processes]) / processes / 2**20


if __name__ == "__main__":
    main()
