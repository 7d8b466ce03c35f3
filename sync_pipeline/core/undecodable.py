"""Bytes that are no text: how they travel in a text, and how they are shown.

PostgreSQL holds such bytes where a database has no encoding (SQL_ASCII) or one with
gaps, and a command line does in a terminal of another encoding. Each of them is kept
as a lone surrogate, as Python does it (PEP 383): no index can hold one, so it never
gets further than the row it is in.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPED: Final = re.compile("[\udc80-\udcff]")


def is_undecodable(value: object) -> bool:
    """Whether a value is a text with bytes in it that are no text."""
    return isinstance(value, str) and _ESCAPED.search(value) is not None


def with_escapes(text: str) -> str:
    r"""The text with escapes for what no text can hold: ``B\xe9ton``."""
    if text.isascii():
        return text
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()


def recoded(word: str) -> str:
    """A word of the command line as UTF-8, where the locale knew only ASCII."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return word.encode(errors="surrogateescape").decode(errors="replace")
    return word
