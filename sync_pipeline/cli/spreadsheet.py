"""Documents as CSV, for programs that read tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.batching import batched
from sync_pipeline.core.payload import DB_ID, DOCUMENT_ID, ENTITY_TYPE, SCOPE_KEY, TEXT

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity

ROWS_AT_ONCE: Final = 5_000
"""Documents of one data frame: memory stays bounded, whatever is exported."""
OWN_COLUMNS: Final = (DOCUMENT_ID, SCOPE_KEY, ENTITY_TYPE, DB_ID, TEXT)


def columns_of(entities: Sequence[Entity]) -> list[str]:
    """What every document says, then the payload fields of the entities, each once."""
    fields = [field for entity in entities for field, _ in entity.payload]
    return list(dict.fromkeys([*OWN_COLUMNS, *fields]))


def iter_csv(lines: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> Iterator[str]:
    """Turn documents as ``export`` prints them into pieces of one CSV text (RFC 4180).

    Numbers keep their value, and where one document has a number and another has none, it does
    not become a float. A list or an object is its JSON. Null and a field that an entity
    lacks are empty.

    Args:
        lines: Documents.
        columns: In this order; the first piece names them.
    """
    import pandas as pd

    has_header = False
    for batch in batched(lines, ROWS_AT_ONCE):
        rows = [[_cell(line["payload"].get(column)) for column in columns] for line in batch]
        frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
        yield frame.to_csv(index=False, header=not has_header, lineterminator="\r\n")
        has_header = True
    if not has_header:
        yield pd.DataFrame(columns=list(columns)).to_csv(index=False, lineterminator="\r\n")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
