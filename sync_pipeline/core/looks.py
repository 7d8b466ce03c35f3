"""What the values of a column look like: words, codes, addresses, a few categories."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

LONG_MEAN: Final = 400
"""Characters of an average text from which it is worth passages of its own."""
LONG_MOST: Final = 1_000
"""Characters of one text from which it is."""
FEW_ROWS: Final = 20
"""Fewer values say nothing about how often they repeat."""
FEW_SHARE: Final = 0.2
"""Up to this share of different values, a column names categories."""
FEW_MOST: Final = 50
REPEATED_SHARE: Final = 0.5

_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_IN_CODE: Final = re.compile(r"\S*\d\S*")
_ADDRESS: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.|/)\S*|\S+@\S+\.\S+|(?:[\w.-]+/)+[\w.-]+\.\w+", re.IGNORECASE
)
_DIGEST: Final = re.compile(
    r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?|[0-9a-f]{16,}|[A-Za-z0-9+/_-]{32,}={0,2}",
)
_TAG: Final = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|&(?:[a-z]{2,8}|#\d+);", re.IGNORECASE)
_LATIN_END: Final = 0x0250


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Shares are of the values that are not NULL; all are 0 where there is none."""

    count: int
    distinct: int
    mean_characters: float
    most_characters: int
    words: float
    """Values with a word in them."""
    addresses: float
    """Values that are a URL, a path or a mail address."""
    digests: float
    """Values that are a UUID, a hash or a token."""
    codes: float
    """Values of one word with a digit in it."""
    markup: float
    """Values with a tag or an entity of HTML."""
    not_latin: float
    """Letters that are not Latin."""

    @property
    def is_long(self) -> bool:
        """Whether a model reads only the beginning of such texts."""
        return self.mean_characters >= LONG_MEAN or self.most_characters >= LONG_MOST

    @property
    def is_few(self) -> bool:
        """Whether values repeat as those of a category do."""
        most = min(FEW_MOST, self.count * FEW_SHARE)
        return self.count >= FEW_ROWS and self.distinct <= most

    @property
    def is_repeated(self) -> bool:
        """Whether most values come up more than once."""
        return self.count >= FEW_ROWS and self.distinct <= self.count * REPEATED_SHARE


def look_at(texts: Sequence[str]) -> Look:
    """Measure the values of a column."""
    count = len(texts)
    letters = [character for text in texts for character in text if character.isalpha()]
    not_latin = sum(ord(character) >= _LATIN_END for character in letters)

    def share(holds: Callable[[str], object]) -> float:
        return sum(map(bool, map(holds, texts))) / count if count else 0.0

    return Look(
        count=count,
        distinct=len(set(texts)),
        mean_characters=sum(map(len, texts)) / count if count else 0.0,
        most_characters=max(map(len, texts), default=0),
        words=share(has_word),
        addresses=share(lambda text: _ADDRESS.fullmatch(text.strip())),
        digests=share(lambda text: _DIGEST.fullmatch(text.strip())),
        codes=share(lambda text: _IN_CODE.fullmatch(text.strip())),
        markup=share(_TAG.search),
        not_latin=not_latin / len(letters) if letters else 0.0,
    )


def has_word(text: str) -> object:
    """Whether there are letters one after the other, other than in a code such as ``AB-100``."""
    return _WORD.search(_IN_CODE.sub(" ", text))


def is_contained(inner: Sequence[str | None], outer: Sequence[str | None]) -> bool:
    """Whether each value stands in the other column's value of the same row."""
    pairs = [
        (one.casefold(), other.casefold())
        for one, other in zip(inner, outer, strict=True)
        if one is not None and other is not None
    ]
    return bool(pairs) and all(one in other for one, other in pairs)
