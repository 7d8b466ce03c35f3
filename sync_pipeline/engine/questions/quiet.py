"""Which scopes an incremental sync need not run over, for the change feed names nothing of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sync_pipeline.core.changes import ChangeFeed, FeedStatus, covered_entities
from sync_pipeline.core.document import Reason
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.engine.index import points_by_entity
from sync_pipeline.engine.questions.due import FEW_SCOPES, Dueness, points_of_each
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.records import ScopeRecord, read_records
from sync_pipeline.engine.roles import beside, has_new_standby


def quiet_scopes(sync: Reading, *, scopes: Sequence[Scope], are_all: bool = False) -> list[Dueness]:
    """Scopes in which an incremental sync would find nothing, as the change feed tells.

    The feed of every entity has missed nothing since the scope's last full sync and no event
    waits; nothing is to be tried again, no run was cut off while it wrote, and the index holds
    as many points as were recorded. All that in every generation that is kept in step.

    One look at the feed, one read of the record and one count of points, however many scopes
    there are. No row of the source is read.

    Args:
        sync: The ports.
        scopes: Which ones.
        are_all: Whether there are hardly any others.

    Raises:
        TransientError: feed, record or index cannot be asked now.
    """
    if sync.feed is None or has_new_standby(sync):
        return []
    # How the feed stands before its events, the order in which a sync looks at them.
    statuses = sync.feed.status(sync.entities)
    quiet = _without_events(scopes, feed=sync.feed, entity_types=sync.entity_names)
    judged = _quiet_in(sync, quiet, statuses=statuses, are_all=are_all)
    for other in beside(sync):
        theirs = _quiet_in(
            other, [mine.scope for mine in judged], statuses=statuses, are_all=are_all
        )
        named = {its.scope for its in theirs}
        judged = [mine for mine in judged if mine.scope in named]
    return judged


def _without_events(
    scopes: Sequence[Scope], *, feed: ChangeFeed, entity_types: Collection[str]
) -> list[Scope]:
    waiting = feed.pending(entity_types=entity_types)
    everywhere = waiting.get(GLOBAL_KEY)
    if everywhere is not None and everywhere.has_truncate:
        # A table was emptied, and perhaps nobody has told each scope of it yet.
        return []
    return [scope for scope in scopes if scope.key not in waiting]


def _quiet_in(
    sync: Reading,
    scopes: Sequence[Scope],
    *,
    statuses: Sequence[FeedStatus],
    are_all: bool,
) -> list[Dueness]:
    """Those of the scopes that are in step in one generation as far as anybody knows."""
    if not scopes:
        return []
    records = read_records(sync, scopes=None if are_all else scopes)
    candidates = [
        (scope, record)
        for scope in scopes
        if (record := records.get(scope.key)) is not None and is_whole(record, statuses=statuses)
    ]
    if not candidates:
        return []
    is_few = len(candidates) <= FEW_SCOPES and not are_all
    points = (
        points_of_each(sync, [scope for scope, _ in candidates])
        if is_few
        else points_by_entity(sync)
    )
    return [
        Dueness(scope=scope, rows=record.rows, record=record, why_not=_why_not(record))
        for scope, record in candidates
        if _has_points(scope, record, points=points) and not _waits_for_others(sync, scope, record)
    ]


def is_whole(record: ScopeRecord, *, statuses: Sequence[FeedStatus]) -> bool:
    """Whether what is recorded of a scope needs nothing but the events of the feed.

    Args:
        record: Of the scope.
        statuses: How the feed stands now.
    """
    return (
        record.last_full_at is not None
        and not record.cut_off
        and not record.failed
        and covered_entities(statuses, record.feed_epochs).issuperset(record.names)
    )


def _has_points(
    scope: Scope, record: ScopeRecord, *, points: Mapping[str, Mapping[str, int]]
) -> bool:
    return all(
        entity.documents == points[name].get(scope.key, 0)
        for name, entity in record.entities.items()
    )


def _waits_for_others(sync: Reading, scope: Scope, record: ScopeRecord) -> bool:
    """Whether rows are set aside for their ids: rows of other scopes decide when they count."""
    if not record.quarantined:
        return False
    return any(
        rejection.reason is Reason.DOUBLED_ID and rejection.entity_type in sync.entity_names
        for _, rejection in sync.quarantine.list_all(scope=scope)
    )


def _why_not(record: ScopeRecord) -> str:
    return f"no change is known since the sync of {record.last_success_at:%Y-%m-%d %H:%M:%S %Z}"
