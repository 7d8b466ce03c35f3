"""What a view of a collection holds: whose vectors, how long they are, and one or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CUTTING_VERSION: Final = "1"
"""Part of the hash of every long text; raise it when the same text would be cut otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSpec:
    """One named vector of a collection."""

    name: str
    model_id: str
    dimension: int
    """Length of each vector."""
    passage_tokens: int | None = None
    """Most tokens of a passage, where a text is cut into passages with a vector each; None where
    it has one vector."""

    @property
    def is_long(self) -> bool:
        """Whether a document has a vector per passage of its text."""
        return self.passage_tokens is not None

    @property
    def hash_id(self) -> str:
        """What the embed hash of a document's text stands for besides the text."""
        if self.passage_tokens is None:
            return self.model_id
        return f"{self.model_id} in passages of {self.passage_tokens} tokens/{CUTTING_VERSION}"

    def describe(self) -> str:
        """A few words for people."""
        passages = "" if self.passage_tokens is None else f", passages of {self.passage_tokens}"
        return f"{self.name}: {self.model_id} ({self.dimension} dimensions{passages})"
