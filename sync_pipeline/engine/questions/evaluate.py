"""How well searches find what they should: labelled queries, asked as anybody asks them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.evaluation import (
    DEPTH,
    Difference,
    Estimate,
    Metrics,
    compare,
    estimate,
    measure,
)
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.labelled import LabelledQuery
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.questions.search import SearchMode, SearchRequest, search_generation
from sync_pipeline.engine.reading import Reading

MAX_EXAMPLES: Final = 20
MODES: Final[tuple[SearchMode, ...]] = ("dense", "text", "hybrid")
"""By meaning, by words, and by both."""
METRICS: Final = ("recall_at_k", "ndcg_at_10", "mrr")

_SEARCHES_AT_ONCE: Final = 96
"""Searches that share one pass of the model and one request to the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One way to search."""

    mode: SearchMode
    view: str | None = None
    """The only view that is searched; None for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What is judged: an index with its model, and how its searches join their rankings."""

    name: str
    sync: Reading
    """Of one generation; that one is asked, whether it serves or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Means over the queries of one group."""

    recall_at_k: Estimate
    ndcg_at_10: Estimate
    mrr: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingReport:
    """How good one way to search is."""

    mode: SearchMode
    view: str | None
    overall: Score
    by_tag: Mapping[str, Score]
    by_query: Sequence[Metrics]
    """Of each query, in the order of ``Evaluation.queries``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReport:
    """How good one system is."""

    name: str
    collection: str
    """The physical collection that was asked."""
    model_id: str
    fusion: Fusion
    rankings: Sequence[RankingReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """By how much a system is ahead of the first one in one way to search."""

    baseline: str
    """Name of the first system."""
    system: str
    mode: SearchMode
    view: str | None
    tag: str | None
    """Of which queries; None for all of them."""
    recall_at_k: Difference
    ndcg_at_10: Difference
    mrr: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What became of the labels: only documents that can be found are judged by."""

    queries: int
    """All that were given."""
    evaluated: int
    """Those with a relevant document that their scope can find."""
    documents: int
    """Labels with a grade above 0, of all of them together."""
    missing: int
    """Those whose document is not in the index, or not in each that is asked."""
    hidden: int
    """Those whose document is in the index and belongs to another scope."""
    missing_examples: Sequence[str] = ()
    hidden_examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuery:
    """A query that was asked, to tell what is of which."""

    query: str
    scope_key: str
    tags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of it; the systems were asked the same queries."""

    k: int
    seed: int
    labels: Labels
    queries: Sequence[AskedQuery]
    """Those that were evaluated."""
    tags: Mapping[str, int]
    """Per tag how many queries carry it."""
    systems: Sequence[SystemReport]
    comparisons: Sequence[Comparison]
    """Of each further system with the first."""


def evaluate(
    systems: Sequence[System],
    queries: Sequence[LabelledQuery],
    *,
    k: int = 10,
    seed: int = 0,
    modes: Sequence[SearchMode] = MODES,
) -> Evaluation:
    """Ask labelled queries and judge the answers.

    Searches are those of ``search``, as the scope of each query. Labels whose document some system
    cannot show to that scope are left out and counted: how complete an index is, is another
    question than how well it ranks.

    Args:
        systems: One, or more that are compared with the first.
        queries: At least one.
        k: Depth of the recall, 1 to 100.
        seed: Of the samples for intervals and p values.
        modes: Ways to search that are judged; for each view too, where there are several.

    Raises:
        ConfigurationError: no label is of a document that can be found.
        StoppedError: asked to stop.
    """
    indexes = {system.sync.spec.collection: system.sync for system in systems}
    labels, judged = _findable(list(indexes.values()), queries)
    if not judged:
        raise ConfigurationError(
            f"none of the {labels.documents:,} labelled documents can be found: {labels.missing:,} "
            f"are not in the index, {labels.hidden:,} belong to another scope than the one that "
            "asks.",
            remedy="Sync first (before the built-in queries `sync-pipeline sample load builtin` "
            "too), and take document ids as `sync-pipeline search --json` shows them.",
        )
    metrics = [
        _metrics(system.sync, judged, rankings_of(system.sync, modes), k=k) for system in systems
    ]
    groups = _groups(judged)
    return Evaluation(
        k=k,
        seed=seed,
        labels=labels,
        queries=[
            AskedQuery(query=query.text, scope_key=query.scope.key, tags=query.tags)
            for query in judged
        ],
        tags={tag: len(members) for tag, members in groups.items() if tag is not None},
        systems=[
            _system_report(system, measured, groups, seed=seed)
            for system, measured in zip(systems, metrics, strict=True)
        ],
        comparisons=[
            Comparison(baseline=systems[0].name, system=system.name, **compared)
            for system, measured in zip(systems[1:], metrics[1:], strict=True)
            for compared in _compared(metrics[0], measured, groups, seed=seed)
        ],
    )


def rankings_of(sync: Reading, modes: Sequence[SearchMode]) -> list[Ranking]:
    """The ways to search an index: all views together, and where there are several, each alone."""
    views = sync.views if len(sync.views) > 1 else ()
    return [
        *(Ranking(mode=mode) for mode in modes),
        *(Ranking(mode=mode, view=view) for view in views for mode in modes if mode != "text"),
    ]


Measured = dict[Ranking, list[Metrics]]
"""Per way to search the metrics of each query, in the order of the queries."""
Groups = Mapping[str | None, Sequence[int]]
"""Per tag, and for all queries under None, the places of its queries."""


def _findable(
    indexes: Sequence[Reading], queries: Sequence[LabelledQuery]
) -> tuple[Labels, list[LabelledQuery]]:
    """The queries with the labels that their scope can find everywhere, and what was left out."""
    named = sorted({name for query in queries for name, grade in query.grades.items() if grade})
    owners = [_owners(sync, named) for sync in indexes]
    missing: list[str] = []
    hidden: list[str] = []
    judged = []
    for query in queries:
        kept = {}
        for name, grade in query.grades.items():
            if all(known.get(name) in query.scope.visible_keys for known in owners):
                kept[name] = grade
            elif grade:
                is_there = all(name in known for known in owners)
                (hidden if is_there else missing).append(name)
        if any(kept.values()):
            judged.append(replace(query, grades=kept))
    return Labels(
        queries=len(queries),
        evaluated=len(judged),
        documents=sum(1 for query in queries for grade in query.grades.values() if grade),
        missing=len(missing),
        hidden=len(hidden),
        missing_examples=sorted(set(missing))[:MAX_EXAMPLES],
        hidden_examples=sorted(set(hidden))[:MAX_EXAMPLES],
    ), judged


def _owners(sync: Reading, document_ids: Sequence[str]) -> dict[str, str | None]:
    """Scope keys of the documents that are in the index and of a configured entity."""
    with sync.index() as index:
        return {
            point.document_id: point.scope_key
            for point in iter_points(index, map(point_id, document_ids))
            if point.entity_type in sync.entity_names
        }


def _metrics(
    sync: Reading,
    queries: Sequence[LabelledQuery],
    rankings: Sequence[Ranking],
    *,
    k: int,
) -> Measured:
    measured: dict[int, list[Metrics]] = {}
    for scope, places in _by_scope(queries):
        for batch in batched(places, max(1, _SEARCHES_AT_ONCE // len(rankings))):
            sync.checkpoint(scope=scope)
            requests = [
                SearchRequest(
                    text=queries[place].text,
                    limit=max(DEPTH, k),
                    mode=ranking.mode,
                    views=() if ranking.view is None else (ranking.view,),
                )
                for place in batch
                for ranking in rankings
            ]
            answers = iter(search_generation(sync, scope=scope, requests=requests))
            for place in batch:
                grades = queries[place].grades
                measured[place] = [
                    measure([hit.document_id for hit in answer.hits], grades, k=k)
                    for answer in itertools.islice(answers, len(rankings))
                ]
            sync.progress.advance("asking", done=len(measured), total=len(queries))
    return {
        ranking: [measured[place][number] for place in range(len(queries))]
        for number, ranking in enumerate(rankings)
    }


def _by_scope(queries: Sequence[LabelledQuery]) -> Iterator[tuple[Scope, list[int]]]:
    """The places of the queries of each scope."""
    places: dict[Scope, list[int]] = {}
    for place, query in enumerate(queries):
        places.setdefault(query.scope, []).append(place)
    yield from places.items()


def _groups(queries: Sequence[LabelledQuery]) -> Groups:
    groups: dict[str | None, list[int]] = {None: list(range(len(queries)))}
    for place, query in enumerate(queries):
        for tag in query.tags:
            groups.setdefault(tag, []).append(place)
    return groups


def _system_report(
    system: System, measured: Measured, groups: Groups, *, seed: int
) -> SystemReport:
    def score(ranking: Ranking, tag: str | None) -> Score:
        values = _values(measured[ranking], groups[tag])
        return Score(**{name: estimate(of, seed=seed) for name, of in values.items()})

    return SystemReport(
        name=system.name,
        collection=system.sync.spec.collection,
        model_id=system.sync.spec.model_id,
        fusion=system.sync.fusion,
        rankings=[
            RankingReport(
                mode=ranking.mode,
                view=ranking.view,
                overall=score(ranking, None),
                by_tag={tag: score(ranking, tag) for tag in groups if tag is not None},
                by_query=metrics,
            )
            for ranking, metrics in measured.items()
        ],
    )


def _compared(
    first: Measured, second: Measured, groups: Groups, *, seed: int
) -> Iterator[dict[str, Any]]:
    """The second less the first, in every way to search that both have."""
    for ranking in [ranking for ranking in first if ranking in second]:
        for tag, members in groups.items():
            before, after = (_values(of[ranking], members) for of in (first, second))
            differences = {name: compare(before[name], after[name], seed=seed) for name in METRICS}
            yield {"mode": ranking.mode, "view": ranking.view, "tag": tag, **differences}


def _values(metrics: Sequence[Metrics], members: Sequence[int]) -> dict[str, list[float]]:
    return {name: [getattr(metrics[place], name) for place in members] for name in METRICS}
