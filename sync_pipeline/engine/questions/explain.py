"""Finding out why a row is searchable or not; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sync_pipeline.core.document import (
    Document,
    Reason,
    Rejection,
    row_document_ids,
    split_document_id,
)
from sync_pipeline.core.document import document_id as make_document_id
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError, IndexMismatchError
from sync_pipeline.core.explanation import (
    DocumentFinding,
    Explanation,
    LandingFinding,
    PointFinding,
    ScopeFinding,
    ViewFinding,
    ViewState,
    judge,
)
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.ports import DocumentRecord
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.shortening import beginning
from sync_pipeline.engine.landing.ages import LandingAge, bounds, read_landings
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import read_record
from sync_pipeline.engine.rendering import document_builder
from sync_pipeline.engine.roles import serving
from sync_pipeline.engine.steps.doubles import find_set_aside

SHOWN_CHARACTERS: Final = 200
"""How much of a document is shown."""
SOURCE_KEY: Final = "source_key"
"""The column of every table of ours with what the origin calls a record."""


@dataclass(frozen=True, slots=True)
class _Built:
    """A row in its scope, and what it becomes."""

    scope: Scope
    result: Document | Rejection


@dataclass(frozen=True, slots=True)
class _Index:
    """What the index holds of the documents that a row can be."""

    points: Mapping[str, StoredPoint]
    """By point id."""
    fault: str | None
    """Why it cannot be used with these settings."""


def explain_row(sync: Reading, *, entity_type: str, row_id: str) -> Explanation:
    """Look for a row in source, record and index, and say what follows.

    Args:
        sync: Where to look.
        entity_type: Name of the row's entity.
        row_id: Its id, as PostgreSQL writes it.

    Raises:
        ConfigurationError: no such entity.
        SourceUnavailableError: the source cannot be read.
    """
    sync, fault = _served(sync)
    entity = _entity(sync, entity_type)
    rows = _read_rows(sync, entity=entity, row_id=row_id)
    names = row_document_ids(entity.name, row_id)
    index = _look_up(sync, names, fault=fault)
    read = read_landings(sync)
    landed = bounds(sync, read, entities=[entity])
    findings = [
        _finding(sync, name, entity=entity, row=row, index=index, landed=landed)
        for name in names
        for row in (_of_document(rows, name, entity=entity, row_id=row_id) or [None])
    ]
    documents = tuple(finding for finding in findings if finding is not None)
    return Explanation(
        entity_type=entity.name,
        db_id=row_id,
        documents=documents,
        verdict=judge(documents, entity_type=entity.name, db_id=row_id, index_fault=index.fault),
        landing=_landing(sync, read.ages, entity=entity, row_id=row_id, rows=rows),
    )


def explain_document(
    sync: Reading, *, document_id: str, scope: Scope | None = None
) -> Explanation | None:
    """The same about one document by its id.

    Args:
        sync: Where to look.
        document_id: As ``core.document.document_id`` makes it.
        scope: As whom: what other scopes have or had of it is left out, and costs no question
            more than what nobody has.

    Returns:
        None where there is nothing of it, or nothing that ``scope`` may know.

    Raises:
        SourceUnavailableError: the source cannot be read.
    """
    parts = split_document_id(document_id)
    if parts is None or parts[1] not in sync.entity_names:
        return None
    kind, entity_type, row_id = parts
    if scope is not None and scope.kind != kind:
        return None
    sync, fault = _served(sync)
    entity = _entity(sync, entity_type)
    rows = _read_rows(sync, entity=entity, row_id=row_id, only=scope)
    index = _look_up(sync, [document_id], fault=fault)
    read = read_landings(sync)
    landed = bounds(sync, read, entities=[entity])
    findings = [
        _finding(sync, document_id, entity=entity, row=row, index=index, landed=landed, only=scope)
        for row in (_of_document(rows, document_id, entity=entity, row_id=row_id) or [None])
    ]
    documents = tuple(finding for finding in findings if finding is not None)
    if not documents:
        return None
    return Explanation(
        entity_type=entity.name,
        db_id=row_id,
        documents=documents,
        verdict=judge(documents, entity_type=entity.name, db_id=row_id, index_fault=index.fault),
        landing=_landing(sync, read.ages, entity=entity, row_id=row_id, rows=rows),
    )


def _served(sync: Reading) -> tuple[Reading, str | None]:
    """The generation that serves, or that of the settings and why the other cannot be asked."""
    try:
        return serving(sync) or sync, None
    except IndexMismatchError as error:
        return sync, str(error)


def _entity(sync: Reading, name: str) -> Entity:
    for entity in sync.entities:
        if entity.name == name:
            return entity
    names = ", ".join(entity.name for entity in sync.entities)
    raise ConfigurationError(f"no entity {name!r}; the configured ones are {names}")


def _read_rows(
    sync: Reading, *, entity: Entity, row_id: str, only: Scope | None = None
) -> list[_Built]:
    """The row in every scope that has it, or only in this one, rendered as a sync would."""
    built: list[_Built] = []
    with sync.source.open_snapshot([entity]) as snapshot:
        owners = snapshot.list_owners(entity=entity, row_id=row_id)
        for scope in (owner for owner in owners if only in (None, owner)):
            builder = document_builder(sync, entity=entity, scope=scope)
            set_aside = find_set_aside(
                sync, snapshot=snapshot, entity=entity, scope=scope, ids=[row_id]
            )
            if set_aside:
                built += [_Built(scope, rejection) for rejection in set_aside.values()]
                continue
            for rows in snapshot.iter_rows(entity=entity, scope=scope, ids=[row_id]):
                built += [_Built(scope, builder.build(row)) for row in rows]
    return built


def _look_up(sync: Reading, names: list[str], *, fault: str | None) -> _Index:
    if fault is not None:
        return _Index({}, fault)
    with sync.index() as index:
        points = index.retrieve([point_id(name) for name in names])
    return _Index({point.point_id: point for point in points}, None)


def _of_document(
    rows: list[_Built], name: str, *, entity: Entity, row_id: str
) -> list[_Built | None]:
    return [
        row
        for row in rows
        if make_document_id(scope=row.scope, entity_type=entity.name, row_id=row_id) == name
    ]


def _finding(
    sync: Reading,
    name: str,
    *,
    entity: Entity,
    row: _Built | None,
    index: _Index,
    landed: tuple[LandedUntil, ...],
    only: Scope | None = None,
) -> DocumentFinding | None:
    """What there is of one document, or only what this scope has; None where there is nothing."""
    record = sync.state.get(document_id=name)
    stored = index.points.get(point_id(name))
    if only is not None:
        record = record if record is not None and record.scope_key == only.key else None
        stored = stored if stored is not None and stored.scope_key == only.key else None
    scope_key = _scope_key(row, stored=stored, record=record)
    if scope_key is None:
        return None
    built = row.result if row is not None else None
    document = built if isinstance(built, Document) else None
    return DocumentFinding(
        document_id=name,
        has_row=row is not None,
        text=None
        if document is None
        else beginning(" ".join(filter(None, document.texts)), length=SHOWN_CHARACTERS),
        rejection=_rejection(built, only=only) if isinstance(built, Rejection) else None,
        record=record,
        point=None if stored is None else _point(stored, document=document, entity=entity),
        scope=_scope(sync, Scope.from_key(scope_key), entity=entity, landed=landed),
        views=_views(sync, name, entity=entity, document=document, stored=stored, record=record),
    )


def _views(
    sync: Reading,
    name: str,
    *,
    entity: Entity,
    document: Document | None,
    stored: StoredPoint | None,
    record: DocumentRecord | None,
) -> list[ViewFinding]:
    """How each view of a document stands."""
    if document is None and stored is None:
        return []
    wanted = _hashes(document, entity=entity)
    kept = {} if stored is None else stored.embed_hashes
    passages = sync.state.passages(document_ids=[name]).get(name, {})
    failed = [] if record is None else record.failed_views
    truncated = [] if record is None else record.truncated_views
    return [
        ViewFinding(
            view=view,
            model_id=sync.spec.view(view).model_id,
            state=_view_state(
                wanted.get(view),
                kept.get(view),
                has_row=document is not None,
                failed=view in failed,
            ),
            passages=len(passages[view]) if view in passages else None,
            is_truncated=view in truncated,
        )
        for view, _ in entity.views
        if view in sync.views
    ]


def _view_state(wanted: str | None, kept: str | None, *, has_row: bool, failed: bool) -> ViewState:
    """Tell how a view stands by the hashes of the row's text and of what the index holds."""
    if failed:
        return "failed"
    if kept is None:
        return "no text" if wanted is None else "missing"
    return "current" if wanted == kept and has_row else "outdated"


