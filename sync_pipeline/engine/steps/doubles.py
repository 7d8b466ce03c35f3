"""Rows set aside because their id is not unique: decided by the source and by what is indexed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sync_pipeline.core.document import Reason, Rejection, document_id
from sync_pipeline.core.doubles import Doubled
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.ports import SourceSnapshot
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.index import iter_points
from sync_pipeline.engine.reading import Reading


def find_set_aside(
    sync: Reading,
    *,
    snapshot: SourceSnapshot,
    entity: Entity,
    scope: Scope,
    ids: Sequence[str] | None = None,
) -> Mapping[str, Rejection]:
    """Name the scope's rows that cannot be documents because of their ids, by row id.

    Reads the index only where ids are doubled: a document stays with the scope that has
    it as long as its row is there, so that no tenant takes another's over.

    Args:
        sync: Index to look at.
        snapshot: Where the rows are read.
        entity: Which table.
        scope: Whose rows.
        ids: Only rows with these ids.
    """
    doubled = snapshot.find_doubled(entity=entity, scope=scope, ids=ids)
    contested = [
        row_id for row_id, doubled_id in doubled.items() if len(doubled_id.rows_by_scope) > 1
    ]
    holders = _holders(sync, entity=entity, scope=scope, row_ids=contested)
    return {
        row_id: _rejection(entity, scope=scope, row_id=row_id, doubled=doubled_id)
        for row_id, doubled_id in doubled.items()
        if doubled_id.keeper(holder=holders.get(row_id)) != scope.key
    }


def _holders(
    sync: Reading, *, entity: Entity, scope: Scope, row_ids: Iterable[str]
) -> dict[str, str]:
    """Which scope each document belongs to in the index, by row id; without those it lacks."""
    points = {
        point_id(document_id(scope=scope, entity_type=entity.name, row_id=row_id)): row_id
        for row_id in row_ids
    }
    if not points:
        return {}
    with sync.index() as index:
        stored = iter_points(index, points)
        return {points[point.point_id]: str(point.scope_key) for point in stored}


def _rejection(entity: Entity, *, scope: Scope, row_id: str, doubled: Doubled) -> Rejection:
    columns = ", ".join(entity.id)
    return Rejection(
        entity_type=entity.name,
        db_id=row_id,
        reason=Reason.DOUBLED_ID,
        detail=f"{doubled.describe(scope=scope)} in {columns}; `doctor` says what to write as id",
        rows=doubled.rows_by_scope[scope.key],
    )
