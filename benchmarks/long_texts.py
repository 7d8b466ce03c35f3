"""Long texts: a vector per document, a multivector of its passages, or a point per passage."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.long_text_child import LIMIT, mean_vector
from benchmarks.long_text_data import (
    LENGTHS,
    PASSAGE_TOKENS,
    LongVectors,
    catalogue_file,
    long_vectors,
)
from benchmarks.real_vectors import RealVectors, real_vectors
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.stores.edge.files import folder_bytes

TITLE = "Long texts"
WINDOW_CHARACTERS: Final = 1_000
"""Of a text about so much is what the bundled model reads."""
KINDS: Final = {
    "window": "one vector of what the model reads",
    f"mean/{max(PASSAGE_TOKENS)}": f"one vector, the mean of {max(PASSAGE_TOKENS)}-token passages",
    **{
        f"best/{tokens}": f"the best of {tokens}-token passages (MaxSim)"
        for tokens in PASSAGE_TOKENS
    },
}
"""How a document is compared with a search."""
FOUND: Final = {"hit1": "found first", "hit10": "among the first ten", "mrr": "MRR@10"}
"""How well that goes."""
WAYS: Final = {
    "mean": "one vector per document",
    "multivector": "one multivector per document",
    "passages": "one point per passage",
}
"""How documents are kept in the index."""
LONGEST: Final = 22
"""Passages of the longest document, as of 20,000 characters."""
REPETITIONS: Final = 1
_MIB: Final = 2**20
_SEED: Final = 15


def measure(bench: Workbench) -> Outcome:
    if not catalogue_file().is_file():
        return Outcome(name="long_texts", title=TITLE, skipped="the public catalogues are absent")
    texts = long_vectors()
    figures = [*quality_figures(texts), *_engine_figures(bench, real_vectors(bench.catalogue))]
    figures += _stale_figures(bench)
    return Outcome(
        name="long_texts",
        title=TITLE,
        figures=tuple(figures),
        notes=(
            (
                f"Found: {len(texts.lengths)} documents of {min(LENGTHS):,} to {max(LENGTHS):,} "
                f"characters, {len(texts.queries):,} sentences taken out of them as searches; "
                "exact comparison, no index. Passages are whole sentences, and begin with the "
                "last one of the passage before."
            ),
            (
                "Kept: the passages are the texts of the catalogue above, joined to documents of "
                f"1 to {LONGEST} passages. Overlap is with the exact ranking of the same way."
            ),
        ),
    )


# --- what is found ------------------------------------------------------------------------


def quality_figures(texts: LongVectors) -> list[Figure]:
    """Per kind and place how often the document is among the first."""
    is_seen = texts.places < WINDOW_CHARACTERS
    places = {"inside": is_seen, "beyond": ~is_seen}
    figures = []
    for kind, label in KINDS.items():
        ranks = answer_ranks(document_scores(texts, kind), texts.answers)
        for place, chosen in places.items():
            where = f"{'in the first' if place == 'inside' else 'after'} {WINDOW_CHARACTERS:,}"
            for key, value in {
                "hit1": 100 * np.mean(ranks[chosen] == 1),
                "hit10": 100 * np.mean(ranks[chosen] <= LIMIT),
                "mrr": np.mean(np.where(ranks[chosen] <= LIMIT, 1 / ranks[chosen], 0)),
            }.items():
                figures.append(
                    Figure(
                        key=f"{key}/{kind}/{place}",
                        label=f"{label}: {FOUND[key]}, sentence {where} characters",
                        unit="" if key == "mrr" else "%",
                        samples=(round(float(value), 4),),
                    )
                )
    figures += [
        Figure(
            key=f"searches/{place}",
            label=f"searches for a sentence {place} the first {WINDOW_CHARACTERS:,} characters",
            unit="",
            samples=(int(chosen.sum()),),
        )
        for place, chosen in places.items()
    ]
    return figures


def document_scores(texts: LongVectors, kind: str) -> NDArray[np.float32]:
    """Shape ``(searches, documents)``."""
    if kind == "window":
        return np.asarray(texts.queries @ texts.whole.T, dtype=np.float32)
    how, _, tokens = kind.partition("/")
    passages = texts.passages[int(tokens)]
    if how == "mean":
        scores = texts.queries @ means(passages.vectors, passages.owners).T
        return np.asarray(scores, dtype=np.float32)
    return best_passages(texts.queries, passages.vectors, passages.owners)


def means(passages: NDArray[np.float32], owners: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean vector of each document, shape ``(documents, dimension)``."""
    parts = np.split(passages, np.flatnonzero(np.diff(owners)) + 1)
    return np.stack([mean_vector(rows) for rows in parts])


