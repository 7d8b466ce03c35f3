"""Cutting a long text into passages that a model reads whole.

Passages are whole sentences, and begin with the last one of the passage before where there is
room. Where a passage ends is decided by what is written around its end and not by what stands
before (content-defined chunking, as in LBFS, Muthitacharoen et al. 2001): so an edit changes the
passages around it, and those further on stay what they were, and need not be embedded again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Final

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Per text its tokens."""

_SENTENCE: Final = re.compile(
    r""".+?(?:[.!?…]+["'»”’)\]]*(?=\s)|[。！？]+["'»”’)\]]*|\Z)\s*""", re.DOTALL
)
"""As far as the next mark that ends a sentence and the space behind it."""
_WORDS: Final = re.compile(r"\S+\s*")
_LONGEST_WORD: Final = 400
"""Characters; a longer word is cut like a sentence of words of this length."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text."""

    start: int
    """Place of its first character in the text."""
    stop: int
    """Place behind its last one."""

    def of(self, text: str) -> str:
        """Its words."""
        return text[self.start : self.stop].strip()


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a part of one that is too long; it ends where the next one begins."""

    start: int
    stop: int
    tokens: int
    rank: bytes
    """Of its words alone: of several places to end a passage, the one of least rank is taken."""


def cut_passages(text: str, *, max_tokens: int, count: CountTokens) -> list[Passage]:
    """Cut a text at the ends of sentences into passages that overlap.

    Args:
        text: Normalised: white space is single spaces.
        max_tokens: Most tokens of a passage, as ``count`` has them for each sentence by itself.
            A single word may have more.
        count: The model's tokenizer.

    Returns:
        Passages in their order; together they cover the text. Of an empty text none.
    """
    units = _units(text, max_tokens=max_tokens, count=count)
    budget = max_tokens - max_tokens // 4
    until = list(accumulate((unit.tokens for unit in units), initial=0))
    if until[-1] <= max_tokens:
        return [Passage(0, len(text))] if text else []
    passages: list[Passage] = []
    begin = before = 0
    for border in _borders(units, until, radius=budget // 3):
        for end in _split(units, until, begin, border, budget=budget):
            # One that was a passage by itself need not be said twice.
            is_short = begin - before > 1 and until[end] - until[begin - 1] <= max_tokens
            first = begin - 1 if is_short else begin
            passages.append(Passage(units[first].start, units[end - 1].stop))
            before, begin = begin, end
    return passages


def _borders(units: Sequence[_Unit], until: Sequence[int], *, radius: int) -> Iterator[int]:
    """Places, as numbers of units before them, where a passage ends whatever stands further away.

    A sentence that ranks least among all within ``radius`` tokens is the last of its passage; and
    the last one is.
    """
    last = len(units) - 1
    for place in range(last):
        before = takewhile(
            lambda other: until[place + 1] - until[other + 1] <= radius,  # noqa: B023 - used at once
            range(place - 1, -1, -1),
        )
        behind = takewhile(
            lambda other: until[other + 1] - until[place + 1] <= radius,  # noqa: B023 - used at once
            range(place + 1, last),
        )
        rank = units[place].rank
        if all(units[it].rank > rank for it in before) and all(
            units[it].rank >= rank for it in behind
        ):
            yield place + 1
    if units:
        yield len(units)


def _split(
    units: Sequence[_Unit], until: Sequence[int], begin: int, end: int, *, budget: int
) -> Iterator[int]:
    """Ends of passages between two borders: cut in two at the least rank until each fits.

    Of sentences that are the same the one in the middle is taken.
    """
    size = until[end] - until[begin]
    if size <= budget or end - begin == 1:
        yield end
        return
    margin = min(budget, size) // 3
    inside = range(begin + 1, end)
    far = [it for it in inside if min(until[it] - until[begin], until[end] - until[it]) >= margin]
    middle = min(far or inside, key=lambda it: (units[it - 1].rank, abs(2 * it - begin - end)))
    yield from _split(units, until, begin, middle, budget=budget)
    yield from _split(units, until, middle, end, budget=budget)


def _units(text: str, *, max_tokens: int, count: CountTokens) -> list[_Unit]:
    sentences = [match.span() for match in _SENTENCE.finditer(text)]
    tokens = count([text[start:stop] for start, stop in sentences])
    units: list[_Unit] = []
    for (start, stop), size in zip(sentences, tokens, strict=True):
        if size <= max_tokens:
            units.append(_unit(text, start, stop, size))
        else:
            units += _cut_sentence(text, start, stop, max_tokens=max_tokens, count=count)
    return units


def _cut_sentence(
    text: str, start: int, stop: int, *, max_tokens: int, count: CountTokens
) -> Iterator[_Unit]:
    """Cut a sentence that is too long between words, into parts of half a passage."""
    words = list(_words(text, start, stop))
    sizes = count([text[begin:end] for begin, end in words])
    begin, held = start, 0
    for (word, _), size in zip(words, sizes, strict=True):
        if held and held + size > max_tokens // 2:
            yield _unit(text, begin, word, held)
            begin, held = word, 0
        held += size
    yield _unit(text, begin, stop, held)


def _words(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for match in _WORDS.finditer(text, start, stop):
        for begin in range(match.start(), match.end(), _LONGEST_WORD):
            yield begin, min(begin + _LONGEST_WORD, match.end())


def _unit(text: str, start: int, stop: int, tokens: int) -> _Unit:
    words = text[start:stop].strip().encode(errors="surrogatepass")
    return _Unit(start, stop, tokens, hashlib.blake2b(words, digest_size=8).digest())
