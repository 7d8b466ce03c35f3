"""Cutting a text into the passages that a model can read."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.core.passages import CountTokens, Passage, cut_passages
from sync_pipeline.core.ports import Embedder
from sync_pipeline.core.views import ViewSpec


def cut_text(spec: ViewSpec, text: str, *, embedder: Embedder) -> list[Passage]:
    """Cut a text of a long view by the tokens of its model."""
    if spec.passage_tokens is None:
        raise ValueError(f"the view {spec.name} has one vector per text")
    return cut_passages(text, max_tokens=spec.passage_tokens, count=token_counter(embedder))


def token_counter(embedder: Embedder) -> CountTokens:
    """Count as many texts at once as the model takes."""

    def count(texts: Sequence[str]) -> list[int]:
        return [found.tokens for found in embedder.count_unknown(texts)]

    return count
