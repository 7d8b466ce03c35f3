"""What the benchmarks of one run share: sizes, a server, prepared installations."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self

from benchmarks.bare_model import (
    ModelConfiguration,
    ModelReport,
    read_report,
)
from benchmarks.catalogue import CatalogueSize, iter_catalogue
from benchmarks.child import Finished, run_child
from benchmarks.home import REPOSITORY, Home, Provider, Server, clean_environment
from benchmarks.results import Limit
from benchmarks.source import load_source
from sync_pipeline.embedding.precision import choose_dtype

Suite = Literal["quick", "full", "sizes"]

RIVALS_PYTHON: Final = REPOSITORY / ".venv-bench" / "bin" / "python"
MIN_ROWS: Final = 330
"""Fewest rows of a catalogue when everything is scaled down."""
DTYPES: Final = ("float32", "bfloat16")


def fast_dtypes() -> tuple[str, ...]:
    """Number formats worth measuring here.

    Without instructions of its own bfloat16 is emulated: a minute of float32 becomes a quarter of
    an hour, and nobody would choose it.
    """
    return DTYPES if choose_dtype("auto", device="cpu") == "bfloat16" else DTYPES[:1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured, and how often."""

    rows: int = 55_000
    """Catalogue of everything that has no size of its own."""
    model_rows: int = 4_706
    """Catalogue of the first sync with the real model: 85 % of it are distinct texts."""
    speed_texts: int = 256
    """Texts per configuration of the bare model."""
    speed_repetitions: int = 2
    batch_sizes: tuple[int, ...] = (8, 32, 128)
    digest_rows: int = 100_000
    digest_tenants: int = 10_000
    growth_rows: tuple[int, ...] = ()
    rivals_rows: int = 11_000
    rivals_model_rows: int = 0
    """Catalogue of the comparison with the real model; 0 leaves it out."""
    freshness_changes: int = 20
    repetitions: int = 3
    model_repetitions: int = 1

    def scaled(self, scale: float) -> Self:
        """Fewer rows, to try the benchmarks out."""
        if scale == 1:
            return self

        def fewer(rows: int) -> int:
            return max(MIN_ROWS, round(rows * scale)) if rows else 0

        return replace(
            self,
            rows=fewer(self.rows),
            model_rows=fewer(self.model_rows),
            speed_texts=max(64, round(self.speed_texts * scale)),
            digest_rows=fewer(self.digest_rows),
            digest_tenants=max(2, round(self.digest_tenants * scale)),
            # Each larger than the one before, and than the smallest that all are compared with.
            growth_rows=tuple(
                fewer(rows) + MIN_ROWS * place for place, rows in enumerate(self.growth_rows, 1)
            ),
            rivals_rows=fewer(self.rivals_rows),
            rivals_model_rows=fewer(self.rivals_model_rows),
            repetitions=min(self.repetitions, 2),
        )


SIZES: Final[dict[Suite, Sizes]] = {
    "quick": Sizes(),
    "sizes": Sizes(),
    "full": Sizes(
        model_rows=55_000,
        digest_rows=1_000_000,
        growth_rows=(10_000, 100_000, 1_000_000),
        rivals_rows=55_000,
        rivals_model_rows=2_750,
        freshness_changes=200,
    ),
}