def best_passages(
    queries: NDArray[np.float32], passages: NDArray[np.float32], owners: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The score of each document's best passage, shape ``(searches, documents)``."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.asarray(np.maximum.reduceat(queries @ passages.T, starts, axis=1), dtype=np.float32)


def answer_ranks(scores: NDArray[np.float32], answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each answer, from 1; behind those that score the same."""
    own = scores[np.arange(len(answers)), answers]
    return np.asarray((scores >= own[:, None]).sum(axis=1), dtype=np.int64)


# --- what it costs to keep ----------------------------------------------------------------


def group(count: int) -> NDArray[np.int64]:
    """Passages of documents of 1 to ``LONGEST`` passages: per passage the document's number."""
    sizes = np.random.default_rng(_SEED).integers(1, LONGEST + 1, count)
    return np.repeat(np.arange(count), sizes)[:count]


def _engine_figures(bench: Workbench, vectors: RealVectors) -> list[Figure]:
    owners = group(len(vectors.documents))
    folder = bench.new_folder("long")
    folder.mkdir()
    arrays = folder / "arrays.npz"
    np.savez(arrays, passages=vectors.documents, owners=owners, queries=vectors.queries)
    exact = {
        "mean": vectors.queries @ means(vectors.documents, owners).T,
        "multivector": best_passages(vectors.queries, vectors.documents, owners),
    }
    exact["passages"] = exact["multivector"]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for repetition in range(REPETITIONS):
        for way in WAYS:
            bench.say(f"keeping {WAYS[way]}, {repetition + 1} of {REPETITIONS}")
            shard = folder / f"{way}-{repetition}"
            told = _run(bench, folder, way, str(shard), str(arrays))
            found[way].append(
                {
                    **{
                        f"{key}_{state}": value
                        for state in ("unbuilt", "built")
                        for key, value in _asked(told[state], exact[way]).items()
                    },
                    "write": told["write_seconds"],
                    "build": told["build_seconds"],
                    "disk": folder_bytes(shard) / _MIB,
                }
            )
    figures = [
        Figure(
            key=f"{key}/{way}",
            label=f"{WAYS[way]}: {label.lower()}",
            unit=unit,
            samples=tuple(sample[key] for sample in samples),
        )
        for way, samples in found.items()
        for key, (label, unit) in KEPT.items()
    ]
    return [
        *figures,
        Figure(key="documents", label="documents kept", unit="", samples=(int(owners[-1]) + 1,)),
    ]


KEPT: Final = {
    "overlap_unbuilt": ("Overlap with the exact ranking, not built", "%"),
    "p50_unbuilt": ("Search, median, not built", "ms"),
    "overlap_built": ("Overlap with the exact ranking, built", "%"),
    "p50_built": ("Search, median, built", "ms"),
    "write": ("Writing", "s"),
    "build": ("Building", "s"),
    "disk": ("On disk", "MiB"),
}
"""Per figure its title and unit."""


def _asked(told: dict[str, Any], exact: NDArray[np.float32]) -> dict[str, float]:
    return {
        "overlap": 100 * overlap(told["documents"], exact),
        "p50": statistics.median(told["ms"]),
    }


def overlap(found: list[list[int]], exact: NDArray[np.float32]) -> float:
    """The mean share of the ten best documents that was found; ties count."""
    last = np.partition(exact, -LIMIT, axis=1)[:, -LIMIT]
    shares = [
        float((scores[documents] >= limit - 1e-5).sum()) / LIMIT
        for documents, scores, limit in zip(found, exact, last, strict=True)
    ]
    return float(np.mean(shares))


def _stale_figures(bench: Workbench) -> list[Figure]:
    folder = bench.new_folder("stale")
    bench.say("shortening multivectors")
    told = _run(bench, bench.folder, "stale", str(folder))
    labels = {
        "rounds": "processes that wrote, shortened and deleted multivectors",
        "kills": "of them killed",
        "wrong": "points that showed anything but what was written last",
    }
    return [
        Figure(
            key=f"stale/{key}",
            label=label,
            unit="",
            samples=(told[key],),
            limit=bench.limit(0, "no row of a longer text survives") if key == "wrong" else None,
        )
        for key, label in labels.items()
    ]


def _run(bench: Workbench, folder: Path, *words: str) -> dict[str, Any]:
    finished = bench.run_module("benchmarks.long_text_child", *words, folder=folder)
    return dict(json.loads(finished.output))
