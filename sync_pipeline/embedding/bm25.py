"""BM25 term weights by Qdrant's own tokenizer and stemmers (``core.ports.SparseEncoder``)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from qdrant_edge import Bm25, Bm25Config, DisabledStemmer, StopwordsSet

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.point import SparseVector

MIXED: Final = "mixed"
"""Russian for words in Cyrillic, English for all others."""
NONE: Final = "none"
"""No stemming, no stop words."""

# Edge's own English list drops single letters (a d m o s t y), which in a catalogue are sizes
# and types: "d 20", "type A".
_ENGLISH_STOPWORDS: Final = frozenset(
    {"an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "its"}
    | {"of", "on", "or", "that", "the", "this", "to", "with"}
)
_CYRILLIC: Final = re.compile(r"[\u0400-\u04ff]")
# Where Edge's tokenizer surely cuts too; Python and Rust differ on what else is in a word.
_SEPARATORS: Final = re.compile(r"[\s\x00-/:-@\[-`{-\x7f]+")
_RENDERING: Final = "v1"
"""Raise it when the same text would get other weights."""

# Letters that look alike as capitals: sizes and grades are written with either.
_CYRILLIC_OF: Final = dict(zip("abcehkmoptxyisj", "авсенкмортхуіѕј", strict=True))
_LATIN_OF: Final = {cyrillic: latin for latin, cyrillic in _CYRILLIC_OF.items()}
_TIMES: Final = "×✕✖⨯*"


def _single(letters: Iterable[str]) -> re.Pattern[str]:
    """One of these letters, alone beside a digit: not ``к`` in ``5кг``."""
    lower = "".join(letters)
    letter = f"[{lower}{lower.upper()}]"
    # The letter first: most places of a text are passed by at once.
    return re.compile(rf"{letter}(?:(?<=\d{letter})(?![^\W\d_])|(?<![^\W_]{letter})(?=\d))")


_SINGLE_CYRILLIC: Final = _single(_LATIN_OF)
_SINGLE_LATIN: Final = _single(_CYRILLIC_OF)
_PRODUCT: Final = re.compile(rf"[^\W_]*\d(?:[{_TIMES}]\d[^\W_]*)+")
_TIMES_SIGN: Final = re.compile(rf"[{_TIMES}]")


class Bm25Encoder:
    """Weighs the terms of short catalogue texts.

    Before anything else texts are brought to one spelling: ``м²`` is ``м2``,
    ``ё`` is ``е``, capitals do not matter. Terms keep no order and no position. A single
    letter beside a digit is Latin where it looks so, and a sign of multiplication is an
    ``x``: ``50х150`` in Cyrillic, ``50×150`` and ``50x150`` are one term, and so are
    ``М8`` and ``M8``. A search looks for the Cyrillic spelling too, because documents
    that were written before this was so keep it until they change.

    Args:
        language: ``mixed``, ``none``, or one that Qdrant Edge stems, such as ``english``,
            ``german`` or ``russian``. One language leaves the words of other scripts as
            they are, so ``russian`` finds «штукатурки» by «штукатурка» but not "plasters"
            by "plaster"; ``mixed`` does both.
        k: How soon a repeated term stops to count.
        b: How much longer texts are marked down, 0 to 1.
        average_words: Length of a typical text. Qdrant's default of 256 would take every
            catalogue name for equally short.

    Raises:
        ConfigurationError: there is no stemmer for the language, or a number is out of range.
    """

    def __init__(
        self,
        language: str = MIXED,
        *,
        k: float = 1.2,
        b: float = 0.75,
        average_words: float = 10,
    ) -> None:
        self.sparse_id = f"bm25-{_RENDERING}-{language}-k{k:g}-b{b:g}-avg{average_words:g}"
        model = partial(_model, k=k, b=b, average_words=average_words)
        self._cyrillic = model("russian" if language == MIXED else language)
        self._other = model("english") if language == MIXED else self._cyrillic

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weigh the terms of documents; a text without terms has no weights."""
        return [self._encode_document(_folded(_spelled(text))) for text in texts]

    def encode_query(self, text: str) -> SparseVector:
        """Weigh the terms of a search text: each counts one, in every spelling."""
        cyrillic, other = self._terms(_all_spellings(_spelled(text)))
        return _sparse(dict.fromkeys(cyrillic | other, 1.0))

    def _encode_document(self, text: str) -> SparseVector:
        """Take each script's terms from the model that stems it.

        Both models see the whole text, because its length is part of every weight.
        """
        if self._cyrillic is self._other or not _CYRILLIC.search(text):
            return _sparse(_weights(self._other, text))
        cyrillic, other = self._terms(text)
        of_cyrillic, of_other = _weights(self._cyrillic, text), _weights(self._other, text)
        return _sparse(
            {term: of_cyrillic[term] for term in cyrillic}
            | {term: of_other[term] for term in other}
        )

    def _terms(self, text: str) -> tuple[set[int], set[int]]:
        """Ids of the stemmed terms in Cyrillic, and of all others."""
        if self._cyrillic is self._other:
            return set(), set(self._other.embed_query(text).indices)
        cyrillic: list[str] = []
        other: list[str] = []
        for word in _SEPARATORS.split(text):
            (cyrillic if _CYRILLIC.search(word) else other).append(word)
        return (
            set(self._cyrillic.embed_query(" ".join(cyrillic)).indices),
            set(self._other.embed_query(" ".join(other)).indices),
        )


