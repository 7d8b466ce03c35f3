"""Documents as the source has them now, page by page or all."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from sync_pipeline.core.document import Document
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.payload import TEXT, shown

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext

Line = dict[str, object]
"""One document as it is given out: ``document_id``, ``text``, ``texts`` per view, ``payload``."""


def choose_entities(word: str, *, among: Sequence[Entity]) -> list[Entity]:
    """Entities by name, plural or table; ``all`` for all.

    Raises:
        ConfigurationError: there is none of that name.
    """
    chosen = [
        entity
        for entity in among
        if word in ("all", entity.name, f"{entity.name}s", entity.table.rpartition(".")[2])
    ]
    if not chosen:
        names = ", ".join(entity.table.rpartition(".")[2] for entity in among)
        raise ConfigurationError(f"no entity {word!r}; say all, or one of {names}")
    return chosen


def page(lines: Iterator[Line], *, limit: int | None, offset: int) -> Iterator[Line]:
    """All lines as they come, or one page of them in the order of document ids."""
    if limit is None and not offset:
        return lines

    def document_id(line: Line) -> str:
        return str(line["document_id"])

    if limit is None:
        return islice(sorted(lines, key=document_id), offset, None)
    return islice(heapq.nsmallest(offset + limit, lines, key=document_id), offset, None)


def iter_lines(
    sync: SyncContext, *, entities: Sequence[Entity], scopes: Sequence[Scope]
) -> Iterator[Line]:
    """Render every document that a sync would make, all from one snapshot."""
    from sync_pipeline.engine.steps.export import iter_built

    with sync.source.open_snapshot(entities) as snapshot:
        for scope in scopes:
            for entity in entities:
                batches = iter_built(sync, snapshot=snapshot, entity=entity, scope=scope)
                for built in chain.from_iterable(batches):
                    if isinstance(built, Document):
                        yield _line(built, entity=entity)


def _line(document: Document, *, entity: Entity) -> Line:
    payload = shown(json.loads(document.payload))
    views = [name for name, _ in entity.views]
    return {
        "document_id": document.document_id,
        "text": payload[TEXT],
        "texts": dict(zip(views, document.texts, strict=True)),
        "payload": payload,
    }
