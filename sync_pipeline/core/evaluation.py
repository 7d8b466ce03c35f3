"""Retrieval quality as numbers: metrics of one ranking, and what many of them say together.

Grades say how relevant a document is to a query: 0 not at all, and the higher the better.
Nothing here is random: whoever draws samples does it from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
BOOTSTRAP_SAMPLES: Final = 2_000
"""Samples drawn for an interval."""
RANDOMIZATIONS: Final = 10_000
"""Draws of signs for a p value: it is a multiple of about 0.0001."""

DEPTH: Final = 10
"""How many hits nDCG and MRR look at."""
_AT_ONCE: Final = 500
"""Samples drawn at once: of 1,000 queries that is 4 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How well one ranking answers one query; each lies between 0 and 1."""

    recall_at_k: float
    ndcg_at_10: float
    mrr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over queries, and where it may lie for other queries of the kind."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how much one system is ahead of another on the same queries."""

    mean: float
    """Of the second less that of the first."""
    low: float
    high: float
    p_value: float
    """How often so large a difference would come up if the two were exchangeable."""
    better: int
    """Queries on which the second one is ahead."""
    worse: int

    @property
    def is_significant(self) -> bool:
        """Whether chance is an unlikely reason."""
        return self.p_value < 1 - CONFIDENCE


def measure(ranked: Sequence[str], grades: Mapping[str, int], *, k: int) -> Metrics:
    """All metrics of one ranking.

    Args:
        ranked: Document ids, best first, each once.
        grades: Per document id its grade; what is not named is not relevant.
        k: Depth of the recall.
    """
    return Metrics(
        recall_at_k=recall_at(ranked, grades, k=k),
        ndcg_at_10=ndcg_at(ranked, grades, k=DEPTH),
        mrr=reciprocal_rank(ranked[:DEPTH], grades),
    )


def recall_at(ranked: Sequence[str], grades: Mapping[str, int], *, k: int) -> float:
    """Share of the relevant documents that are among the first ``k``."""
    relevant = _relevant(grades)
    return len(relevant & set(ranked[:k])) / len(relevant)


def ndcg_at(ranked: Sequence[str], grades: Mapping[str, int], *, k: int) -> float:
    """Normalised discounted cumulative gain (Jarvelin and Kekalainen 2002) of the first ``k``.

    The gain of a document is its grade, place ``n`` is discounted by ``log2(n + 1)``, and the
    ideal order of all graded documents has 1: as ``trec_eval`` computes it.
    """
    gained = _discounted([grades.get(document_id, 0) for document_id in ranked[:k]])
    return gained / _discounted(sorted(grades.values(), reverse=True)[:k])


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """One divided by the place of the first relevant document; 0 where there is none."""
    relevant = _relevant(grades)
    places = (place for place, name in enumerate(ranked, start=1) if name in relevant)
    first = next(places, None)
    return 0.0 if first is None else 1 / first


def estimate(values: Sequence[float], *, seed: int) -> Estimate:
    """The mean and its confidence interval, by the percentile bootstrap (Efron 1979).

    Args:
        values: One per query, at least one.
        seed: The same seed draws the same samples.
    """
    observed = np.asarray(values, dtype=np.float64)
    low, high = _interval(observed, seed=seed)
    return Estimate(mean=float(observed.mean()), low=low, high=high)


def compare(first: Sequence[float], second: Sequence[float], *, seed: int) -> Difference:
    """Compare two systems query by query.

    The p value is of the paired randomization test, which Smucker, Allan and Carterette (2007)
    recommend for means over queries: the sign of each query's difference is drawn anew. The
    interval is the bootstrap's, over the same differences.

    Args:
        first: A metric of the one, per query.
        second: The same metric of the other, of the same queries in the same order.
        seed: The same seed draws the same samples.

    Raises:
        ValueError: they are of different queries.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    low, high = _interval(differences, seed=seed)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p_value=_randomization_p(differences, seed=seed),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def _relevant(grades: Mapping[str, int]) -> set[str]:
    return {document_id for document_id, grade in grades.items() if grade > 0}


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))


def _interval(values: NDArray[np.float64], *, seed: int) -> tuple[float, float]:
    """Percentiles of the means of samples drawn with replacement."""
    random = np.random.default_rng(seed)
    means = [
        values[random.integers(len(values), size=(_AT_ONCE, len(values)))].mean(axis=1)
        for _ in range(BOOTSTRAP_SAMPLES // _AT_ONCE)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _randomization_p(differences: NDArray[np.float64], *, seed: int) -> float:
    """How many draws of signs are as far from zero; the observed one is counted among them."""
    random = np.random.default_rng(seed)
    # Equal sums of floats may differ in their last digits.
    as_far = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    extreme = 0
    for _ in range(RANDOMIZATIONS // _AT_ONCE):
        signs = random.choice((-1.0, 1.0), size=(_AT_ONCE, len(differences)))
        extreme += int((np.abs(signs @ differences) >= as_far).sum())
    return (extreme + 1) / (RANDOMIZATIONS + 1)
