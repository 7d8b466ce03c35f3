"""Step 1: read a scope in one snapshot, render it, stage it."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

import pyarrow as pa

from sync_pipeline.core.changes import ChangeBatch, EntityDigest
from sync_pipeline.core.document import Document, Reason, Rejection
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import IncompleteExportError, TooManyQuarantinedError
from sync_pipeline.core.ports import Fence, SourceSnapshot
from sync_pipeline.core.reports import Counts, StepSeconds, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.lease import note_writing
from sync_pipeline.engine.overlap import read_ahead
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, read_record
from sync_pipeline.engine.rendering import document_builder
from sync_pipeline.engine.spread import open_parts
from sync_pipeline.engine.staged import (
    EVENT_SCHEMA,
    TOUCHED_SCHEMA,
    StagedEntity,
    StagedExport,
    dataset_name,
    document_schema,
    documents_table,
    parts_for,
    run_folder,
)
from sync_pipeline.engine.steps.doubles import find_set_aside
from sync_pipeline.engine.steps.priority import has_ranks
from sync_pipeline.engine.steps.touched import (
    Everything,
    FeedReading,
    Touched,
    find_touched,
    read_feed,
)
from sync_pipeline.engine.stopping import counted
from sync_pipeline.engine.watching import watched

_log: Final = logging.getLogger(__name__)

NO_FENCE_TOKEN: Final = 0
"""Of what was staged without a lease; no lease has it."""


@dataclass(slots=True)
class _EntityTally:
    """Counts of one entity."""

    rows: int = 0
    documents: int = 0
    quarantined: int = 0


@dataclass(slots=True)
class _Tally:
    """Counts of an export that is under way."""

    entities: dict[str, _EntityTally]
    rejections: list[Rejection] = field(default_factory=list)
    set_aside: set[tuple[str, str]] = field(default_factory=set)
    """Entity type and id of the rows set aside for their ids: each is named once."""
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By entity and payload field: values that no index can hold."""
    rows_with_dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    archived: int = 0

    @classmethod
    def of(cls, sync: Reading) -> Self:
        """Nothing counted yet."""
        return cls({name: _EntityTally() for name in sync.entity_names})

    def accept(self, document: Document) -> None:
        """Count a document, and what its payload could not keep."""
        self.entities[document.entity_type].documents += 1
        self.archived += document.is_archived
        if document.dropped:
            for name, values in Counter(document.dropped).items():
                self.dropped[document.entity_type, name] += values
                self.rows_with_dropped[document.entity_type, name] += 1

    def reject(self, rejection: Rejection) -> None:
        """Set a row aside, the first of several with one id for all of them."""
        if rejection.reason is Reason.DOUBLED_ID:
            key = (rejection.entity_type, rejection.db_id)
            if key in self.set_aside:
                return
            self.set_aside.add(key)
        self.rejections.append(rejection)
        self.entities[rejection.entity_type].quarantined += rejection.rows

    def has_doubled(self, entity_type: str) -> bool:
        """Whether rows of an entity were set aside for their ids."""
        return any(name == entity_type for name, _ in self.set_aside)

    @property
    def rows(self) -> int:
        return sum(entity.rows for entity in self.entities.values())

    @property
    def counts(self) -> Counts:
        """So far, of all entities."""
        return Counts(
            rows=self.rows,
            documents=sum(entity.documents for entity in self.entities.values()),
            quarantined=sum(entity.quarantined for entity in self.entities.values()),
            archived=self.archived,
            dropped_values=self.dropped.total(),
        )


@watched("export")
def export_scope(
    sync: SyncContext, *, scope: Scope, run_id: str, fence: Fence, mode: SyncMode = "full"
) -> StagedExport:
    """Stage every document of ``scope`` as of one snapshot, and name the rows that are none.

    The quarantine of the scope is brought up to date; the index is not touched.
    An incremental export stages what may have changed; it becomes a full one where
    that cannot be told (see ``touched.find_touched``).

    Raises:
        IncompleteExportError: fewer rows arrived than the snapshot holds.
        SourceSchemaError: the tables do not match the entities.
        SourceUnavailableError: the connection was lost.
        TooManyQuarantinedError: more rows are unusable than the settings accept.
        StoppedError: asked to stop.
    """
    tally = _Tally.of(sync)
    record = read_record(sync, scope=scope)
    if record.cut_off:
        note_writing(sync, fence, over_others=True)
    with counted(lambda: tally.counts):
        export, touched = _stage(
            sync,
            scope=scope,
            run_id=run_id,
            mode=mode,
            record=record,
            fence_token=fence.token,
            tally=tally,
        )
    if not sync.keeps_in_step:
        sync.quarantine.replace(
            scope=scope,
            rejections=tally.rejections,
            entity_types=sync.entity_names,
            among=_looked_at(touched),
        )
    _tell_dropped(tally, scope=scope)
    _check_quarantined(sync, scope=scope, counts=tally.counts)
    return export


