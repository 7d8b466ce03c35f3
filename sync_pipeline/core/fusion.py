"""How the rankings of one search become one: by meaning per view, and by words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

FusionMethod = Literal["dbsf", "rrf"]

MAX_WEIGHT: Final = 10

_CANDIDATES_PER_HIT: Final = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What both engines do with several rankings; one alone stays as it is.

    ``dbsf``, distribution-based score fusion, looks at scores: those of a ranking become
    ``(score - mean + 3 s) / (6 s)``, of their standard deviation ``s``; 0.5 where they are all
    alike. ``rrf``, reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), looks at places
    only: place ``n``, from 1, is worth ``1 / (n + rrf_k - 1)``. A document has the sum over the
    rankings that it is in.

    The defaults are those that did best where they were measured: docs/search-quality.md.

    Raises:
        ValueError: a number out of range.
    """

    method: FusionMethod = "dbsf"
    rrf_k: int = 10
    """The greater, the less first places are worth above the next. For ``rrf`` alone."""
    candidates: int = 200
    """Least number of documents that each ranking hands over."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Per ranking, a view or ``bm25``, as how many it counts; as one where it is not named."""

    def __post_init__(self) -> None:
        if self.rrf_k < 1:
            raise ValueError(f"rrf_k is at least 1, not {self.rrf_k}")
        if self.candidates < 1:
            raise ValueError(f"candidates is at least 1, not {self.candidates}")
        bad = [name for name, weight in self.weights.items() if not 1 <= weight <= MAX_WEIGHT]
        if bad:
            raise ValueError(f"a weight lies between 1 and {MAX_WEIGHT}; that of {bad[0]} does not")

    def candidates_for(self, limit: int) -> int:
        """How many documents each ranking hands over for so many hits.

        More than are asked for: a document that is tenth in two rankings beats one
        that is first in a single one.
        """
        return max(self.candidates, _CANDIDATES_PER_HIT * limit)

    def weighted(self, rankings: Mapping[str, T]) -> Iterator[T]:
        """Each ranking as often as it counts.

        Qdrant's own weights exist for ``rrf`` alone, and divide places: with a constant above 1
        they flatten a ranking more than they strengthen it.
        """
        for name, ranking in rankings.items():
            for _ in range(self.weights.get(name, 1)):
                yield ranking

    def describe(self) -> str:
        """One line for people, in the words of the settings."""
        k = f",rrf_k={self.rrf_k}" if self.method == "rrf" else ""
        weights = "".join(f",weights.{name}={weight}" for name, weight in self.weights.items())
        return f"fusion={self.method}{k},candidates={self.candidates}{weights}"
