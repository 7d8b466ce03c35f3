"""An evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from sync_pipeline.cli.tables import add_row, new_table

if TYPE_CHECKING:
    from sync_pipeline.core.evaluation import Difference, Estimate
    from sync_pipeline.engine.questions.evaluate import (
        Comparison,
        Evaluation,
        RankingReport,
        SystemReport,
    )


def label_remarks(evaluation: Evaluation) -> list[str]:
    """How many queries were asked, and which labels were left out."""
    labels = evaluation.labels
    remarks = [f"{labels.evaluated:,} of {labels.queries:,} queries, {labels.documents:,} labels."]
    if labels.missing:
        remarks.append(
            f"Labels left out, for their documents are not in the index: {labels.missing:,}, e.g. "
            f"{labels.missing_examples[0]}."
        )
    if labels.hidden:
        remarks.append(
            "Labels left out, for their documents belong to another scope than the one that asks: "
            f"{labels.hidden:,}, e.g. {labels.hidden_examples[0]}."
        )
    return remarks


def system_title(system: SystemReport) -> str:
    """Which index, and how its rankings were joined."""
    return f"{system.name}: {system.collection}, {system.fusion.describe()}"


def score_table(system: SystemReport, *, k: int) -> Table:
    """One row per way to search, each mean with its interval."""
    table = new_table("ranking", f"+recall@{k}", "+nDCG@10", "+MRR")
    for ranking in system.rankings:
        score = ranking.overall
        metrics = (score.recall_at_k, score.ndcg_at_10, score.mrr)
        add_row(table, _name(ranking), *map(_interval, metrics))
    return table


def tag_table(system: SystemReport, *, tags: Mapping[str, int]) -> Table:
    """nDCG@10 of the queries of each tag, one column per way to search."""
    table = new_table("nDCG@10", "+queries", *(f"+{_name(ranking)}" for ranking in system.rankings))
    for tag, queries in tags.items():
        means = [f"{ranking.by_tag[tag].ndcg_at_10.mean:.3f}" for ranking in system.rankings]
        add_row(table, tag, queries, *means)
    return table


def worst_table(evaluation: Evaluation, *, count: int) -> Table:
    """The queries with the lowest nDCG@10 of the first system's last way to search all views."""
    rankings = [ranking for ranking in evaluation.systems[0].rankings if ranking.view is None]
    table = new_table("query", "scope", *(f"+{ranking.mode}" for ranking in rankings))
    asked = range(len(evaluation.queries))
    for place in sorted(asked, key=lambda it: rankings[-1].by_query[it].ndcg_at_10)[:count]:
        query = evaluation.queries[place]
        marks = (f"{ranking.by_query[place].ndcg_at_10:.3f}" for ranking in rankings)
        add_row(table, query.query, query.scope_key, *marks)
    return table


def comparison_tables(evaluation: Evaluation) -> Iterator[tuple[str, Table]]:
    """Per further system a title, and by how much its nDCG@10 is ahead of the first one's.

    Ways to search in which the two do the same are left out, as long as there are others.
    """
    for system in evaluation.systems[1:]:
        found = [one for one in evaluation.comparisons if one.system == system.name]
        differing = {(one.mode, one.view) for one in found if _differs(one.ndcg_at_10)}
        table = new_table("ranking", "queries", "+nDCG@10", "+p", "+better", "+worse")
        for one in found:
            if not differing or (one.mode, one.view) in differing:
                difference = one.ndcg_at_10
                add_row(
                    table, _name(one), one.tag or "all", _signed_interval(difference),
                    f"{difference.p_value:.4f}", difference.better, difference.worse,
                )  # fmt: skip
        yield f"{system.name} less {found[0].baseline}, query by query:", table


def _differs(difference: Difference) -> bool:
    return bool(difference.better or difference.worse)


def _name(ranking: RankingReport | Comparison) -> str:
    return ranking.mode if ranking.view is None else f"{ranking.mode} {ranking.view}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _signed_interval(difference: Difference) -> str:
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
