"""How much of the texts a model knows: its vocabulary turns what it lacks into one unknown token.

Texts of which a model knows too little have nearly the same vector, whatever they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

from sync_pipeline.core.row_dataclass import row_dataclass

_UNKNOWN_TEXT_FRACTION: Final = 1 / 3
"""From this share of its tokens on a text counts as unknown. An unknown word is one token however
long it is, a known one several: `ሲሚንቶ 50 kg` has a third, and what it is about is not known."""

HIGH_FRACTION: Final = 0.05
"""From this share of unknown texts on people are told. In catalogues whose script a model knows it
is 0 (English, Russian, Greek, Arabic and Hindi with the bundled model); a foreign name here and
there is below it, and a twentieth of a catalogue that cannot be found by its names is not."""

HELPS: Final = (
    "a model for many languages knows more, e.g. `embedding.model: intfloat/multilingual-e5-small`"
)


BYTES_PER_TOKEN: Final = 3
"""Of UTF-8, about. English has more to a token (4), other languages fewer."""


@row_dataclass(frozen=True, slots=True)
class TokenCount:
    """One text in a model's tokens, those around every text left out."""

    tokens: int
    unknown: int
    """Tokens that stand for something that the model's vocabulary lacks."""

    @classmethod
    def estimated(cls, text: str) -> Self:
        """Of a text whose model's tokenizer is not at hand; nothing is known to be unknown."""
        return cls(tokens=-(-len(text.encode()) // BYTES_PER_TOKEN), unknown=0)

    @property
    def is_unknown(self) -> bool:
        """Whether too little is known of the text to find it."""
        return self.unknown > 0 and self.unknown >= _UNKNOWN_TEXT_FRACTION * self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Texts of one view, and how much of them the model knows."""

    texts: int = 0
    unknown_texts: int = 0
    tokens: int = 0
    unknown_tokens: int = 0

    @classmethod
    def of(cls, counts: Iterable[TokenCount]) -> Self:
        """Sum up the texts that were counted."""
        token_counts = list(counts)
        return cls(
            texts=len(token_counts),
            unknown_texts=sum(count.is_unknown for count in token_counts),
            tokens=sum(count.tokens for count in token_counts),
            unknown_tokens=sum(count.unknown for count in token_counts),
        )

    def __add__(self, other: Vocabulary) -> Vocabulary:
        return Vocabulary(
            texts=self.texts + other.texts,
            unknown_texts=self.unknown_texts + other.unknown_texts,
            tokens=self.tokens + other.tokens,
            unknown_tokens=self.unknown_tokens + other.unknown_tokens,
        )

    @property
    def is_high(self) -> bool:
        """Whether so much is unknown that people should be told."""
        return self.unknown_texts > 0 and self.unknown_texts >= HIGH_FRACTION * self.texts

    @property
    def told(self) -> str:
        """What is unknown, for people, with the numbers."""
        share = self.unknown_tokens / self.tokens if self.tokens else 0.0
        return (
            f"the model does not know {self.unknown_texts} of {self.texts} texts "
            f"({share:.0%} of the tokens)"
        )

    def to_dict(self) -> dict[str, int]:
        """As JSON values."""
        return asdict(self)


def told_high(unknown: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Name the views of which the model knows too little.

    Args:
        unknown: Per view what ``Vocabulary.to_dict`` gave.
    """
    views = {view: Vocabulary(**counts) for view, counts in unknown.items()}
    return [
        f"view {view!r}: {vocabulary.told}"
        for view, vocabulary in views.items()
        if vocabulary.is_high
    ]
