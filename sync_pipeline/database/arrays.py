"""Arrays as PostgreSQL reads them."""

from __future__ import annotations

from collections.abc import Iterable


def text_array(values: Iterable[str | None]) -> str:
    """Write texts as PostgreSQL's literal of an array, for a parameter ``%s::text[]``.

    psycopg dumps a list element by element in Python, 3 microseconds each, in which no other
    thread can compute: for what is recorded of 55,000 documents a second.
    """
    elements = list(values)
    if elements and None not in elements:
        joined = '","'.join(elements)  # type: ignore[arg-type]  # none of them is None
        if "\\" not in joined and joined.count('"') == 2 * (len(elements) - 1):
            return '{"' + joined + '"}'
    return "{" + ",".join(map(_element, elements)) + "}"


def _element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
