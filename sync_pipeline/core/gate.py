"""What a new generation of the index must show before it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """How well known documents have to be found; shares from 0 to 1."""

    sample: int = 200
    """Documents asked for, over all scopes and views."""
    min_found: float = 0.95
    """Share of them that their own vector finds among the first ten, per view."""
    min_overlap: float = 0.8
    """Mean share of the ten nearest documents that the search index finds too, per view."""
    queries: Path | None = None
    """Labelled queries that both generations are asked; None asks none."""
    max_ndcg_loss: float = 0.02
    """How much worse than the generation that serves a new one may answer them, in nDCG@10."""
