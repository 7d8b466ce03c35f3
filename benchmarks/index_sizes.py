"""What the options of an index cost and save: recall, latency, memory and disk, side by side."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import CatalogueSize, iter_catalogue
from benchmarks.index_child import COLLECTION, LIMIT, SCOPE_KEYS
from benchmarks.real_vectors import RealVectors, real_vectors
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.stores.edge.files import folder_bytes

TITLE = "What an index costs to keep"
BUILDS: Final = 2
"""How often each is built: no two search graphs find the same."""
TIE: Final = 1e-5
"""Scores closer than this are equal: many rows of a catalogue hardly differ."""
_MIB: Final = 2**20
NOTES: Final = (
    (
        "Recall@10: of the ten nearest documents by an exact comparison, the share that was "
        "found; a document as near as the tenth counts as one of them. Searches are by meaning "
        "alone, inside the documents of one tenant and the global ones."
    ),
    (
        "After a start: the system had forgotten the files, so that every page came from the "
        "disk. Otherwise it had them all in its cache, which a machine with less memory than "
        "index has not."
    ),
    (
        "Memory is what opening the index and searching twice for everything added to a process. "
        "Of the resident memory, pages of files can be given up by the system whenever it needs "
        "them; own memory cannot."
    ),
)

WAYS: Final[dict[str, IndexOptions]] = {
    "defaults": IndexOptions(),
    "hnsw_ef 32": IndexOptions(hnsw_ef=32),
    "hnsw_ef 400": IndexOptions(hnsw_ef=400),
    "hnsw_ef_construct 200": IndexOptions(hnsw_ef_construct=200),
    "hnsw_m 8": IndexOptions(hnsw_m=8),
    "hnsw_m 32": IndexOptions(hnsw_m=32),
    "hnsw_on_disk": IndexOptions(hnsw_on_disk=True),
    "vectors_on_disk": IndexOptions(vectors_on_disk=True),
    "scalar": IndexOptions(quantization="scalar"),
    "scalar, no rescoring": IndexOptions(quantization="scalar", quantization_rescore=False),
    "scalar, vectors_on_disk": IndexOptions(quantization="scalar", vectors_on_disk=True),
    "binary": IndexOptions(quantization="binary"),
    "binary, no rescoring": IndexOptions(quantization="binary", quantization_rescore=False),
    "binary, oversampling 8": IndexOptions(quantization="binary", quantization_oversampling=8),
    "binary, oversampling 8, all on disk": IndexOptions(
        quantization="binary",
        quantization_oversampling=8,
        quantization_always_ram=False,
        vectors_on_disk=True,
        hnsw_on_disk=True,
    ),
}
"""What is measured, by the settings that are not the default."""
UNBUILT: Final = "not built yet"
"""The index as a sync leaves it, before the maintenance job."""

COLUMNS: Final = {
    "recall": ("Recall@10", "%"),
    "p50": ("Search, median", "ms"),
    "p95": ("Search, 95 of 100", "ms"),
    "p50_first": ("Search after a start, median", "ms"),
    "open": ("Opening", "s"),
    "own": ("Own memory", "MiB"),
    "resident": ("Resident memory", "MiB"),
    "disk": ("On disk", "MiB"),
    "build": ("Building", "s"),
}
"""Per figure its title and unit."""


@dataclass(slots=True)
class Samples:
    """What was found of one way, a value per repetition."""

    of: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        """Note one repetition."""
        for key, value in values.items():
            self.of.setdefault(key, []).append(value)


def measure(bench: Workbench) -> Outcome:
    vectors = real_vectors(bench.catalogue)
    folder = bench.new_folder("sizes")
    folder.mkdir()
    np.save(folder / "documents.npy", vectors.documents)
    np.save(folder / "queries.npy", vectors.queries)
    bench.say(f"writing {len(vectors.documents):,} points")
    _run(bench, folder, "write", UNBUILT, "documents.npy", str(bench.catalogue.rows))
    exact = exact_rankings(vectors, visible_rows(bench.catalogue))
    found = {name: Samples() for name in (UNBUILT, *WAYS)}
    for number in range(BUILDS):
        # In turn, so that whatever else the machine does meets all of them.
        for name, options in own_builds().items():
            bench.say(f"building {number + 1} of {BUILDS}: {name}")
            _copy(folder / UNBUILT, folder / name)
            found[name].add(build=_run(bench, folder, "build", name, _json(options))["seconds"])
            for other in (other for other, it in WAYS.items() if it.built == options.built):
                told = _run(bench, folder, "ask", name, _json(WAYS[other]), "queries.npy")
                found[other].add(**_figures(told, exact, vectors), disk=_size(folder / name))
            shutil.rmtree(folder / name)
        told = _run(bench, folder, "ask", UNBUILT, _json(IndexOptions()), "queries.npy")
        found[UNBUILT].add(**_figures(told, exact, vectors), disk=_size(folder / UNBUILT))
    return Outcome(
        name="index_sizes",
        title=TITLE,
        figures=tuple(
            Figure(
                key=f"{key}/{name}",
                label=f"{name}: {title.lower()}",
                unit=unit,
                samples=tuple(samples.of[key]),
            )
            for name, samples in found.items()
            for key, (title, unit) in COLUMNS.items()
            if key in samples.of
        ),
        notes=(
            f"{len(vectors.documents):,} documents, {len(vectors.queries)} searches.",
            f"Medians of {BUILDS} builds, in which all took turns; of recall also the range.",
            *NOTES,
        ),
    )


def own_builds() -> dict[str, IndexOptions]:
    """The ways that are built; others only search one of these in another way."""
    first: dict[str, str] = {}
    for name, options in WAYS.items():
        first.setdefault(json.dumps(options.built), name)
    return {name: WAYS[name] for name in first.values()}


def _size(folder: Path) -> float:
    return folder_bytes(folder / "collections" / COLLECTION) / _MIB


def visible_rows(size: CatalogueSize) -> NDArray[np.bool_]:
    """Which rows of a catalogue the searches may find."""
    return np.array([(row.tenant_id or GLOBAL_KEY) in SCOPE_KEYS for row in iter_catalogue(size)])


def exact_rankings(vectors: RealVectors, visible: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Per search the score of the last document that belongs to the nearest ones."""
    scores = vectors.queries @ vectors.documents[visible].T
    return np.asarray(np.partition(scores, -LIMIT, axis=1)[:, -LIMIT], dtype=np.float32)


