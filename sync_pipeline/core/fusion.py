"""How the rankings of one search become one: by meaning per view, and by words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

FusionMethod = Literal["rrf", "dbsf"]

_CANDIDATES_PER_HIT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What both engines do with several rankings; one alone stays as it is.

    ``rrf``, reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), looks at places only: in
    a ranking of weight ``w`` place ``n``, from 1, is worth ``1 / (n / w + rrf_k - 1)``, and a
    document the sum over the rankings that it is in. So a weight is a plain factor where ``rrf_k``
    is 1; the larger the constant, the more it only makes a ranking count further down.

    ``dbsf``, distribution-based score fusion, looks at scores: those of a ranking become
    ``(score - mean + 3 s) / (6 s)``, of their standard deviation ``s``, and are added up.

    Raises:
        ValueError: numbers out of range, or weights that the method does not know.
    """

    method: FusionMethod = "rrf"
    rrf_k: int = 2
    """How little the first places are worth more than the next; 2 is Qdrant's own."""
    candidates: int = 100
    """Least number of documents that each ranking hands over."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Per ranking, a view or ``bm25``, how much it counts; 1 where it is not named."""

    def __post_init__(self) -> None:
        if self.rrf_k < 1:
            raise ValueError(f"rrf_k is at least 1, not {self.rrf_k}")
        if self.candidates < 1:
            raise ValueError(f"candidates is at least 1, not {self.candidates}")
        bad = [name for name, weight in self.weights.items() if not 0 < weight < math.inf]
        if bad:
            raise ValueError(f"a weight is a number above 0; {', '.join(bad)} has another")
        if self.weights and self.method != "rrf":
            raise ValueError(f"{self.method} knows no weights: both engines add scores as they are")

    def candidates_for(self, limit: int) -> int:
        """How many documents each ranking hands over for so many hits.

        More than are asked for: a document that is tenth in two rankings beats one
        that is first in a single one.
        """
        return max(self.candidates, _CANDIDATES_PER_HIT * limit)

    def weights_of(self, rankings: Iterable[str]) -> list[float] | None:
        """The weights of rankings in their order; None where all are 1.

        Equal weights other than 1 are not the same: they stretch places against ``rrf_k``.
        """
        weights = [self.weights.get(name, 1.0) for name in rankings]
        return None if set(weights) == {1.0} else weights

    def describe(self) -> str:
        """One line for people, in the words of the settings."""
        k = f", rrf_k={self.rrf_k}" if self.method == "rrf" else ""
        weights = "".join(f", weights.{name}={it:g}" for name, it in self.weights.items())
        return f"fusion={self.method}{k}, candidates={self.candidates}{weights}"
