"""Which scopes are worth a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sync_pipeline.core.changes import EntityDigest, scope_digest
from sync_pipeline.core.ports import ScopeSnapshot
from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.context import SyncContext

FEW_SCOPES: Final = 8
"""Up to so many scopes are digested one by one. Measured over a table without an index on
the tenant: one scope costs an eighth to an eleventh of all at once (46 of 364 ms with
400,000 rows, 121 of 1,373 ms with 1,000,000); with an index, what its own rows cost."""


@dataclass(frozen=True, slots=True)
class Dueness:
    """Whether a scope needs a run."""

    scope: Scope
    rows: int
    """Rows that it has in the source."""
    record: ScopeSnapshot | None
    """What its last sync recorded."""
    why_not: str | None
    """Why it can be skipped, for people; None where it is due."""

    @property
    def is_due(self) -> bool:
        """Whether it needs a run."""
        return self.why_not is None

    def skipped_report(self) -> ScopeReport:
        """Report a scope that was not run: it holds what its last full sync found."""
        report = ScopeReport(scope_key=self.scope.key, status="skipped", error=self.why_not)
        if self.record is None:
            return report
        return replace(
            report,
            rows=self.record.rows,
            documents=self.record.documents,
            quarantined=self.record.quarantined,
            unchanged=self.record.documents,
        )


def known_scopes(sync: SyncContext) -> list[Scope]:
    """Every scope that has rows or a record, global first, then by key."""
    recorded = sync.scopes.list_all(collection=sync.spec.collection)
    known = {GLOBAL, *sync.source.list_scopes(sync.entities)}
    known |= {Scope.from_key(record.scope_key) for record in recorded}
    return sorted(known, key=lambda scope: (not scope.is_global, scope.key))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What dueness is judged by, per scope key."""

    digests: Mapping[str, Mapping[str, EntityDigest]]
    records: Mapping[str, ScopeSnapshot]
    points: Mapping[str, int]


def judge_scopes(
    sync: SyncContext, *, scopes: Sequence[Scope], are_all: bool = False
) -> list[Dueness]:
    """Compare digests of the source with what was last synced.

    A scope is skipped if its rows and settings are what they were at its last full
    sync, the index still holds as many points, nothing failed, and that full sync is
    not older than ``full_every_seconds``.

    A few scopes among others are looked at one by one, and no other with them. Many,
    or all, cost one grouped query over the source, one read of our record and one
    count per scope in the index.

    Args:
        sync: The ports.
        scopes: Which ones.
        are_all: Whether there are hardly any others.
    """
    is_few = len(scopes) <= FEW_SCOPES and not are_all
    facts = _each(sync, scopes) if is_few else _all_at_once(sync)
    judged: list[Dueness] = []
    for scope in scopes:
        entities = facts.digests.get(scope.key, {})
        record = facts.records.get(scope.key)
        why_not = why_not_due(
            entities=entities,
            config=sync.digest_config,
            record=record,
            points=facts.points.get(scope.key, 0),
            oldest_full=sync.now() - timedelta(seconds=sync.options.full_every_seconds),
        )
        rows = sum(entity.rows for entity in entities.values())
        judged.append(Dueness(scope=scope, rows=rows, record=record, why_not=why_not))
    return judged


def _all_at_once(sync: SyncContext) -> _Facts:
    collection = sync.spec.collection
    digests = sync.source.digest_by_scope(sync.entities)
    records = {record.scope_key: record for record in sync.scopes.list_all(collection=collection)}
    with sync.store() as store:
        points = store.count_by_scope(collection)
    return _Facts(digests, records, points)


def _each(sync: SyncContext, scopes: Sequence[Scope]) -> _Facts:
    collection = sync.spec.collection
    with sync.source.open_snapshot(sync.entities) as snapshot:
        digests = {
            scope.key: snapshot.digest(entities=sync.entities, scope=scope) for scope in scopes
        }
    records = {
        scope.key: record
        for scope in scopes
        if (record := sync.scopes.get(collection=collection, scope=scope)) is not None
    }
    with sync.store() as store:
        points = {scope.key: store.count(collection, scope_key=scope.key) for scope in scopes}
    return _Facts(digests, records, points)


def why_not_due(
    *,
    entities: Mapping[str, EntityDigest],
    config: str,
    record: ScopeSnapshot | None,
    points: int,
    oldest_full: datetime,
) -> str | None:
    """Say why a scope can be skipped, or None where it is due.

    Args:
        entities: Digests of its rows now.
        config: Fingerprint of the settings now.
        record: What its last sync recorded.
        points: How many points it has now.
        oldest_full: A full sync before this is too old to rely on.
    """
    if record is None or record.digest is None or record.last_full_at is None:
        return None
    if record.failed or record.last_full_at < oldest_full or points != record.documents:
        return None
    if record.digest != scope_digest(config=config, entities=entities):
        return None
    return f"unchanged since the full sync of {record.last_full_at:%Y-%m-%d %H:%M:%S %Z}"
