"""Which document of a scope comes first: ranks that can be compared across its entities."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Final

from sync_pipeline.core.entity import Criterion

MAX_CRITERIA: Final = 8
"""Most criteria of one entity."""

PLACE_CHARACTERS: Final = 17
"""How long the part of a rank is that one criterion decides."""

LAST_CHARACTER: Final = "1"
"""Of what no criterion puts forward. A rank that is filled up with it to any length stays in its
place: what an entity does not say counts as a condition that is not met."""

RANK_CHARACTERS: Final = MAX_CRITERIA * PLACE_CHARACTERS
"""The longest rank."""

_FIRST: Final = "0" * PLACE_CHARACTERS
_LAST: Final = LAST_CHARACTER * PLACE_CHARACTERS
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


def rank_of(values: Sequence[object], criteria: Sequence[Criterion]) -> str:
    """Rank a row: of two ranks the smaller text comes first.

    Args:
        values: Per criterion whether its conditions are met, or what its column says: the text
            of a number, or None.
        criteria: In the order in which they decide.
    """
    return "".join(map(_place, values, criteria))


def _place(value: object, criterion: Criterion) -> str:
    if criterion.column is None:
        return _FIRST if value else _LAST
    number = math.nan if value is None else float(str(value))
    if math.isnan(number):
        return _LAST
    # Of two doubles with their sign bit turned, negative ones turned altogether, the greater one
    # has the greater bits. Adding zero makes one number of both zeros.
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    bits ^= _ALL if bits & _SIGN else _SIGN
    return f"0{bits ^ _ALL if criterion.is_descending else bits:016x}"


def iter_pieces(ranks: Sequence[str], *, size: int) -> Iterator[tuple[int, int]]:
    """Cut ranks in ascending order into runs, ``(start, stop)``, of at most ``size``.

    What meets a condition and what does not are never in one run, as far as conditions stand in
    front: no number is ``0`` times 17, so they are told from the ranks alone.
    """
    start = 0
    for _, alike in groupby(ranks, key=_conditions):
        stop = start + sum(1 for _ in alike)
        for begin in range(start, stop, size):
            yield begin, min(begin + size, stop)
        start = stop


def _conditions(rank: str) -> str:
    """The beginning of a rank that only conditions have decided."""
    places = (rank[at : at + PLACE_CHARACTERS] for at in range(0, len(rank), PLACE_CHARACTERS))
    return "".join(takewhile((_FIRST, _LAST).__contains__, places))
