"""Numbers as an index keeps them: exactly, or as their text."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Final

from sync_pipeline.core.document import INT64_RANGE

_SURE_CHARACTERS: Final = 15
"""A float gives every number of so many digits back as it was written."""
_INT64_DIGITS: Final = 19
_NOT_FINITE: Final = frozenset({"nan", "inf", "infinity"})


def exact_number(text: str) -> float | int | str:
    """Read a number so that nothing of it is lost.

    A float where it is written with the same digits (``12.50`` is 12.5, ``42`` is 42.0), else
    an int where the number is whole and has 64 bits, else its text. NaN and the infinities,
    which no JSON can hold, are floats.

    Raises:
        ValueError: it is no number.
    """
    number = float(text)
    if len(text) <= _SURE_CHARACTERS and "e" not in text and "E" not in text:
        return number
    if not math.isfinite(number):
        return number if text.strip().lstrip("+-").lower() in _NOT_FINITE else text
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return text
    if Decimal(repr(number)) == exact:
        return number
    if exact.adjusted() < _INT64_DIGITS:
        whole = int(exact)
        if whole == exact and whole in INT64_RANGE:
            return whole
    return text


def exact_whole_number(text: str) -> float | int | str:
    """Read a number written without point and exponent: an int, or as ``exact_number`` does.

    Raises:
        ValueError: it is no number.
    """
    if len(text) <= _INT64_DIGITS + 1 and (whole := int(text)) in INT64_RANGE:
        return whole
    return exact_number(text)