@contextmanager
def preview_export(sync: Reading, *, scope: Scope, mode: SyncMode) -> Iterator[StagedExport]:
    """Stage what ``export_scope`` would, for the length of the ``with``.

    Without a lease and without touching the quarantine; nothing of it is left behind.
    """
    run_id = f"preview-{uuid.uuid4()}"
    try:
        export, _ = _stage(
            sync,
            scope=scope,
            run_id=run_id,
            mode=mode,
            record=read_record(sync, scope=scope),
            tally=_Tally.of(sync),
        )
        yield export
    finally:
        sync.staging.delete(run_folder(scope=scope, run_id=run_id))


def _stage(
    sync: Reading,
    *,
    scope: Scope,
    run_id: str,
    mode: SyncMode,
    record: ScopeRecord,
    fence_token: int = NO_FENCE_TOKEN,
    tally: _Tally,
) -> tuple[StagedExport, Touched | None]:
    began = sync.seconds()
    # Before the snapshot, which then contains every change that the events name.
    feed = read_feed(sync, scope=scope, mode=mode)
    with sync.source.open_snapshot(sync.entities) as snapshot:
        touched: Touched | None = None
        note = None
        if mode == "incremental":
            looked = find_touched(sync, scope=scope, snapshot=snapshot, record=record, feed=feed)
            if isinstance(looked, Everything):
                note = f"compared in full: {looked.why}"
            else:
                touched = looked
        digests: Mapping[str, EntityDigest] | None = None
        if touched is None:
            digests = snapshot.digest(entities=sync.entities, scope=scope)
        dataset, parts = _stage_rows(
            sync,
            snapshot=snapshot,
            scope=scope,
            run_id=run_id,
            touched=touched,
            expected=_expected_rows(sync, digests),
            tally=tally,
        )
        taken_at = _in_order(record, taken_at=snapshot.taken_at)
    events = None if feed is None else feed.events
    export = StagedExport(
        scope_key=scope.key,
        run_id=run_id,
        mode="full" if touched is None else "incremental",
        snapshot_at=taken_at.isoformat(),
        collection=sync.spec.collection,
        counts=tally.counts,
        seconds=StepSeconds(export=sync.seconds() - began),
        parts=parts,
        entities=_staged_entities(sync, tally=tally, digests=digests, feed=feed),
        note=note,
        touched=_stage_touched(sync, scope=scope, run_id=run_id, touched=touched),
        events=_stage_events(sync, scope=scope, run_id=run_id, events=events),
        event_keys=() if events is None else events.keys,
        dataset=dataset,
        fence_token=fence_token,
    )
    return export, touched


def _staged_entities(
    sync: Reading,
    *,
    tally: _Tally,
    digests: Mapping[str, EntityDigest] | None,
    feed: FeedReading | None,
) -> list[StagedEntity]:
    return [
        StagedEntity(
            entity_type=entity.name,
            rows=tally.entities[entity.name].rows,
            documents=tally.entities[entity.name].documents,
            quarantined=tally.entities[entity.name].quarantined,
            # An entity with rows set aside must not seem unchanged: which of them count is
            # decided by others.
            digest=None
            if digests is None or tally.has_doubled(entity.name)
            else sync.entity_digest(entity, digests.get(entity.name)),
            feed_epoch=None if feed is None else feed.epoch(entity.name),
        )
        for entity in sync.entities
    ]


def _expected_rows(
    sync: Reading, digests: Mapping[str, EntityDigest] | None
) -> dict[str, int] | None:
    """How many rows of each entity must arrive; None where only some are read."""
    if digests is None:
        return None
    return {name: digests[name].rows if name in digests else 0 for name in sync.entity_names}


def _stage_rows(
    sync: Reading,
    *,
    snapshot: SourceSnapshot,
    scope: Scope,
    run_id: str,
    touched: Touched | None,
    expected: Mapping[str, int] | None,
    tally: _Tally,
) -> tuple[str, int]:
    """Render and stage rows of every entity; the dataset's name and how many parts it has."""
    dataset = dataset_name("exported_documents", scope=scope, run_id=run_id)
    total = sum(expected.values()) if expected is not None else None
    parts = 1 if touched is not None else _parts(sync, scope=scope, rows=total or 0)
    with open_parts(
        sync.staging,
        dataset,
        schema=document_schema(sync.views, is_ranked=has_ranks(sync)),
        parts=parts,
        checkpoint=lambda: sync.checkpoint(scope=scope),
    ) as write:
        for entity in sync.entities:
            ids = None if touched is None else touched.row_ids[entity.name]
            for documents in _iter_documents(
                sync, snapshot=snapshot, entity=entity, scope=scope, ids=ids, tally=tally
            ):
                write(_as_table(sync, entity=entity, documents=documents))
                sync.progress.advance("export", done=tally.rows, total=total)
                sync.checkpoint(scope=scope)
            read = tally.entities[entity.name].rows
            if expected is not None and read != expected[entity.name]:
                raise IncompleteExportError(
                    scope_key=scope.key, expected=expected[entity.name], read=read
                )
    return dataset, parts


