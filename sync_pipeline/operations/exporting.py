"""Documents as the source has them now, page by page or all."""

from __future__ import annotations

import base64
import heapq
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Self

from sync_pipeline.core.document import Document
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.payload import TEXT, shown

if TYPE_CHECKING:
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.ports import SourceSnapshot
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext

DEFAULT_BATCH: Final = 500
"""Rows that a page reads at once."""

MAX_IDS: Final = 10_000
"""Ids that a page keeps at once."""

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
) -> Generator[Line]:
    """Render every document that a sync would make, all from one snapshot."""
    from sync_pipeline.engine.steps.export import iter_built

    with sync.source.open_snapshot(entities) as snapshot:
        for scope in scopes:
            for entity in entities:
                batches = iter_built(sync, snapshot=snapshot, entity=entity, scope=scope)
                for built in chain.from_iterable(batches):
                    if isinstance(built, Document):
                        yield line_of(built, entity=entity)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of documents ends: the next one begins after this row."""

    scope_key: str
    entity_type: str
    row_id: str

    def as_text(self) -> str:
        """An opaque text, to be given back."""
        text = json.dumps([self.scope_key, self.entity_type, self.row_id])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``as_text``.

        Raises:
            ConfigurationError: it is no such text.
        """
        try:
            parts = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
            scope_key, entity_type, row_id = map(str, parts)
            f"{scope_key}{entity_type}{row_id}".encode()
        except (ValueError, TypeError) as error:
            raise ConfigurationError("the cursor is none that an export has given") from error
        if "\0" in row_id:
            raise ConfigurationError("the cursor is none that an export has given")
        return cls(scope_key, entity_type, row_id)


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents in the order of scope, entity and row id, and where they end."""

    lines: Sequence[Line]
    end: Place | None
    """None where no document follows."""


def read_page(
    sync: SyncContext,
    *,
    entities: Sequence[Entity],
    scopes: Sequence[Scope],
    limit: int,
    offset: int = 0,
    after: Place | None = None,
    batch_size: int = DEFAULT_BATCH,
) -> Page:
    """One page, of one snapshot.

    After a place it costs one look at the ids of each table that it touches, of these scopes
    alone, and the rows of the page; what came before is neither read nor rendered. An
    ``offset`` costs the rows before it as well, for only a row that is read is known to be a
    document.

    Args:
        sync: The ports.
        entities: Of which tables, in this order.
        scopes: Whose, in this order; each once.
        limit: Most documents.
        offset: Documents to leave out.
        after: Where the page before has ended.
        batch_size: Rows read at once.

    Raises:
        SourceUnavailableError: the source cannot be read.
    """
    wanted = offset + limit
    lines: list[Line] = []
    end: Place | None = None
    with sync.source.open_snapshot(entities) as snapshot:
        placed = _iter_placed(
            sync,
            snapshot,
            entities=entities,
            scopes=scopes,
            after=after,
            count=min(wanted + 1, MAX_IDS),
            batch_size=batch_size,
        )
        for number, (place, line) in enumerate(placed):
            if number == wanted:
                return Page(lines, end)
            if number >= offset:
                lines.append(line)
            end = place
    return Page(lines, None)


def _iter_placed(
    sync: SyncContext,
    snapshot: SourceSnapshot,
    *,
    entities: Sequence[Entity],
    scopes: Sequence[Scope],
    after: Place | None,
    count: int,
    batch_size: int,
) -> Iterator[tuple[Place, Line]]:
    """Documents after a place, in order; ids are looked at ``count`` at a time."""
    from sync_pipeline.engine.steps.export import iter_built

    for scope, entity, row_id in _starts(entities, scopes, after=after):
        start = row_id
        while ids := _next_ids(snapshot, entity, scope, after=start, count=count):
            start = ids[-1]
            for first in range(0, len(ids), batch_size):
                some = ids[first : first + batch_size]
                batches = iter_built(sync, snapshot=snapshot, entity=entity, scope=scope, ids=some)
                documents = [it for it in chain.from_iterable(batches) if isinstance(it, Document)]
                for document in sorted(documents, key=lambda it: it.db_id.encode()):
                    place = Place(scope.key, entity.name, document.db_id)
                    yield place, line_of(document, entity=entity)


def _starts(
    entities: Sequence[Entity], scopes: Sequence[Scope], *, after: Place | None
) -> Iterator[tuple[Scope, Entity, str | None]]:
    """Tables of scopes that a page may touch, the first one with the row that it begins after."""
    names = [entity.name for entity in entities]
    keys = [scope.key for scope in scopes]
    if after is None:
        first_scope, first_entity, row_id = 0, 0, None
    elif after.scope_key in keys and after.entity_type in names:
        first_scope, first_entity = keys.index(after.scope_key), names.index(after.entity_type)
        row_id = after.row_id
    else:
        # The scope is gone since; nothing of what was asked for stands behind it for certain.
        raise ConfigurationError(
            "the cursor is of another export, or its scope is gone: begin anew"
        )
    for place, scope in enumerate(scopes[first_scope:]):
        for number, entity in enumerate(entities):
            if place == 0 and number < first_entity:
                continue
            is_first = place == 0 and number == first_entity
            yield scope, entity, row_id if is_first else None


def _next_ids(
    snapshot: SourceSnapshot, entity: Entity, scope: Scope, *, after: str | None, count: int
) -> list[str]:
    """The next ids of a scope, byte by byte; an id that several rows have comes once."""
    start = None if after is None else after.encode()
    later = (
        row_id
        for batch in snapshot.iter_ids(entity=entity, scope=scope)
        for row_id in batch
        if start is None or row_id.encode() > start
    )
    return list(dict.fromkeys(heapq.nsmallest(count, later, key=str.encode)))


def line_of(document: Document, *, entity: Entity) -> Line:
    """A document as it is given out."""
    payload = shown(json.loads(document.payload))
    views = [name for name, _ in entity.views]
    return {
        "document_id": document.document_id,
        "text": payload[TEXT],
        "texts": dict(zip(views, document.texts, strict=True)),
        "payload": payload,
    }