def _model(language: str, *, k: float, b: float, average_words: float) -> Bm25:
    stopwords = {"english": _ENGLISH_STOPWORDS, NONE: frozenset[str]()}.get(language)
    try:
        return Bm25(
            Bm25Config(
                k=k,
                b=b,
                avg_len=average_words,
                language=None if language == NONE else language,
                stemmer=DisabledStemmer() if language == NONE else None,
                stopwords=None if stopwords is None else StopwordsSet(custom=set(stopwords)),
            )
        )
    except ValueError as error:
        raise ConfigurationError(
            f"BM25 cannot be set up for language {language!r} with k {k}, b {b} and an average of "
            f"{average_words} words: {error}.",
            remedy=f"Use {MIXED!r}, {NONE!r} or a language that Snowball "
            "stems, k not below 0, b from 0 to 1 and an average above 0.",
        ) from error


def _weights(model: Bm25, text: str) -> dict[int, float]:
    sparse = model.embed_document(text)
    return dict(zip(sparse.indices, sparse.values, strict=True))


def _spelled(text: str) -> str:
    """One spelling of letters that look or mean the same."""
    return unicodedata.normalize("NFKC", text).replace("ё", "е").replace("Ё", "Е")


def _folded(text: str) -> str:
    """The text with the sizes and grades in it in their one spelling.

    The numbers of ``50×150`` stay words of their own, as they always were.
    """
    latin = _SINGLE_CYRILLIC.sub(lambda match: _LATIN_OF[match[0].lower()], text)
    if _TIMES_SIGN.search(latin) is None:
        # Few have one, and to look for products takes longer than all else here.
        return latin
    products = [_TIMES_SIGN.sub("x", product) for product in _PRODUCT.findall(latin)]
    return " ".join([latin, *products])


def _all_spellings(text: str) -> str:
    """The text with the sizes and grades in it in every spelling that a document may have."""
    latin = _folded(text)
    cyrillic = _SINGLE_LATIN.sub(lambda match: _CYRILLIC_OF[match[0].lower()], latin)
    return " ".join(dict.fromkeys((text, latin, cyrillic)))


def _sparse(weights: dict[int, float]) -> SparseVector:
    """In ascending order of index, so that the same text gives the same bytes."""
    indices = sorted(weights)
    return SparseVector(tuple(indices), tuple(map(weights.__getitem__, indices)))
