"""The first documents of entities that nobody has synced: rendered as a sync would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from sync_pipeline.core.document import Document, DocumentBuilder, Rejection
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.ports import RowSource
from sync_pipeline.core.scope import Scope

NO_MODEL = "preview"
"""Stands for the model in hashes that nobody keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a few rows of each entity would become, and what does not fit."""

    built: tuple[tuple[Entity, Document | Rejection], ...]
    faults: Mapping[str, str]
    """Per entity name what keeps it from being read, or will make trouble later."""


def preview_documents(
    source: RowSource,
    *,
    entities: Sequence[Entity],
    scopes: Mapping[str, Sequence[Scope]],
    limit: int,
) -> Preview:
    """Render rows of all entities in turn, and ask each what ``doctor`` would.

    Args:
        source: Where rows are.
        entities: Which tables.
        scopes: Per entity name scopes that have rows.
        limit: Most rows of all entities together; each of the first has its share.
    """
    built: list[tuple[Entity, Document | Rejection]] = []
    faults: dict[str, str] = {}
    for number, entity in enumerate(entities):
        left = limit - len(built)
        share = -(-left // (len(entities) - number))
        try:
            rows = _rows(source, entity, scopes.get(entity.name, ()), limit=share)
            built.extend((entity, one) for one in rows)
            weaknesses = source.find_weaknesses([entity])
        except SyncPipelineError as error:
            faults[entity.name] = error.what.strip()
            continue
        if weaknesses:
            faults[entity.name] = f"{weaknesses[0].what}: {weaknesses[0].fix}"
    return Preview(built=tuple(built), faults=faults)


def _rows(
    source: RowSource, entity: Entity, scopes: Sequence[Scope], *, limit: int
) -> list[Document | Rejection]:
    """Some rows of each scope, so that several owners are seen."""
    built: list[Document | Rejection] = []
    if not limit:
        return built
    with source.open_snapshot([entity]) as snapshot:
        for number, scope in enumerate(scopes):
            left = limit - len(built)
            share = -(-left // (len(scopes) - number))
            builder = DocumentBuilder(entity=entity, scope=scope, model_id=NO_MODEL)
            batches = snapshot.iter_rows(entity=entity, scope=scope, batch_size=max(share, 1))
            built += [builder.build(row) for row in islice(chain.from_iterable(batches), share)]
    return built