def recall(
    hits: Sequence[Sequence[int]], exact: NDArray[np.float32], vectors: RealVectors
) -> float:
    """The mean share of the nearest documents that each search found.

    Args:
        hits: Per search the rows found.
        exact: See ``exact_rankings``.
        vectors: Of the documents and the searches.
    """
    shares = [
        sum(vectors.documents[rows] @ query >= last - TIE) / LIMIT
        for rows, query, last in zip(hits, vectors.queries, exact, strict=True)
    ]
    return float(np.mean(shares))


def _figures(
    told: dict[str, Any], exact: NDArray[np.float32], vectors: RealVectors
) -> dict[str, float]:
    return {
        "recall": 100 * recall(told["hits"], exact, vectors),
        "p50": statistics.median(told["again_ms"]),
        "p95": statistics.quantiles(told["again_ms"], n=20)[-1],
        "p50_first": statistics.median(told["first_ms"]),
        "open": told["open_seconds"],
        "own": told["searched"]["own_bytes"] / _MIB,
        "resident": told["searched"]["resident_bytes"] / _MIB,
    }


def _run(bench: Workbench, folder: Path, *words: str) -> dict[str, Any]:
    output = bench.run_module("benchmarks.index_child", *words, folder=folder).output
    return dict(json.loads(output)) if output.strip() else {}


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, and the holes in its files as holes; ``shutil`` would fill them."""
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)  # noqa: S607 - the system's


def _json(options: IndexOptions) -> str:
    return json.dumps(asdict(options))