def _hashes(document: Document | None, *, entity: Entity) -> dict[str, str]:
    """Per view with a text its embed hash."""
    if document is None:
        return {}
    views = [view for view, _ in entity.views]
    pairs = zip(views, document.embed_hashes, strict=True)
    return {view: value for view, value in pairs if value}


def _rejection(rejection: Rejection, *, only: Scope | None) -> Rejection:
    """Why the row is no document; to one scope nothing of others that have its id too."""
    if only is None or rejection.reason is not Reason.DOUBLED_ID:
        return rejection
    return replace(rejection, detail="the id is not unique", rows=1)


def _scope_key(
    row: _Built | None, *, stored: StoredPoint | None, record: DocumentRecord | None
) -> str | None:
    if row is not None:
        return row.scope.key
    if stored is not None:
        return str(stored.scope_key)
    return None if record is None else record.scope_key


def _point(stored: StoredPoint, *, document: Document | None, entity: Entity) -> PointFinding:
    current = _hashes(document, entity=entity)
    return PointFinding(
        scope_key=str(stored.scope_key),
        synced_at=str(stored.synced_at),
        has_current_text=document is not None and stored.embed_hashes == current,
        has_current_payload=document is not None and stored.payload_hash == document.payload_hash,
    )


def _landing(
    sync: Reading,
    ages: Sequence[LandingAge],
    *,
    entity: Entity,
    row_id: str,
    rows: list[_Built],
) -> LandingFinding | None:
    """Where these rows of an entity come from, if they landed."""
    age = next((it for it in ages if it.table == entity.table), None)
    if age is None:
        return None
    keys: list[object] = []
    if rows:
        keyed = replace(
            entity, views=((SOURCE_KEY, (SOURCE_KEY,)),), payload=(), priority=(), archive=None
        )
        with sync.source.open_snapshot([keyed]) as snapshot:
            for read in snapshot.iter_rows(entity=keyed, scope=rows[0].scope, ids=[row_id]):
                keys += [row[3] for row in read]
    return LandingFinding(
        name=age.name,
        complete_at=age.complete_at,
        is_fresh=age.is_fresh,
        source_key=str(keys[0]) if keys else None,
    )


def _scope(
    sync: Reading, scope: Scope, *, entity: Entity, landed: tuple[LandedUntil, ...]
) -> ScopeFinding:
    record = read_record(sync, scope=scope).entities.get(entity.name)
    snapshot_at = None if record is None else record.source_snapshot_at
    return ScopeFinding(
        scope_key=scope.key,
        last_success_at=None if record is None else record.last_success_at,
        in_sync_to=in_sync_to(snapshot_at, scope_key=scope.key, landed=landed),
        lease=sync.leases.holder(scope=scope),
        pending_events=None
        if sync.feed is None
        else len(sync.feed.read(scope, entity_types=sync.entity_names).event_ids),
    )
