"""Our embedder beside programs that keep every core busy: as it comes, and torch in two ways.

``python -m benchmarks.busy_neighbour TEXTS CORES NICENESS RUNTIME`` reads a JSON file, loads the
model, and for every line ``documents`` or ``queries`` on its input embeds texts and prints how many
a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from benchmarks.child import BenchmarkError
from benchmarks.home import REPOSITORY, clean_environment
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench, sample_texts

if TYPE_CHECKING:
    from sync_pipeline.embedding.runtimes.runtime import RuntimeChoice

TITLE = "Embedding beside a busy neighbour"
CORES: Final = 2
"""All programs share so many: of more, some would stay idle and there would be nothing to see."""
NEIGHBOURS: Final = (0, 1, 2)
PRIORITIES: Final = (0, 5)
"""Niceness of the model; neighbours have 0. A job that is not to disturb is started with `nice`."""
TEXTS_SHARE: Final = 4
"""The bare model gets so many times the texts: here it is up to thirty times as slow."""
QUERIES: Final = 8
MIN_RATIO: Final = 3.0

Work = Literal["documents", "queries"]
WORK: Final[Mapping[Work, str]] = {"documents": "documents of a sync", "queries": "search texts"}


@dataclass(frozen=True, slots=True)
class Way:
    """What computes the model, and the variables that say how its threads wait for each other."""

    label: str
    runtime: RuntimeChoice
    variables: Mapping[str, str] = field(default_factory=dict)


AS_IT_COMES: Final = "as_it_comes"
ASLEEP: Final = "asleep"
IN_A_LOOP: Final = "in_a_loop"
WAYS: Final[Mapping[str, Way]] = {
    AS_IT_COMES: Way("as the pipeline comes", "auto"),
    ASLEEP: Way("torch, waiting asleep", "torch"),
    # What OpenMP does by itself, said explicitly: then the package leaves it alone.
    IN_A_LOOP: Way("torch, waiting in a loop", "torch", {"GOMP_SPINCOUNT": "300000"}),
}
_HOW_TO_WAIT: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")

_BUSY: Final = """
import json, os, sys
os.sched_setaffinity(0, json.loads(sys.argv[1]))
while True: pass
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a measurement was taken beside, and at what."""

    work: Work
    neighbours: int
    niceness: int

    @property
    def key(self) -> str:
        """Names it among the figures."""
        return f"{self.work}/{self.neighbours}/{self.niceness}"

    @property
    def label(self) -> str:
        """For people."""
        beside = {0: "nothing", 1: "1 busy program"}.get(
            self.neighbours, f"{self.neighbours} busy programs"
        )
        started = f", started with `nice -n {self.niceness}`" if self.niceness else ""
        return f"{WORK[self.work]} beside {beside}{started}"

    @property
    def has_limit(self) -> bool:
        """Whether no core is left, and the scheduler gives those that wait in a loop less."""
        return self.neighbours == max(NEIGHBOURS) and self.niceness > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Texts per second of every way, one directly after the other."""

    beside: Beside
    speeds: Mapping[str, float]

    def ratio(self, way: str) -> float:
        """How many times as fast as torch with threads that wait in a loop."""
        return self.speeds[way] / self.speeds[IN_A_LOOP]


def measure(bench: Workbench) -> Outcome:
    texts = sample_texts(bench.catalogue, bench.sizes.speed_texts // TEXTS_SHARE)
    folder = bench.new_folder("neighbour")
    folder.mkdir()
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    rounds = [
        one
        for niceness in PRIORITIES
        for one in _rounds(bench, folder, cores=cores, niceness=niceness)
    ]
    return make_outcome(bench, rounds)


def make_outcome(bench: Workbench, rounds: Sequence[Round]) -> Outcome:
    """Speeds of all ways and their ratios within each round."""
    figures = []
    for beside in dict.fromkeys(one.beside for one in rounds):
        alike = [one for one in rounds if one.beside == beside]
        figures += [
            Figure(
                key=f"speed/{way}/{beside.key}",
                label=f"{beside.label}: {WAYS[way].label}",
                unit="texts/s",
                samples=tuple(one.speeds[way] for one in alike),
            )
            for way in WAYS
        ]
        reason = f"at least {MIN_RATIO:g} times as fast where no core is idle"
        figures += [
            Figure(
                key=f"ratio/{way}/{beside.key}",
                label=f"{beside.label}: {WAYS[way].label}, against torch in a loop",
                unit="x",
                samples=tuple(one.ratio(way) for one in alike),
                limit=bench.limit(MIN_RATIO, reason, is_minimum=True)
                if beside.has_limit and way == AS_IT_COMES
                else None,
            )
            for way in (AS_IT_COMES, ASLEEP)
        ]
    notes = (f"All on {CORES} cores; the ways in turn, a ratio is within one round.",)
    return Outcome(name="busy_neighbour", title=TITLE, figures=tuple(figures), notes=notes)


def _rounds(
    bench: Workbench, folder: Path, *, cores: Sequence[int], niceness: int
) -> Iterator[Round]:
    """Every model is loaded once and they work in turn; whoever has no work sleeps."""
    bench.say(f"embedding beside {NEIGHBOURS} busy programs, niceness {niceness}")
    with ExitStack() as stack:
        models = {
            name: stack.enter_context(_model(folder, way, cores=cores, niceness=niceness))
            for name, way in WAYS.items()
        }
        for neighbours in NEIGHBOURS:
            with _busy(neighbours, cores=cores):
                for _ in range(bench.sizes.repetitions):
                    for work in WORK:
                        yield Round(
                            beside=Beside(work=work, neighbours=neighbours, niceness=niceness),
                            speeds={name: _asked(model, work) for name, model in models.items()},
                        )


@contextmanager
def _model(
    folder: Path, way: Way, *, cores: Sequence[int], niceness: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that has the model loaded and waits for work."""
    kept = {name: value for name, value in clean_environment().items() if name not in _HOW_TO_WAIT}
    module = "benchmarks.busy_neighbour"
    words = ["-m", module, "texts.json", json.dumps(cores), str(niceness), way.runtime]
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**kept, **way.variables, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            _answer(process)
            yield process
        finally:
            process.kill()


@contextmanager
def _busy(count: int, *, cores: Sequence[int]) -> Iterator[None]:
    """So many programs that never pause."""
    with ExitStack() as stack:
        for _ in range(count):
            program = subprocess.Popen([sys.executable, "-c", _BUSY, json.dumps(cores)])
            stack.enter_context(program)
            stack.callback(program.kill)
        yield


def _asked(model: subprocess.Popen[str], work: Work) -> float:
    assert model.stdin is not None
    print(work, file=model.stdin, flush=True)
    return float(_answer(model))


def _answer(model: subprocess.Popen[str]) -> str:
    assert model.stdout is not None
    line = model.stdout.readline()
    if not line:
        raise BenchmarkError(f"the model ended with code {model.wait()}")
    return line


def main() -> None:
    os.sched_setaffinity(0, json.loads(sys.argv[2]))
    os.nice(int(sys.argv[3]))
    from sync_pipeline.embedding.sentence_transformers import (  # noqa: PLC0415
        SentenceTransformersEmbedder,
    )

    texts: list[str] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    embedder = SentenceTransformersEmbedder(
        device="cpu", runtime=cast("RuntimeChoice", sys.argv[4])
    )
    embedder.embed(texts)
    embedder.embed_queries(texts[:1])
    print("loaded", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        if line.strip() == "documents":
            embedder.embed(texts)
            done = len(texts)
        else:
            done = len([embedder.embed_queries([text]).vectors[0] for text in texts[:QUERIES]])
        print(done / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()
