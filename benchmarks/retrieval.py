"""How well searches find what they should, for each way to join rankings.

``python -m benchmarks.retrieval FILE`` with the settings of an installation in its environment
evaluates a file of labelled queries with every fusion, and prints what it found as JSON; without a
file it times the engine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import cross_language
from benchmarks.catalogue import CatalogueSize
from benchmarks.home import Home, require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench, sample_texts
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.labelled import read_labelled
from sync_pipeline.core.ports import Embedder
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.embedders import Models
from sync_pipeline.engine.questions.evaluate import METRICS, Evaluation, System, evaluate
from sync_pipeline.engine.questions.search import SearchMode, SearchRequest, build_query
from sync_pipeline.sample.queries import QUERIES
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import open_installation

TITLE = "Retrieval quality"

DEFAULT: Final = Fusion()
FORMER: Final = Fusion(method="rrf", rrf_k=2, candidates=100)
"""What there was before there was a choice; the others are compared with it."""
FUSIONS: Final[tuple[Fusion, ...]] = (
    FORMER,
    *(Fusion(method="rrf", rrf_k=k, candidates=100) for k in (5, 10, 20, 60)),
    *(Fusion(method="rrf", rrf_k=10, candidates=candidates) for candidates in (50, 200, 500)),
    *(Fusion(method="dbsf", candidates=candidates) for candidates in (50, 100, 150, 200, 300, 500)),
    *(
        Fusion(method="dbsf", candidates=200, weights=weights)
        for weights in ({"text": 2}, {"text": 3, "bm25": 2}, {"text": 2, "bm25": 3}, {"bm25": 2})
    ),
)
PARTS: Final[tuple[SearchMode, ...]] = ("dense", "text")
SHOWN: Final = (*PARTS, FORMER.describe(), DEFAULT.describe())
"""Of which all metrics are kept, with their intervals and for every tag."""
LANGUAGES: Final = ("all", "en", *cross_language.LANGUAGES.values())
"""Tags for which every fusion is kept."""
LABELS: Final = {"recall_at_k": "recall@10", "ndcg_at_10": "nDCG@10", "mrr": "MRR"}
NDCG: Final = "ndcg_at_10"
SHOWN_COMMANDS: Final = (
    ("evaluate", "builtin"),
    ("evaluate", "builtin", "--compare", FORMER.describe()),
)
"""Whose output is kept as it was printed, for the documents."""
TIMED_CANDIDATES: Final = (50, 100, 200, 500)
TIMED_SEARCHES: Final = 40
TENANT: Final = "tenant-00001"


class Remembering:
    """An embedder that embeds no search text twice: every fusion asks the same ones."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, NDArray[np.float32]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder``."""
        new = [text for text in texts if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._embedder.embed_queries(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def measure(bench: Workbench) -> Outcome:
    sample, printed = _sample(bench)
    notes = [*printed, "sample: `sync-pipeline evaluate builtin`, labelled by hand."]
    figures = [*sample, *_margins(bench, sample)]
    folder = cross_language.find_folder()
    if folder is None:
        notes.append(f"languages: not measured, {cross_language.DATA_VARIABLE} is not set.")
    else:
        figures += _across_languages(bench, folder)
        notes.append(
            "languages: DDC CWICR resource catalogues by Artem Boiko, DataDrivenConstruction, "
            "CC BY 4.0."
        )
    bench.say("timing the engine")
    timed = json.loads(bench.synced_home.run_module("benchmarks.retrieval").output)
    figures += [
        Figure(
            key=f"milliseconds/{candidates}",
            label=f"the engine, {candidates} candidates of each ranking",
            unit="ms",
            samples=tuple(samples),
        )
        for candidates, samples in timed.items()
    ]
    return Outcome(name="retrieval", title=TITLE, figures=tuple(figures), notes=tuple(notes))


def _sample(bench: Workbench) -> tuple[list[Figure], list[str]]:
    """What was found in the built-in catalogue, and what the commands printed."""
    home = _new_home(bench)
    home.run("sample", "load", "builtin")
    figures = _evaluated(bench, home, name="sample", queries=QUERIES)
    return figures, [
        f"$ sync-pipeline {' '.join(words)}\n{home.run(*words).output}" for words in SHOWN_COMMANDS
    ]


def _margins(bench: Workbench, sample: Sequence[Figure]) -> list[Figure]:
    """By how much hybrid search is ahead of the better of its parts, per language."""
    means = {figure.key: figure.value for figure in sample}

    def ndcg(way: str, tag: str) -> float:
        return means[f"sample/{way}/{tag}/{NDCG}/mean"]

    return [
        Figure(
            key=f"sample/margin/{tag}",
            label=f"sample, {tag}: nDCG@10 of hybrid less that of the better part",
            unit="",
            samples=(ndcg(DEFAULT.describe(), tag) - max(ndcg(part, tag) for part in PARTS),),
            limit=bench.limit(
                0, "hybrid search must not be worse than one of its parts", is_minimum=True
            ),
        )
        for tag in ("en", "ru")
    ]


def _across_languages(bench: Workbench, folder: Path) -> list[Figure]:
    home = _new_home(bench)
    editions, queries = bench.new_folder("edition"), bench.new_folder("queries")
    for path in (editions, queries):
        path.mkdir()
    shared = cross_language.edition(folder, cross_language.SHARED)
    (editions / shared.name).symlink_to(shared)
    file = queries / "queries.jsonl"
    lines = (json.dumps(query, ensure_ascii=False) for query in cross_language.iter_queries(folder))
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    home.run("sample", "load", "cwicr", str(editions))
    return _evaluated(bench, home, name="languages", queries=file)


def _new_home(bench: Workbench) -> Home:
    return Home(
        folder=bench.new_folder("home"),
        database_url=bench.server.create(),
        provider="sentence-transformers",
    )


def _evaluated(bench: Workbench, home: Home, *, name: str, queries: Path) -> list[Figure]:
    bench.say(f"{name}: syncing")
    home.sync()
    bench.say(f"{name}: asking with {len(FUSIONS)} fusions")
    found = json.loads(home.run_module("benchmarks.retrieval", str(queries)).output)
    labels = found[0]["labels"]
    require(labels["missing"] == labels["hidden"] == 0, "every labelled document can be found")
    counts = {"all": labels["evaluated"], **found[0]["tags"]}
    figures = [
        Figure(key=f"{name}/queries/{tag}", label=f"{name}, {tag}: queries", unit="", samples=(n,))
        for tag, n in counts.items()
    ]
    for evaluation in found:
        for system in evaluation["systems"]:
            for ranking in system["rankings"]:
                way = ranking["mode"] if ranking["mode"] in PARTS else system["name"]
                figures += _score_figures(name, way, ranking)
        for comparison in evaluation["comparisons"]:
            figures += _difference_figures(name, comparison)
    return figures


def _score_figures(name: str, way: str, ranking: Mapping[str, Any]) -> Iterator[Figure]:
    for tag, score in {"all": ranking["overall"], **ranking["by_tag"]}.items():
        for metric in METRICS:
            for part, value in score[metric].items():
                if way in SHOWN or (part == "mean" and metric == NDCG and tag in LANGUAGES):
                    yield Figure(
                        key=f"{name}/{way}/{tag}/{metric}/{part}",
                        label=f"{name}, {way}, {tag}: {LABELS[metric]}, {part}",
                        unit="",
                        samples=(value,),
                    )


def _difference_figures(name: str, comparison: Mapping[str, Any]) -> Iterator[Figure]:
    tag = comparison["tag"] or "all"
    if tag in LANGUAGES:
        for part in ("mean", "low", "high", "p_value"):
            yield Figure(
                key=f"{name}/{comparison['system']}/{tag}/difference/{part}",
                label=f"{name}, {comparison['system']}, {tag}: nDCG@10 less that of "
                f"{comparison['baseline']}, {part}",
                unit="",
                samples=(comparison[NDCG][part],),
            )


def evaluate_all(path: Path) -> list[Evaluation]:
    """Evaluate the parts alone, then all fusions, compared with the former one."""
    sync = open_installation(load_settings()).sync
    remembering = replace(sync.generation, models=Models(Remembering(sync.models.main)))
    sync = replace(sync, generation=remembering)
    with path.open("rb") as file:
        queries, mistakes = read_labelled(file)
    require(not mistakes, f"every line can be used: {mistakes}")
    systems = [
        System(name=fusion.describe(), sync=replace(sync, fusion=fusion)) for fusion in FUSIONS
    ]
    asked = list(queries.values())
    return [
        evaluate(systems[:1], asked, modes=PARTS),
        evaluate(systems, asked, modes=("hybrid",)),
    ]


def time_candidates() -> dict[int, list[float]]:
    """Milliseconds of the engine per search, by the number of candidates."""
    sync = open_installation(load_settings()).sync
    texts = sample_texts(CatalogueSize(), TIMED_SEARCHES)
    vectors = sync.models.main.embed_queries(texts).vectors
    taken: dict[int, list[float]] = {candidates: [] for candidates in TIMED_CANDIDATES}
    with sync.index() as index:
        for text, vector in zip(texts, vectors, strict=True):
            query = build_query(
                sync,
                scope=Scope(TENANT),
                request=SearchRequest(text=text),
                vectors={"text": vector},
            )
            for candidates, milliseconds in taken.items():
                asked = replace(query, fusion=Fusion(candidates=candidates))
                began = time.perf_counter()
                index.query(asked)
                milliseconds.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps([asdict(found) for found in evaluate_all(Path(sys.argv[1]))]))
    else:
        print(json.dumps(time_candidates()))