@dataclass(kw_only=True)
class Workbench:
    """Folders, databases and what several benchmarks need, made when it is first asked for."""

    suite: Suite
    scale: float
    sizes: Sizes
    folder: Path
    server: Server
    rivals_python: Path
    """Interpreter of the environment that has the contenders' libraries."""
    say: Callable[[str], None]
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _loaded: dict[CatalogueSize, str] = field(default_factory=dict)

    def limit(self, value: float, reason: str, *, is_minimum: bool = False) -> Limit | None:
        """A limit that is made for the sizes of the suite; None where these are scaled down."""
        return Limit(value=value, reason=reason, is_minimum=is_minimum) if self.scale == 1 else None

    def new_folder(self, purpose: str) -> Path:
        """A folder name of its own, not made yet."""
        return self.folder / f"{purpose}-{next(self._numbers)}"

    def new_database(self, size: CatalogueSize) -> str:
        """A database with a catalogue; the catalogue is loaded once and copied then."""
        if size not in self._loaded:
            self.say(f"loading {size.rows:,} rows")
            self._loaded[size] = self.server.create()
            load_source(self._loaded[size], size)
        return self.server.create(template=self._loaded[size])

    def new_home(self, size: CatalogueSize, *, provider: Provider) -> Home:
        """A new installation over a catalogue; nothing is synced."""
        return Home(
            folder=self.new_folder("home"),
            database_url=self.new_database(size),
            provider=provider,
        )

    @property
    def catalogue(self) -> CatalogueSize:
        """The catalogue of 50,000 materials and 5,000 works, or less by scale."""
        return CatalogueSize(rows=self.sizes.rows)

    @cached_property
    def synced_home(self) -> Home:
        """An installation of the real model in step with its catalogue, with stand-in vectors."""
        home = self.new_home(self.catalogue, provider="sentence-transformers")
        home.run_module("benchmarks.stand_in_vectors")
        self.say("preparing a synced installation")
        home.sync()
        return home

    @cached_property
    def unchanged_seconds(self) -> tuple[float, ...]:
        """A full comparison of every scope that finds nothing, several times."""
        home = self.synced_home
        return tuple(home.sync("--force").seconds for _ in range(self.sizes.repetitions))

    @cached_property
    def model_speed(self) -> ModelReport:
        """The bare model in every configuration, on a sample of texts."""
        texts = sample_texts(self.catalogue, self.sizes.speed_texts)
        cores = len(os.sched_getaffinity(0))
        ways = [
            ModelConfiguration(
                dtype=dtype, batch_size=batch_size, threads=threads, is_sorted=is_sorted
            )
            for dtype in fast_dtypes()
            for threads in sorted({1, cores})
            for batch_size in self.sizes.batch_sizes
            for is_sorted in (True, False)
            # The order matters where batches are big enough to mix lengths.
            if is_sorted or (threads == cores and batch_size == max(self.sizes.batch_sizes))
        ]
        self.say(f"encoding {len(texts)} texts in {len(ways)} configurations")
        report, _ = self.run_bare_model(texts, ways * self.sizes.speed_repetitions)
        return report

    @property
    def best_model(self) -> ModelConfiguration:
        """The fastest configuration of the bare model."""
        return self.model_speed.fastest

    def run_bare_model(
        self, texts: Sequence[str], ways: Sequence[ModelConfiguration]
    ) -> tuple[ModelReport, Finished]:
        """Encode texts with the bare model in a process of its own."""
        folder = self.new_folder("model")
        folder.mkdir()
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        (folder / "ways.json").write_text(json.dumps([asdict(way) for way in ways]))
        finished = self.run_module(
            "benchmarks.bare_model", "texts.json", "ways.json", folder=folder
        )
        return read_report(finished.output), finished

    def run_module(self, module: str, *words: str, folder: Path) -> Finished:
        """Run a module of the benchmarks with nothing of the pipeline's settings."""
        return run_child(
            [sys.executable, "-m", module, *words],
            environment={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
            folder=folder,
        )


@contextmanager
def open_bench(
    suite: Suite,
    *,
    say: Callable[[str], None],
    scale: float = 1.0,
    work: Path | None = None,
) -> Iterator[Workbench]:
    """A folder and a database server for the length of the ``with``.

    Args:
        suite: How much is measured.
        say: Where progress is told.
        scale: Below 1: fewer rows.
        work: Where the folder is made; None: where temporary ones are.
    """
    folder = Path(tempfile.mkdtemp(prefix="spb-", dir=work))
    server = Server(folder)
    try:
        yield Workbench(
            suite=suite,
            scale=scale,
            sizes=SIZES[suite].scaled(scale),
            folder=folder,
            server=server,
            rivals_python=RIVALS_PYTHON,
            say=say,
        )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def distinct_texts(size: CatalogueSize) -> list[str]:
    """Every text of a catalogue once, in the order of its rows."""
    return list(dict.fromkeys(row.text for row in iter_catalogue(size)))


def sample_texts(size: CatalogueSize, count: int) -> list[str]:
    """Distinct texts from all over a catalogue."""
    texts = distinct_texts(size)
    return texts[:: max(1, len(texts) // count)][:count]
