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

_CLOCKS_DIFFER: Final = timedelta(days=1)
"""More than the clocks of two machines, whose zones are known, ever differ by accident."""


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


def judge_scopes(sync: SyncContext, *, scopes: Sequence[Scope]) -> list[Dueness]:
    """Compare digests of the source with what was last synced, for all scopes at once.

    One grouped query over the source, one read of our record and one count per
    scope in the index. A scope is skipped if its rows and settings are what they
    were at its last full sync, the index still holds as many points, nothing failed,
    and that full sync is not older than ``full_every_seconds``.
    """
    collection = sync.spec.collection
    digests = sync.source.digest_by_scope(sync.entities)
    records = {record.scope_key: record for record in sync.scopes.list_all(collection=collection)}
    with sync.store() as store:
        points = store.count_by_scope(collection)
    judged: list[Dueness] = []
    for scope in scopes:
        entities = digests.get(scope.key, {})
        record = records.get(scope.key)
        why_not = why_not_due(
            entities=entities,
            config=sync.digest_config,
            record=record,
            points=points.get(scope.key, 0),
            now=sync.now(),
            oldest_full=sync.now() - timedelta(seconds=sync.options.full_every_seconds),
        )
        rows = sum(entity.rows for entity in entities.values())
        judged.append(Dueness(scope=scope, rows=rows, record=record, why_not=why_not))
    return judged


def why_not_due(
    *,
    entities: Mapping[str, EntityDigest],
    config: str,
    record: ScopeSnapshot | None,
    points: int,
    now: datetime,
    oldest_full: datetime,
) -> str | None:
    """Say why a scope can be skipped, or None where it is due.

    Args:
        entities: Digests of its rows now.
        config: Fingerprint of the settings now.
        record: What its last sync recorded.
        points: How many points it has now.
        now: By our clock; ``last_full_at`` is by that of the source.
        oldest_full: A full sync before this is too old to rely on.
    """
    if record is None or record.digest is None or record.last_full_at is None:
        return None
    if record.failed or points != record.documents:
        return None
    # A full sync in the future was dated by a clock that has been set back: nobody knows its age.
    if not oldest_full <= record.last_full_at <= now + _CLOCKS_DIFFER:
        return None
    if record.digest != scope_digest(config=config, entities=entities):
        return None
    return f"unchanged since the full sync of {record.last_full_at:%Y-%m-%d %H:%M:%S %Z}"
