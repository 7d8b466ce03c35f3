"""Names of the columns of staged datasets that belong to a view."""

from __future__ import annotations


def text_column(view: str) -> str:
    """Column with a view's text."""
    return f"text:{view}"


def hash_column(view: str) -> str:
    """Column with a view's embed hash."""
    return f"embed_hash:{view}"


def passages_column(view: str) -> str:
    """Column with the embed hashes of the passages of a long view's text."""
    return f"passages:{view}"
