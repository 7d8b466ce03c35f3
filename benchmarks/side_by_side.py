"""The pipeline beside what people write or take instead, on the same rows and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from benchmarks import source
from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError, kill_after, run_child
from benchmarks.home import REPOSITORY, Home, Provider, clean_environment, require
from benchmarks.names import CONTENDERS, PROVIDERS, SCENARIOS
from benchmarks.results import Figure, Outcome
from benchmarks.shard import collection_folder, count_differences
from benchmarks.workbench import Workbench

TITLE = "Side by side"

_MODULES: Final = {
    "script": "benchmarks.rivals.script",
    "langchain": "benchmarks.rivals.langchain_index",
}
_NOTES: Final = (
    "All write to Qdrant Edge; the pipeline also keeps BM25 weights, a cache and a run history.",
    "After every scenario the index is compared with the source.",
)


class Contender(Protocol):
    """Something that brings an index in step with a source when it is run."""

    database_url: str

    def run(self) -> float:
        """Run once, to the end; seconds."""

    def kill(self, *, after_seconds: float) -> bool:
        """Start a run and kill it; whether it was still at work."""

    def shard_folder(self) -> Path:
        """Where its points are."""


@dataclass(kw_only=True)
class Pipeline:
    """``sync-pipeline sync all``."""

    home: Home
    database_url: str = field(init=False)

    def __post_init__(self) -> None:
        self.database_url = self.home.database_url

    def run(self) -> float:
        """See ``Contender``."""
        return self.home.sync().seconds

    def kill(self, *, after_seconds: float) -> bool:
        """See ``Contender``."""
        return self.home.kill_sync(after_seconds=after_seconds)

    def shard_folder(self) -> Path:
        """See ``Contender``."""
        return collection_folder(self.home.index_folder)


@dataclass(kw_only=True)
class Rival:
    """A module of ``rivals``, in the environment that has its libraries."""

    command: list[str]
    database_url: str
    folder: Path

    def run(self) -> float:
        """See ``Contender``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return run_child(self.command, environment=_rival_environment(), folder=self.folder).seconds

    def kill(self, *, after_seconds: float) -> bool:
        """See ``Contender``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return kill_after(
            self.command,
            environment=_rival_environment(),
            folder=self.folder,
            seconds=after_seconds,
        )

    def shard_folder(self) -> Path:
        """See ``Contender``."""
        return self.folder / "shard"


def measure(bench: Workbench) -> Outcome:
    """Run every scenario with free vectors, and in the full suite with the real model."""
    if not bench.rivals_python.exists():
        return Outcome(
            name="side_by_side",
            title=TITLE,
            skipped="the contenders' environment is missing; `make bench` makes it",
        )
    sizes = bench.sizes
    figures = list(_measure_all(bench, CatalogueSize(rows=sizes.rivals_rows), "hashing"))
    if sizes.rivals_model_rows:
        size = CatalogueSize(rows=sizes.rivals_model_rows)
        figures += _measure_all(bench, size, "sentence-transformers")
    return Outcome(
        name="side_by_side",
        title=TITLE,
        figures=tuple(figures),
        notes=_NOTES,
    )


def _measure_all(bench: Workbench, size: CatalogueSize, provider: Provider) -> Iterator[Figure]:
    vectors = PROVIDERS[provider].lower()
    yield Figure(
        key=f"{provider}/rows", label=f"rows, {vectors}", unit="rows", samples=(size.rows,)
    )
    for name, title in CONTENDERS.items():
        bench.say(f"side by side: {title}, {vectors}")
        seconds = _measure_one(lambda name=name: _contender(bench, name, size, provider), size)  # type: ignore[misc]  # bound now
        for scenario, label in SCENARIOS.items():
            yield Figure(
                key=f"{provider}/{name}/{scenario}",
                label=f"{title}, {vectors}: {label}",
                unit="s",
                samples=(seconds[scenario],),
            )


def _measure_one(make: Callable[[], Contender], size: CatalogueSize) -> dict[str, float]:
    """Seconds per scenario of one contender."""
    one = make()
    few = size.rows // 100
    seconds = {"first": _run(one), "unchanged": _run(one)}
    source.change_texts(one.database_url, count=few, round_=1)
    seconds["texts"] = _run(one)
    source.change_prices(one.database_url, count=few, round_=2)
    seconds["prices"] = _run(one)
    source.delete_rows(one.database_url, count=few, round_=3)
    seconds["deletes"] = _run(one)
    seconds["resume"] = _run(_killed(make, seconds=seconds["first"]))
    return seconds


def _killed(make: Callable[[], Contender], *, seconds: float) -> Contender:
    """A contender whose first run was killed half way, or earlier where it was faster this time.

    Raises:
        BenchmarkError: it ends too soon to be killed.
    """
    for part in (2, 4, 8):
        one = make()
        if one.kill(after_seconds=seconds / part):
            return one
    raise BenchmarkError("a first run ended in an eighth of the time of the one before")


def _run(one: Contender) -> float:
    """Run a contender and check what it made."""
    seconds = one.run()
    require(count_differences(one.database_url, one.shard_folder()) == 0, "the index is the source")
    return seconds


def _contender(bench: Workbench, name: str, size: CatalogueSize, provider: Provider) -> Contender:
    if name == "pipeline":
        return Pipeline(home=bench.new_home(size, provider=provider))
    folder = bench.new_folder("rival")
    url = bench.new_database(size)
    command = [str(bench.rivals_python), "-m", _MODULES[name], "--database", url]
    command += ["--index", str(folder / "shard"), "--provider", provider]
    if provider == "sentence-transformers":
        best = bench.best_model
        command += ["--dtype", best.dtype, "--batch-size", str(best.batch_size)]
        command += ["--threads", str(best.threads)]
    return Rival(command=command, database_url=url, folder=folder)


def _rival_environment() -> dict[str, str]:
    return {**clean_environment(), "PYTHONPATH": str(REPOSITORY)}
