"""All scopes at a glance, from the other fakes (``core.ports.Overview``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sync_pipeline.core.landing.bounds import LandedUntil, in_sync_to
from sync_pipeline.core.ports import (
    EntitySnapshot,
    EntityTrouble,
    RecordedScope,
    ScopeOrder,
    ScopePage,
    ScopeTotals,
    SyncRun,
    ViewTrouble,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline_tests.fakes.state import (
    FakeIndexState,
    FakeQuarantine,
    FakeScopeLeases,
    FakeScopeStates,
    FakeSyncRuns,
    RecordedDocument,
)

_NEVER = datetime.min.replace(tzinfo=UTC)


def _by_view(failed: Sequence[RecordedDocument]) -> dict[str | None, ViewTrouble]:
    by_view: dict[str | None, list[RecordedDocument]] = {}
    for known in sorted(failed, key=lambda it: it.last_attempt_at or _NEVER, reverse=True):
        named: Sequence[str | None] = known.failed_views or [None]
        for view in named:
            by_view.setdefault(view, []).append(known)
    return {
        view: ViewTrouble(failed=len(documents), error=documents[0].error)
        for view, documents in by_view.items()
    }


class FakeOverview:
    """``Overview`` over the dictionaries of other fakes."""

    def __init__(
        self,
        *,
        state: FakeIndexState,
        scopes: FakeScopeStates,
        leases: FakeScopeLeases,
        quarantine: FakeQuarantine,
        runs: FakeSyncRuns,
    ) -> None:
        self._state = state
        self._scopes = scopes
        self._leases = leases
        self._quarantine = quarantine
        self._runs = runs

    def list_scopes(
        self,
        *,
        entity_types: Sequence[str],
        page: ScopePage,
        landed: Sequence[LandedUntil] = (),
    ) -> tuple[list[RecordedScope], int]:
        chosen = [
            scope
            for scope in self._all(entity_types, page.scope_keys, landed)
            if page.containing.lower() in scope.scope_key.lower()
            and (not page.only_problems or scope.severity)
            and (not page.only_blocked or scope.blocked_deletions is not None)
        ]
        chosen.sort(key=lambda scope: scope.scope_key.encode())
        if page.order is ScopeOrder.SCOPE:
            chosen.sort(key=lambda scope: scope.scope_key.encode(), reverse=page.is_descending)
        else:
            chosen.sort(key=lambda scope: _place(scope, page.order), reverse=page.is_descending)
        return chosen[page.offset : page.offset + page.limit], len(chosen)

    def sum_up(
        self,
        *,
        entity_types: Sequence[str],
        scope_keys: Sequence[str] | None,
        landed: Sequence[LandedUntil] = (),
    ) -> ScopeTotals:
        scopes = self._all(entity_types, scope_keys, landed)
        synced = [scope.in_sync_to for scope in scopes if scope.in_sync_to]
        successes = [scope.last_success_at for scope in scopes if scope.last_success_at]
        return ScopeTotals(
            scopes=len(scopes),
            rows=sum(scope.rows for scope in scopes),
            possible=sum(scope.possible for scope in scopes),
            synced=sum(scope.synced for scope in scopes),
            failed=sum(scope.failed for scope in scopes),
            failed_scopes=sum(scope.failed > 0 for scope in scopes),
            pending=sum(scope.pending for scope in scopes),
            quarantined=sum(scope.quarantined for scope in scopes),
            blocked=sum(scope.blocked_deletions is not None for scope in scopes),
            cut_off=sum(scope.is_cut_off for scope in scopes),
            never_synced=sum(scope.snapshot_at is None for scope in scopes),
            vanished=sum(scope.vanished_at is not None for scope in scopes),
            running=sum(scope.is_running for scope in scopes),
            in_sync_to=min(synced, default=None),
            last_success_at=max(successes, default=None),
        )

    def list_troubles(
        self, *, entity_types: Sequence[str], scope_keys: Sequence[str]
    ) -> list[EntityTrouble]:
        troubles = []
        quarantined = self._quarantine.count_by_entity()
        for key in sorted(scope_keys, key=str.encode):
            for name in sorted(entity_types, key=str.encode):
                failed = [known for known in self._failing([name]) if known.scope_key == key]
                rows = quarantined.get(key, {}).get(name, 0)
                latest = max(failed, key=lambda it: it.last_attempt_at or _NEVER, default=None)
                if failed or rows:
                    troubles.append(
                        EntityTrouble(
                            scope_key=key,
                            entity_type=name,
                            failed=len(failed),
                            quarantined=rows,
                            error_code=latest.error_code if latest else None,
                            error=latest.error if latest else None,
                            by_view=_by_view(failed),
                        )
                    )
        return troubles

    def _all(
        self,
        entity_types: Sequence[str],
        keys: Sequence[str] | None,
        landed: Sequence[LandedUntil],
    ) -> list[RecordedScope]:
        recorded: dict[str, list[EntitySnapshot]] = {}
        for snapshot in self._scopes.list_entities():
            if snapshot.entity_type in entity_types:
                recorded.setdefault(snapshot.scope_key, []).append(snapshot)
        failing = Counter(known.scope_key for known in self._failing(entity_types))
        waiting = self._failing(entity_types, status="pending")
        pending = Counter(known.scope_key for known in waiting)
        unusable = {
            key: count
            for key, counts in self._quarantine.count_by_entity().items()
            if (count := sum(number for name, number in counts.items() if name in entity_types))
        }
        held = {
            key
            for key in self._leases.held
            if self._leases.holder(scope=Scope.from_key(key)) is not None
        }
        blocked = self._blocked()
        return [
            _scope(
                key,
                recorded.get(key, []),
                of=len(entity_types),
                failed=failing[key],
                pending=pending[key],
                quarantined=unusable.get(key, 0),
                is_running=key in held,
                blocked=blocked.get(key),
                landed=landed,
            )
            for key in {*recorded, *failing, *unusable, *held, *blocked}
            if keys is None or key in keys
        ]

    def _blocked(self) -> dict[str, SyncRun]:
        last: dict[str, SyncRun] = {}
        for run in sorted(self._runs.runs.values(), key=lambda it: it.finished_at):
            if run.status == "success" or _is_refused(run):
                last[run.scope_key] = run
        return {key: run for key, run in last.items() if _is_refused(run)}

    def _failing(
        self, entity_types: Sequence[str], *, status: str = "failed"
    ) -> list[RecordedDocument]:
        return [
            known
            for known in self._state.mine.values()
            if known.status == status and known.entity_type in entity_types
        ]


def _scope(
    key: str,
    parts: Sequence[EntitySnapshot],
    *,
    of: int,
    failed: int,
    pending: int,
    quarantined: int,
    is_running: bool,
    blocked: SyncRun | None,
    landed: Sequence[LandedUntil],
) -> RecordedScope:
    snapshot_at = _oldest([part.source_snapshot_at for part in parts], of=of)
    vanished = [part.vanished_at for part in parts]
    return RecordedScope(
        scope_key=key,
        entities=len(parts),
        rows=sum(part.rows for part in parts),
        documents=sum(part.documents for part in parts),
        failed=failed,
        pending=pending,
        quarantined=quarantined,
        snapshot_at=snapshot_at,
        in_sync_to=in_sync_to(snapshot_at, scope_key=key, landed=landed),
        last_success_at=min(
            (part.last_success_at for part in parts if part.last_success_at), default=None
        ),
        last_full_at=_oldest([part.last_full_at for part in parts], of=of),
        vanished_at=max((it for it in vanished if it), default=None) if all(vanished) else None,
        is_running=is_running,
        is_cut_off=not is_running and any(part.writing_token is not None for part in parts),
        blocked_deletions=int(blocked.facts["total"]) if blocked else None,
        blocked_of=int(blocked.facts["total_indexed"]) if blocked else None,
        blocked_at=blocked.finished_at if blocked else None,
    )


def _is_refused(run: SyncRun) -> bool:
    return run.facts.get("error") == "MassDeletionRefusedError"


def _oldest(moments: Sequence[datetime | None], *, of: int) -> datetime | None:
    dated = [moment for moment in moments if moment is not None]
    return min(dated) if dated and len(dated) == of else None


def _place(scope: RecordedScope, order: ScopeOrder) -> tuple[Any, ...]:
    match order:
        case ScopeOrder.PROBLEMS:
            return (scope.severity, scope.failed, scope.quarantined)
        case ScopeOrder.COVERAGE:
            return (scope.synced / scope.possible if scope.possible else 1.0,)
        case ScopeOrder.IN_SYNC_TO:
            return (scope.in_sync_to or _NEVER,)
        case ScopeOrder.LAST_SUCCESS:
            return (scope.last_success_at or _NEVER,)
        case _:
            return (getattr(scope, order.value),)
