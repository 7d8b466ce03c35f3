"""Long texts where people read many of them."""

from __future__ import annotations


def beginning(text: str, *, length: int) -> str:
    """At most so many characters of a text, with ``...`` where it goes on."""
    return text if len(text) <= length else f"{text[:length]}..."
