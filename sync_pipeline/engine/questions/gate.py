"""Whether a generation finds what it holds: asked before it goes live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.gate import GatePolicy
from sync_pipeline.core.labelled import LabelledQuery
from sync_pipeline.core.point import NORM_TOLERANCE, SearchQuery, StoredPoint, Vector
from sync_pipeline.core.ports import IndexReader
from sync_pipeline.core.remedy import ChangeSetting, Remedy
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.evaluate import System, SystemReport, evaluate
from sync_pipeline.engine.questions.query_file import read_query_file
from sync_pipeline.engine.questions.sampling import sample_points
from sync_pipeline.engine.reading import Reading

FIRST_HITS: Final = 10
"""A document's own vector finds it among so many, and the two searches are compared over them."""
SAME_SCORE: Final = 1e-5
"""Scores that differ by less are those of equal texts: float32 adds up differently."""


@dataclass(slots=True)
class _Tally:
    asked: int = 0
    found: int = 0
    overlap: float = 0.0


def why_not_found(
    sync: Reading, *, scopes: Sequence[Scope], policy: GatePolicy, seed: int = 0
) -> str | None:
    """Search for known documents, and compare with an exact search; None where both suffice.

    Every view is asked by vectors that its points carry, so that no model is loaded.

    Args:
        sync: The generation.
        scopes: Whose documents are sampled.
        policy: How many, and how well they have to be found.
        seed: Chooses the sample.
    """
    tallies = {view: _Tally() for view in sync.views}
    random = Random(seed)  # noqa: S311 - a sample
    chosen = random.sample(list(scopes), min(len(scopes), policy.sample))
    each = max(1, -(-policy.sample // max(1, len(chosen))))
    with sync.index() as index:
        for scope in chosen:
            for point in sample_points(sync, index, scope=scope, size=each, random=random):
                for view, vector in point.vectors.items():
                    if view in tallies:
                        _ask(index, point, scope, view=view, vector=vector, tally=tallies[view])
    return _judge(tallies, policy=policy)


def why_worse(sync: Reading, served: Reading, *, policy: GatePolicy) -> str | None:
    """Ask both generations labelled queries; None where the new one is not worse by too much.

    Args:
        sync: The new generation.
        served: The one that serves.
        policy: Which queries, and how much worse it may be.

    Raises:
        ConfigurationError: the queries cannot be read or asked.
    """
    if policy.queries is None:
        return None
    found = evaluate(
        [System(name="serving", sync=served), System(name="new", sync=sync)],
        _read_queries(policy.queries),
        k=FIRST_HITS,
        modes=("hybrid",),
    )
    before, after = (_ndcg_of(system) for system in found.systems)
    if before - after <= policy.max_ndcg_loss:
        return None
    return (
        f"it answers {len(found.queries)} labelled queries worse: nDCG@10 {after:.3f} instead of "
        f"{before:.3f}, more than {policy.max_ndcg_loss} less; `sync-pipeline evaluate "
        f"{policy.queries} --compare generation={sync.spec.collection}` shows which"
    )


def _read_queries(path: Path) -> list[LabelledQuery]:
    queries, mistakes = read_query_file(
        path,
        remedy=Remedy.of(
            "Set ",
            ChangeSetting("index.gate_queries"),
            " to a file of labelled queries, or to null.",
        ),
    )
    if mistakes:
        line, mistake = next(iter(mistakes.items()))
        raise ConfigurationError(f"{path}, line {line}: {mistake}")
    return list(queries.values())


def _ndcg_of(system: SystemReport) -> float:
    (ranking,) = (it for it in system.rankings if it.view is None)
    return ranking.overall.ndcg_at_10.mean


def _judge(tallies: dict[str, _Tally], *, policy: GatePolicy) -> str | None:
    for view, tally in tallies.items():
        if tally.asked and tally.found < policy.min_found * tally.asked:
            return (
                f"view {view!r} finds {tally.found} of {tally.asked} known documents by their own "
                f"text among the first {FIRST_HITS}, fewer than {policy.min_found:.0%}"
            )
        if tally.asked and tally.overlap < policy.min_overlap * tally.asked:
            return (
                f"view {view!r} finds {tally.overlap / tally.asked:.0%} of what an exact search "
                f"finds, less than {policy.min_overlap:.0%}"
            )
    return None


def _ask(
    index: IndexReader,
    point: StoredPoint,
    scope: Scope,
    *,
    view: str,
    vector: Vector,
    tally: _Tally,
) -> None:
    is_long = vector.ndim > 1
    nearest, exact = (
        index.query(
            SearchQuery(
                scope_keys=scope.visible_keys,
                vectors={view: vector[-1] if is_long else vector},
                sparse=None,
                limit=FIRST_HITS,
                exact=is_exact,
            )
        )
        for is_exact in (False, True)
    )
    # Of several documents with the very same text, or passage, any will do.
    own = point.embed_hashes.get(view)
    tally.asked += 1
    tally.found += any(
        hit.point_id == point.point_id
        or hit.embed_hashes.get(view) == own
        or (is_long and score >= 1 - NORM_TOLERANCE)
        for score, hit in nearest
    )
    # What is as near as the last of the exact hits has been found as well as that one.
    least = exact[-1][0] - SAME_SCORE if exact else 0.0
    as_near = sum(score >= least for score, _ in nearest)
    tally.overlap += as_near / len(exact) if exact else 1.0
