"""One big scope over several workers: embedding on two hosts against one worker.

Hosts are namespaces of this machine with Celery workers; broker, object store, index and a model
that sleeps (500 texts/s, so that several need no core) are shared. ``make scale``; results are
kept under ``results/acceptance``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
from rich.console import Console
from rich.markup import escape

from benchmarks.acceptance.ending import tell
from benchmarks.home import Server, require
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Limit, Outcome, Results
from sync_pipeline_tests.reliability.dev_instance import wait_for
from sync_pipeline_tests.scale.bed import TEXTS_PER_SECOND, Bed, bed, facts_of_parts, fill

TITLE: Final = "One big scope over several workers"
TEXTS: Final = 20_000
WARM_TEXTS: Final = 4_000
"""Of a scope that every worker has a part of before anything is measured."""
PART_TEXTS: Final = 1_000
MAX_RATIO: Final = 0.45
SECONDS: Final = 900.0
JOB: Final = "sync_big_scope_job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How long a scope's texts took."""

    embedding_seconds: float
    """From the end of the comparison to the beginning of what seals it."""
    worker_seconds: float
    """Of all parts together."""
    run_seconds: float
    unchanged_seconds: float
    """Of the run of the same scope when nothing is missing."""
    workers: int
    parts: int
    embedded: int
    most_often: int
    """How often the text was embedded that was embedded most often."""


def measure(server: Server, folder: Path, *, hosts: int, concurrency: int, texts: int) -> Spread:
    """Sync a scope of so many texts, and once more with nothing missing."""
    folder.mkdir()
    more = {
        "SYNC_PIPELINE__SCALE__BIG_SCOPE_ROWS": "1000",
        "SYNC_PIPELINE__EMBEDDING__PART_TEXTS": str(PART_TEXTS),
        # Embedding takes a while on one worker; nothing is to be lost meanwhile.
        "SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS": "30",
    }
    with bed(server.create(), folder, **more) as made:
        os.environ.update(
            {name: value for name, value in made.environment.items() if name.startswith("AWS_")}
        )
        fill(made, warm=WARM_TEXTS, acme=texts)
        made.know("warm", "acme", "global")
        made.start_daemon()
        for number in range(hosts):
            made.start_worker(f"host{number}", concurrency=concurrency)
        with made.instance() as instance:
            _run(made, instance, "warm")
            made.model.texts.clear()
            first = _run(made, instance, "acme")
            documents = made.model.documents()
            again = _run(made, instance, "acme")
            parts = facts_of_parts(instance, first)
            require(
                not facts_of_parts(instance, again), "nothing is mapped where nothing is missing"
            )
            return Spread(
                embedding_seconds=_between(instance, first),
                worker_seconds=sum(part["seconds"] for part in parts),
                run_seconds=_seconds(instance, first),
                unchanged_seconds=_seconds(instance, again),
                workers=len({part["worker"] for part in parts}),
                parts=len(parts),
                embedded=documents.total(),
                most_often=max(documents.values()),
            )


def _run(made: Bed, instance: dg.DagsterInstance, scope_key: str) -> str:
    """Have the queue sync a scope; the id of its run."""
    submitted = made.submit("tenant", scope_key, "--force")
    submitted.wait(SECONDS)
    require(submitted.returncode == 0, f"{scope_key} is synced")
    (run,) = instance.get_runs(
        dg.RunsFilter(job_name=JOB, tags={"dagster/partition": scope_key}), limit=1
    )
    return run.run_id


def _between(instance: dg.DagsterInstance, run_id: str) -> float:
    """Seconds from the end of the comparison to the beginning of what seals it."""
    stats = {step.step_key: step for step in instance.get_run_step_stats(run_id)}
    compared = stats["embedded_documents.compare_documents"].end_time
    sealing = stats["embedded_documents.seal_changes"].start_time
    require(compared is not None and sealing is not None, "both steps are recorded")
    return float(sealing or 0) - float(compared or 0)


def _seconds(instance: dg.DagsterInstance, run_id: str) -> float:
    record = wait_for(
        lambda: instance.get_run_record_by_id(run_id), seconds=10, what="record of the run"
    )
    return float(record.end_time or 0) - float(record.start_time or 0)


def figures_of(one: Spread, four: Spread) -> tuple[Figure, ...]:
    """What is told of both."""
    ratio = four.embedding_seconds / one.embedding_seconds
    reason = "two hosts of two workers against one worker, both warm"
    return (
        Figure(
            key="ratio",
            label="embedding wall time, 4 workers against 1",
            unit="",
            samples=(ratio,),
            limit=Limit(value=MAX_RATIO, reason=reason),
        ),
        *(
            figure
            for name, spread in (("one", one), ("four", four))
            for figure in _figures(name, spread)
        ),
    )


def _figures(name: str, spread: Spread) -> tuple[Figure, ...]:
    once = Limit(value=1, reason="each text is embedded once")
    told = (
        ("embedding", "embedding, wall", "s", spread.embedding_seconds, None),
        ("worker", "embedding, sum of the parts", "s", spread.worker_seconds, None),
        ("run", "run", "s", spread.run_seconds, None),
        ("unchanged", "run with nothing missing", "s", spread.unchanged_seconds, None),
        ("workers", "workers that embedded", "", spread.workers, None),
        ("parts", "parts", "", spread.parts, None),
        ("embedded", "texts embedded", "", spread.embedded, None),
        ("often", "the same text at most", "times", spread.most_often, once),
    )
    return tuple(
        Figure(
            key=f"{name}/{key}", label=f"{label}, {name}", unit=unit, samples=(value,), limit=limit
        )
        for key, label, unit, value, limit in told
    )


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    console = Console()
    results = Results(
        suite="fan-out",
        date=datetime.now(UTC).date().isoformat(),
        scale=1.0,
        machine=machine_facts(),
        versions=package_versions(),
    )
    folder = Path(tempfile.mkdtemp(prefix="spf-", dir=options.work))
    server = Server(folder)
    began = time.monotonic()

    def measured(name: str, *, hosts: int, concurrency: int) -> Spread:
        console.print(f"[dim]{escape(name)}[/]", highlight=False)
        return measure(
            server, folder / name, hosts=hosts, concurrency=concurrency, texts=options.texts
        )

    try:
        one = measured("one worker", hosts=1, concurrency=1)
        four = measured("two hosts of two workers", hosts=2, concurrency=2)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    outcome = Outcome(
        name="fan_out",
        title=TITLE,
        figures=figures_of(one, four),
        notes=(
            (
                f"{options.texts} texts in parts of {PART_TEXTS}; a model of {TEXTS_PER_SECOND} "
                "texts/s that needs no core; hosts are namespaces of one machine."
            ),
        ),
        seconds=round(time.monotonic() - began, 1),
    )
    return tell(console, outcome, results=results, out=options.out, is_whole=options.texts == TEXTS)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--texts", type=int, default=TEXTS, help="texts of the scope")
    parser.add_argument("--out", type=Path, help="folder of the results file")
    parser.add_argument("--work", type=Path, help="folder for the database and the logs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
