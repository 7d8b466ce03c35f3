"""What a caller may see now, whatever an index that lags behind the source still has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.core.changes import ChangedRow
from sync_pipeline.core.errors import IsolationError
from sync_pipeline.core.landing.bounds import in_sync_to
from sync_pipeline.core.point import StoredPoint
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.landing.ages import known_bounds
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import read_records

Present = Callable[[Sequence[StoredPoint]], list[StoredPoint]]
"""Leaves out points of rows that have left somebody's sight."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What record and source say of the scopes of a caller, before the index is asked."""

    in_sync_by_scope: Mapping[str, datetime | None]
    """See ``in_sync_by_scope``. A sync that ends before the index is asked makes what is found
    newer than this says, never older."""
    has_departures: bool
    """Whether rows have left the caller's sight that the index may still have."""


def read_sight(sync: Reading, scope: Scope) -> Sight:
    """Ask record and source, with one small question each.

    Raises:
        SourceUnavailableError: the source cannot be asked.
        TransientError: our own database cannot be asked.
    """
    return Sight(in_sync_by_scope(sync, scope=scope), _has_departures(sync, scope))


@contextmanager
def leaving_out_departed(
    sync: Reading, scope: Scope, *, sight: Sight | None = None
) -> Iterator[Present]:
    """Note what has left the scope's sight by now, and yield what leaves it out of points.

    To be entered before the index is asked. Where the source has no feed nothing is left out.

    Args:
        sync: Where to look.
        scope: Who asks.
        sight: Of the same scope, read since the caller asked; None to look now.
    """
    has_some = _has_departures(sync, scope) if sight is None else sight.has_departures
    if sync.feed is None or not has_some:
        yield list
        return
    with sync.feed.departures(scope.visible_keys) as departures:

        def present(points: Sequence[StoredPoint]) -> list[StoredPoint]:
            departed = departures.among({_row_of(point) for point in points})
            return [point for point in points if _row_of(point) not in departed]

        yield present


def require_own(scope: Scope, points: Sequence[StoredPoint]) -> None:
    """Check everything that the index returned against the scope once more.

    Raises:
        IsolationError: one is of another scope.
    """
    foreign = [point.document_id for point in points if point.scope_key not in scope.visible_keys]
    if foreign:
        raise IsolationError(scope_key=scope.key, document_ids=foreign)


def in_sync_by_scope(sync: Reading, *, scope: Scope) -> dict[str, datetime | None]:
    """Per scope key that a search as ``scope`` sees, up to when what it finds is complete."""
    landed = known_bounds(sync)
    return {
        key: in_sync_to(snapshot_at, scope_key=key, landed=landed)
        for key, snapshot_at in snapshots(sync, scope=scope).items()
    }


def snapshots(sync: Reading, *, scope: Scope) -> dict[str, datetime | None]:
    """Per scope key that a search as ``scope`` sees, the oldest snapshot among its entities."""
    records = read_records(sync, scopes=[Scope.from_key(key) for key in scope.visible_keys])
    return {key: records[key].snapshot_at if key in records else None for key in scope.visible_keys}


def _has_departures(sync: Reading, scope: Scope) -> bool:
    return sync.feed is not None and sync.feed.has_departures(scope.visible_keys)


def _row_of(point: StoredPoint) -> ChangedRow:
    return ChangedRow(point.entity_type, point.row_id)