def _stage_touched(
    sync: Reading, *, scope: Scope, run_id: str, touched: Touched | None
) -> str | None:
    if touched is None:
        return None
    name = dataset_name("touched_points", scope=scope, run_id=run_id)
    with sync.staging.open_writer(name, schema=TOUCHED_SCHEMA, parts=1) as writer:
        writer.write(0, pa.table({"point_id": touched.point_ids}, schema=TOUCHED_SCHEMA))
    return name


def _stage_events(
    sync: Reading, *, scope: Scope, run_id: str, events: ChangeBatch | None
) -> str | None:
    if events is None or not events.event_ids:
        return None
    name = dataset_name("change_events", scope=scope, run_id=run_id)
    with sync.staging.open_writer(name, schema=EVENT_SCHEMA, parts=1) as writer:
        writer.write(0, pa.table({"event_id": events.event_ids}, schema=EVENT_SCHEMA))
    return name


def _looked_at(touched: Touched | None) -> AbstractSet[tuple[str, str]] | None:
    if touched is None:
        return None
    return {(name, row_id) for name, ids in touched.row_ids.items() for row_id in ids}


def _in_order(record: ScopeRecord, *, taken_at: datetime) -> datetime:
    """The snapshot's time, later than that of the last sync of any entity in any case.

    The lease says which of two runs of a scope is the newer one. A source whose
    clock was set back, or that was restored elsewhere, must not make a newer
    snapshot look older: the index would refuse its writes without an error.
    """
    last = record.newest_snapshot_at
    return taken_at if last is None or last < taken_at else last + timedelta(microseconds=1)


def _tell_dropped(tally: _Tally, *, scope: Scope) -> None:
    """Name the payload fields in which null stands for a value, never the value."""
    for (entity, name), values in sorted(tally.dropped.items()):
        _log.warning(
            "scope %r, entity %r: payload field %r has null in place of what no index can hold "
            "(not a number, infinite, or half a character): %d values in %d rows. The rows are "
            "searchable; correct the values in the source",
            scope.key,
            entity,
            name,
            values,
            tally.rows_with_dropped[entity, name],
        )


def _check_quarantined(sync: SyncContext, *, scope: Scope, counts: Counts) -> None:
    fraction = sync.options.max_quarantined_fraction
    if fraction is not None and counts.quarantined > fraction * counts.rows:
        raise TooManyQuarantinedError(
            scope_key=scope.key,
            quarantined=counts.quarantined,
            rows=counts.rows,
            fraction=fraction,
        )


def iter_built(
    sync: Reading,
    *,
    snapshot: SourceSnapshot,
    entity: Entity,
    scope: Scope,
    ids: Sequence[str] | None = None,
) -> Iterator[list[Document | Rejection]]:
    """Turn the scope's rows of one entity into documents, or say why one cannot be, in batches.

    Args:
        sync: Model that names the embed hashes; index, asked where ids are doubled.
        snapshot: Where the rows are read.
        entity: Which table.
        scope: Whose rows.
        ids: Only rows with these ids.
    """
    builder = document_builder(sync, entity=entity, scope=scope)
    set_aside = find_set_aside(sync, snapshot=snapshot, entity=entity, scope=scope, ids=ids)
    with closing(read_ahead(snapshot.iter_rows(entity=entity, scope=scope, ids=ids))) as batches:
        for rows in batches:
            yield [set_aside.get(str(row[0])) or builder.build(row) for row in rows]


def _iter_documents(
    sync: Reading,
    *,
    snapshot: SourceSnapshot,
    entity: Entity,
    scope: Scope,
    ids: Sequence[str] | None,
    tally: _Tally,
) -> Iterator[list[Document]]:
    """The documents of one entity batch by batch, counting and setting rejections aside."""
    counts = tally.entities[entity.name]
    for batch in iter_built(sync, snapshot=snapshot, entity=entity, scope=scope, ids=ids):
        documents: list[Document] = []
        for built in batch:
            if isinstance(built, Document):
                documents.append(built)
                tally.accept(built)
            else:
                tally.reject(built)
        counts.rows += len(batch)
        yield documents


def _as_table(sync: Reading, *, entity: Entity, documents: list[Document]) -> pa.Table:
    entity_views = [name for name, _ in entity.views]
    return documents_table(
        documents, entity_views=entity_views, views=sync.views, is_ranked=has_ranks(sync)
    )


def _parts(sync: Reading, *, scope: Scope, rows: int) -> int:
    """Into how many parts a full export is cut: what the index holds is compared in them too."""
    record = sync.scopes.get(scope=scope)
    indexed = 0 if record is None else record.documents
    return parts_for(max(rows, indexed), part_rows=sync.options.part_rows)
