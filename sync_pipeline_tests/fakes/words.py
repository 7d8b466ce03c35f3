"""How fakes match words."""

from __future__ import annotations

import re


def begins_as_typed(text: str, typed: str) -> bool:
    """Whether for each word typed the text has one that begins with it."""
    words = re.findall(r"\w+", text.lower())
    return all(
        any(word.startswith(part) for word in words) for part in re.findall(r"\w+", typed.lower())
    )
