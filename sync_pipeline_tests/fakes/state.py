"""State in dictionaries, for engine tests; the contract tests in ``database`` hold for it too."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.breaker import TRIAL, Breaker, BreakerState
from sync_pipeline.core.cache_keys import is_key_of, split_cache_key
from sync_pipeline.core.canaries import Canaries, find_same_model
from sync_pipeline.core.document import Rejection
from sync_pipeline.core.errors import ScopeBusyError, SupersededError
from sync_pipeline.core.liveness import Heartbeat
from sync_pipeline.core.payload import content_digest
from sync_pipeline.core.point import CollectionSpec, PointDigests
from sync_pipeline.core.ports import (
    LONGEST_USE_SECONDS,
    MAX_LEASE_SECONDS,
    RESERVED_FOR_SECONDS,
    CachedVectors,
    CacheSlice,
    CacheUse,
    DocumentRecord,
    EntityResult,
    EntitySnapshot,
    Exhausted,
    ExpectedHits,
    FailedDocument,
    Fence,
    GenerationRecord,
    LeaseHolder,
    MarkFence,
    RequestStatus,
    Reservation,
    ScopeSnapshot,
    StateRow,
    SyncRequest,
    SyncRun,
    ViewCounts,
)
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import Amount, Budget, BudgetKind, Entry, LedgerRow, Taken

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDocument:
    """One row of the fake ``index_state``."""

    document_id: str
    point_id: str
    scope_key: str
    status: str
    embed_hashes: Mapping[str, str] = field(default_factory=dict)
    payload_hash: str = ""
    vector_version: str | None = None
    snapshot_at: datetime | None = None
    previous_scope_key: str | None = None
    failed_views: Sequence[str] = ()
    error_code: str | None = None
    error: str | None = None
    retry_count: int = 0
    entity_type: str = ""
    db_id: str = ""
    next_retry_at: datetime | None = None
    last_synced_at: datetime | None = None
    last_attempt_at: datetime | None = None
    passages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    truncated: Sequence[str] = ()

    def vector_keys(self) -> Iterator[tuple[str, str]]:
        """Per view the embed hash of each text that has a vector."""
        for view, whole in self.embed_hashes.items():
            for key in self.passages.get(view, (whole,)):
                yield view, key


def _is_due(known: RecordedDocument, now: datetime) -> bool:
    at = known.next_retry_at
    return at is not None and (at <= now or at > now + timedelta(hours=25))


class FakeIndexState:
    """``IndexState`` in a dictionary by self._collection and document id."""

    def __init__(self, clock: Clock = utc_now, *, collection: str = "") -> None:
        self._clock = clock
        self._collection = collection
        self.documents: dict[tuple[str, str], RecordedDocument] = {}

    def bound(self, collection: str) -> Self:
        """The same dictionary for another collection."""
        other = copy(self)
        other._collection = collection
        return other

    @property
    def mine(self) -> dict[str, RecordedDocument]:
        """What is recorded of this collection, by document id."""
        return {
            key[1]: known for key, known in self.documents.items() if key[0] == self._collection
        }

    def record_synced(
        self,
        *,
        scope: Scope,
        rows: Sequence[StateRow],
        snapshot_at: datetime,
        vector_version: str,
    ) -> None:
        now = self._clock()
        for row in rows:
            known = self.documents.get((self._collection, row.document_id))
            previous = None
            if known is not None:
                if known.snapshot_at is not None and known.snapshot_at > snapshot_at:
                    continue
                previous = known.previous_scope_key
                if known.scope_key != scope.key:
                    previous = known.scope_key
            self.documents[self._collection, row.document_id] = RecordedDocument(
                document_id=row.document_id,
                point_id=row.point_id,
                scope_key=scope.key,
                status="synced",
                embed_hashes=dict(row.embed_hashes),
                payload_hash=row.payload_hash,
                vector_version=vector_version,
                snapshot_at=snapshot_at,
                previous_scope_key=previous,
                entity_type=row.entity_type,
                db_id=row.db_id,
                last_synced_at=now,
                last_attempt_at=now,
                passages={view: list(hashes) for view, hashes in row.passages.items()},
                truncated=list(row.truncated),
            )

    def record_failed(self, *, scope: Scope, failures: Sequence[FailedDocument]) -> None:
        now = self._clock()
        for failure in failures:
            key = self._collection, failure.document_id
            known = self.documents.get(key) or RecordedDocument(
                document_id=failure.document_id,
                point_id=failure.point_id,
                scope_key=scope.key,
                status="failed",
                entity_type=failure.entity_type,
                db_id=failure.db_id,
            )
            attempts, waits = known.retry_count, failure.retry_after_seconds
            if waits is None:
                attempts += 1
                wait = min(timedelta(minutes=2 ** min(attempts, 20)), timedelta(days=1))
            else:
                wait = timedelta(seconds=waits)
            self.documents[key] = replace(
                known,
                status=failure.status,
                failed_views=sorted(failure.views),
                error_code=failure.error_code,
                error=failure.error[:500],
                retry_count=attempts,
                next_retry_at=now + wait,
                last_attempt_at=now,
            )

    def iter_digests(
        self,
        *,
        scope: Scope,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
    ) -> Iterator[PointDigests]:
        chosen = sorted(
            (
                known
                for known in self._of(scope)
                if (entity_types is None or known.entity_type in entity_types)
                and (start is None or known.point_id >= start)
                and (stop is None or known.point_id < stop)
            ),
            key=lambda known: known.point_id,
        )
        if not chosen:
            return
        synced = [known.status == "synced" for known in chosen]
        yield PointDigests(
            point_ids=np.array([known.point_id for known in chosen], dtype="S36"),
            contents=np.array(
                [
                    _content(known, views) if is_synced else ""
                    for known, is_synced in zip(chosen, synced, strict=True)
                ],
                dtype="S32",
            ),
            payloads=np.array(
                [
                    known.payload_hash if is_synced else ""
                    for known, is_synced in zip(chosen, synced, strict=True)
                ],
                dtype="S32",
            ),
        )

    def delete(
        self,
        *,
        scope: Scope,
        point_ids: Sequence[str],
        up_to: datetime | None = None,
    ) -> int:
        wanted = set(point_ids)
        gone = [
            known
            for known in self._of(scope)
            if known.point_id in wanted
            and (up_to is None or known.snapshot_at is None or known.snapshot_at <= up_to)
        ]
        for known in gone:
            del self.documents[self._collection, known.document_id]
        return len(gone)

    def clear(self) -> int:
        mine = [key for key in self.documents if key[0] == self._collection]
        for key in mine:
            del self.documents[key]
        return len(mine)

    def take_departed(
        self, *, scope: Scope, entity_types: Sequence[str] | None = None
    ) -> dict[str, int]:
        departed = [
            key
            for key, known in self.documents.items()
            if key[0] == self._collection
            and known.previous_scope_key == scope.key
            and (entity_types is None or known.entity_type in entity_types)
        ]
        for key in departed:
            self.documents[key] = replace(self.documents[key], previous_scope_key=None)
        return dict(Counter(self.documents[key].entity_type for key in departed))

    def count_by_scope(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for (owner, _), known in self.documents.items():
            if owner == self._collection and scope in (None, Scope.from_key(known.scope_key)):
                by_status = counts.setdefault(known.scope_key, {})
                by_status[known.status] = by_status.get(known.status, 0) + 1
        return counts

    def count_by_entity(
        self, *, scope: Scope | None = None
    ) -> dict[str, dict[str, dict[str, int]]]:
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for (owner, _), known in self.documents.items():
            if owner == self._collection and (scope is None or known.scope_key == scope.key):
                by_entity = counts.setdefault(known.scope_key, {})
                by_status = by_entity.setdefault(known.entity_type, {})
                by_status[known.status] = by_status.get(known.status, 0) + 1
        return counts

    def count_archived(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for known in self.mine.values():
            is_meant = scope is None or known.scope_key == scope.key
            if is_meant and known.status == "synced" and not known.embed_hashes:
                by_entity = counts.setdefault(known.scope_key, {})
                by_entity[known.entity_type] = by_entity.get(known.entity_type, 0) + 1
        return counts

    def count_by_view(
        self, *, scope: Scope | None = None
    ) -> dict[str, dict[str, dict[str, ViewCounts]]]:
        counts: dict[str, dict[str, dict[str, ViewCounts]]] = {}
        for known in self.mine.values():
            if scope is not None and known.scope_key != scope.key:
                continue
            by_view = counts.setdefault(known.scope_key, {}).setdefault(known.entity_type, {})
            for view in {*known.embed_hashes, *known.failed_views}:
                is_whole = known.status == "failed" and not known.failed_views
                status = known.status if is_whole or view in known.failed_views else "synced"
                by_view[view] = by_view.get(view, ViewCounts()) + ViewCounts(
                    synced=status == "synced",
                    failed=status == "failed",
                    truncated=view in known.truncated,
                    pending=status == "pending",
                )
        return {
            key: {entity: views for entity, views in entities.items() if views}
            for key, entities in counts.items()
            if any(entities.values())
        }

    def passages(self, *, document_ids: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        return {
            name: {view: list(hashes) for view, hashes in known.passages.items()}
            for name, known in self.mine.items()
            if name in document_ids and known.passages
        }

    def get(self, *, document_id: str) -> DocumentRecord | None:
        known = self.documents.get((self._collection, document_id))
        return None if known is None else _record(known)

    def list_failed(
        self, *, scope: Scope | None = None, limit: int | None = None
    ) -> list[DocumentRecord]:
        failed = self._unsynced("failed", scope=scope)
        by_scope = sorted(failed, key=lambda known: (known.scope_key, known.document_id))
        return [_record(known) for known in by_scope[:limit]]

    def list_due(self, *, scope: Scope) -> list[DocumentRecord]:
        return [_record(known) for known in self._due(scope)]

    def list_documents(
        self,
        *,
        scope: Scope | None = None,
        status: str | None = None,
        entity_type: str | None = None,
        view: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[DocumentRecord]:
        chosen = [
            known
            for (owner, _), known in self.documents.items()
            if owner == self._collection
            and (scope is None or known.scope_key == scope.key)
            and status in (None, known.status)
            and entity_type in (None, known.entity_type)
            and (view is None or view in known.embed_hashes or view in known.failed_views)
            and (after is None or known.document_id.encode() > after.encode())
        ]
        by_id = sorted(chosen, key=lambda known: known.document_id.encode())
        return [_record(known) for known in by_id[:limit]]

    def retry_now(
        self,
        *,
        scope: Scope | None = None,
        document_ids: Sequence[str] | None = None,
        entity_types: Sequence[str] | None = None,
    ) -> dict[str, int]:
        chosen = [
            known
            for known in self._unsynced("failed", "pending", scope=scope)
            if (document_ids is None or known.document_id in document_ids)
            and (entity_types is None or known.entity_type in entity_types)
        ]
        for known in chosen:
            key = self._collection, known.document_id
            self.documents[key] = replace(known, next_retry_at=self._clock())
        return dict(Counter(known.scope_key for known in chosen))

    def count_due_retries(self, *, entity_types: Sequence[str] | None = None) -> dict[str, int]:
        due = self._due(None)
        return dict(
            Counter(
                known.scope_key
                for known in due
                if entity_types is None or known.entity_type in entity_types
            )
        )

    def _unsynced(self, *statuses: str, scope: Scope | None) -> list[RecordedDocument]:
        return [
            known
            for (owner, _), known in self.documents.items()
            if owner == self._collection
            and known.status in statuses
            and (scope is None or known.scope_key == scope.key)
        ]

    def _due(self, scope: Scope | None) -> list[RecordedDocument]:
        now = self._clock()
        return [
            known
            for known in self._unsynced("failed", "pending", scope=scope)
            if _is_due(known, now)
        ]

    def _of(self, scope: Scope) -> list[RecordedDocument]:
        return [
            known
            for (owner, _), known in self.documents.items()
            if owner == self._collection and known.scope_key == scope.key
        ]


def _record(known: RecordedDocument) -> DocumentRecord:
    return DocumentRecord(
        document_id=known.document_id,
        point_id=known.point_id,
        scope_key=known.scope_key,
        entity_type=known.entity_type,
        db_id=known.db_id,
        status=known.status,
        embed_hashes=known.embed_hashes,
        payload_hash=known.payload_hash or None,
        failed_views=known.failed_views,
        error_code=known.error_code,
        error=known.error,
        attempts=known.retry_count,
        next_retry_at=known.next_retry_at,
        last_synced_at=known.last_synced_at,
        last_attempt_at=known.last_attempt_at,
        source_snapshot_at=known.snapshot_at,
        truncated_views=known.truncated,
    )


def _content(known: RecordedDocument, views: Sequence[str]) -> str:
    return content_digest(known.embed_hashes, views)


def _oldest(moments: Sequence[datetime | None]) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return min(known) if len(known) == len(moments) else None


@dataclass(frozen=True, slots=True)
class _FakeLease:
    owner: str
    token: int
    expires_at: datetime


class FakeScopeStates:
    """``ScopeStates`` in dictionaries, with a clock that a test may turn."""

    def __init__(self, clock: Clock = utc_now, *, collection: str = "") -> None:
        self._clock = clock
        self._collection = collection
        self.entities: dict[tuple[str, str, str], EntitySnapshot] = {}
        """By self._collection, scope key and entity."""

    def bound(self, collection: str) -> Self:
        """The same dictionary for another collection."""
        other = copy(self)
        other._collection = collection
        return other

    @property
    def snapshots(self) -> dict[str, ScopeSnapshot]:
        """The fake ``scope_state``, by scope key."""
        keys = {key[1] for key in self.entities if key[0] == self._collection}
        return {key: self._summed(key) for key in sorted(keys, key=str.encode)}

    def get(self, *, scope: Scope) -> ScopeSnapshot | None:
        return self.snapshots.get(scope.key)

    def list_all(self) -> list[ScopeSnapshot]:
        return list(self.snapshots.values())

    def list_entities(self, *, scopes: Sequence[Scope] | None = None) -> list[EntitySnapshot]:
        keys = None if scopes is None else {scope.key for scope in scopes}
        return [
            known
            for (owner, scope_key, _), known in sorted(
                self.entities.items(), key=lambda item: [part.encode() for part in item[0]]
            )
            if owner == self._collection and (keys is None or scope_key in keys)
        ]

    def note_writing(self, fence: Fence, *, entity_types: Sequence[str], over_others: bool) -> None:
        for key, known in self.entities.items():
            is_meant = key[:2] == (self._collection, fence.scope_key) and key[2] in entity_types
            if is_meant and (over_others or known.writing_token is None):
                self.entities[key] = replace(known, writing_token=fence.token)

    def record_success(
        self,
        fence: Fence,
        *,
        entities: Sequence[EntityResult],
        snapshot_at: datetime,
        is_full: bool,
    ) -> None:
        for found in entities:
            key = self._collection, fence.scope_key, found.entity_type
            known = self.entities.get(key)
            if known and known.source_snapshot_at and known.source_snapshot_at > snapshot_at:
                continue
            note = known.writing_token if known else None
            self.entities[key] = EntitySnapshot(
                scope_key=fence.scope_key,
                entity_type=found.entity_type,
                rows=found.rows,
                documents=found.documents,
                quarantined=found.quarantined,
                failed=found.failed,
                digest=found.digest,
                feed_epoch=found.feed_epoch if is_full else known.feed_epoch if known else None,
                source_snapshot_at=snapshot_at,
                last_success_at=self._clock(),
                last_full_at=snapshot_at if is_full else known.last_full_at if known else None,
                vanished_at=known.vanished_at if known else None,
                writing_token=note if note != fence.token else None,
            )

    def mark_vanished(
        self, *, scope_keys: Sequence[str], entity_types: Sequence[str]
    ) -> list[EntitySnapshot]:
        now = self._clock()
        for key, known in self.entities.items():
            if key[0] == self._collection and key[2] in entity_types:
                since = (known.vanished_at or now) if key[1] in scope_keys else None
                self.entities[key] = replace(known, vanished_at=since)
        return [
            known
            for known in self.list_entities()
            if known.vanished_at and known.entity_type in entity_types
        ]

    def forget(self, *, scope: Scope, entity_types: Sequence[str] | None = None) -> None:
        for key in list(self.entities):
            if key[:2] == (self._collection, scope.key) and (
                entity_types is None or key[2] in entity_types
            ):
                del self.entities[key]

    def clear(self) -> None:
        for key in [key for key in self.entities if key[0] == self._collection]:
            del self.entities[key]

    def _summed(self, scope_key: str) -> ScopeSnapshot:
        parts = [
            known
            for key, known in self.entities.items()
            if key[:2] == (self._collection, scope_key)
        ]
        digests = [known.digest for known in sorted(parts, key=lambda one: one.entity_type)]
        marks = [known.vanished_at for known in parts]
        return ScopeSnapshot(
            scope_key=scope_key,
            rows=sum(known.rows for known in parts),
            documents=sum(known.documents for known in parts),
            quarantined=sum(known.quarantined for known in parts),
            failed=sum(known.failed for known in parts),
            digest=" ".join(map(str, digests)) if all(digests) else None,
            source_snapshot_at=_oldest([known.source_snapshot_at for known in parts]),
            last_success_at=_oldest([known.last_success_at for known in parts]),
            last_full_at=_oldest([known.last_full_at for known in parts]),
            vanished_at=max((mark for mark in marks if mark), default=None) if all(marks) else None,
        )


class FakeScopeLeases:
    """``ScopeLeases`` in a dictionary, with a clock that a test may turn."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.held: dict[str, _FakeLease] = {}

    def holder(self, *, scope: Scope) -> LeaseHolder | None:
        held = self.held.get(scope.key)
        left = 0.0 if held is None else (held.expires_at - self._clock()).total_seconds()
        if held is None or not 0 < left <= MAX_LEASE_SECONDS:
            return None
        return LeaseHolder(held.owner, left)

    def acquire(self, *, scope: Scope, owner: str, ttl_seconds: float) -> Fence:
        now = self._clock()
        held = self.held.get(scope.key)
        if held is None:
            token = 1
        elif held.owner == owner:
            token = held.token
        elif held.expires_at <= now or held.expires_at > now + timedelta(seconds=MAX_LEASE_SECONDS):
            token = held.token + 1
        else:
            left = (held.expires_at - now).total_seconds()
            raise ScopeBusyError(scope_key=scope.key, owner=held.owner, seconds_left=left)
        self.held[scope.key] = _FakeLease(owner, token, now + timedelta(seconds=ttl_seconds))
        return Fence(scope_key=scope.key, owner=owner, token=token)

    def check(self, fence: Fence, *, ttl_seconds: float) -> None:
        held = self.held.get(fence.scope_key)
        if held is None or (held.owner, held.token) != (fence.owner, fence.token):
            holder = "nobody" if held is None else held.owner
            raise SupersededError(
                scope_key=fence.scope_key, detail=f"its lease went from {fence.owner} to {holder}"
            )
        self._renew(fence, seconds=ttl_seconds)

    def release(self, fence: Fence) -> None:
        held = self.held.get(fence.scope_key)
        if held is not None and (held.owner, held.token) == (fence.owner, fence.token):
            self._renew(fence, seconds=0)

    def release_dead(self, *, owner: str) -> int:
        held = [
            Fence(key, lease.owner, lease.token)
            for key, lease in self.held.items()
            if lease.owner == owner and lease.expires_at > self._clock()
        ]
        for fence in held:
            self._renew(fence, seconds=0)
        return len(held)

    def _renew(self, fence: Fence, *, seconds: float) -> None:
        until = self._clock() + timedelta(seconds=seconds)
        self.held[fence.scope_key] = _FakeLease(fence.owner, fence.token, until)


class FakeRunHeartbeats:
    """``RunHeartbeats`` in a dictionary, with a clock that a test may turn.

    Args:
        clock: Tells ages.
        process: Whoever beats; a test may change it.
    """

    def __init__(self, clock: Clock = utc_now, process: str = "this:1:1") -> None:
        self._clock = clock
        self.process = process
        self.gone: set[str] = set()
        """Processes that are known not to exist any more."""
        self._beats: dict[tuple[str, str], tuple[str, datetime]] = {}

    def beat(self, *, run_id: str, step_key: str) -> None:
        self._beats[run_id, step_key] = self.process, self._clock()

    def end(self, *, run_id: str, step_key: str) -> None:
        if self._beats.get((run_id, step_key), ("", None))[0] == self.process:
            del self._beats[run_id, step_key]

    def list_all(self) -> list[Heartbeat]:
        now = self._clock()
        return [
            Heartbeat(
                run_id=run_id,
                step_key=step_key,
                process=process,
                age_seconds=(now - at).total_seconds(),
                is_gone=process in self.gone,
            )
            for (run_id, step_key), (process, at) in sorted(self._beats.items())
        ]

    def forget(self, run_ids: Sequence[str]) -> int:
        over = [key for key in self._beats if key[0] in run_ids]
        for key in over:
            del self._beats[key]
        return len(over)


class FakeModelCanaries:
    """``ModelCanaries`` in dictionaries, beside what else is kept under a model's id."""

    def __init__(
        self,
        cache: FakeEmbeddingCache | None = None,
        generations: FakeGenerations | None = None,
    ) -> None:
        self._cache = cache or FakeEmbeddingCache()
        self._generations = generations or FakeGenerations()
        self.models: dict[str, dict[str, NDArray[np.float32]]] = {}
        self.same_as: dict[str, str] = {}

    def known_as(self, *, model_id: str) -> str | None:
        return self.same_as.get(model_id, model_id) if model_id in self.models else None

    def names_of(self, *, model_id: str) -> list[str]:
        return sorted(name for name, known in self.same_as.items() if known == model_id)

    def reference(self, *, model_id: str) -> Canaries:
        return dict(self.models.get(model_id, {}))

    def is_worth_comparing(self, *, model_id: str, dimension: int) -> bool:
        return (
            model_id not in self.models
            and not self._has_its_own(model_id)
            and any(
                len(next(iter(canaries.values()))) == dimension
                for canaries in self._standing().values()
            )
        )

    def record(self, *, model_id: str, canaries: Canaries) -> str:
        known = self.known_as(model_id=model_id)
        if known is not None:
            return known
        same_as = None
        if not self._has_its_own(model_id):
            same_as = find_same_model(canaries, self._standing())
        self.models[model_id] = dict(canaries)
        if same_as is not None:
            self.same_as[model_id] = same_as
        return same_as or model_id

    def replace(self, *, model_id: str, canaries: Canaries) -> None:
        if canaries:
            self.models.setdefault(model_id, {}).update(canaries)

    def _standing(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        return {name: found for name, found in self.models.items() if name not in self.same_as}

    def _has_its_own(self, model_id: str) -> bool:
        return any(is_key_of(key, model_id) for key, _ in self._cache.vectors) or any(
            known.model_id == model_id for known in self._generations.records.values()
        )


@dataclass(frozen=True, slots=True)
class _FakeUse:
    owner: str
    since: datetime


class FakeEmbeddingCache:
    """``EmbeddingCache`` in a dictionary, beside the records that say which texts are used."""

    def __init__(
        self,
        state: FakeIndexState | None = None,
        clock: Clock = utc_now,
        generations: FakeGenerations | None = None,
    ) -> None:
        self._state = state or FakeIndexState()
        self._clock = clock
        self._generations = generations or FakeGenerations()
        self.vectors: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.kept_at: dict[tuple[str, str], datetime] = {}
        self.unused_since: dict[tuple[str, str], datetime] = {}
        self.uses: dict[str, _FakeUse] = {}

    def missing(self, *, model_id: str, text_hashes: Sequence[str]) -> set[str]:
        return {key for key in text_hashes if (model_id, key) not in self.vectors}

    def claim(
        self, *, model_id: str, text_hashes: Sequence[str], scope: Scope, owner: str
    ) -> set[str]:
        if text_hashes:
            known = self.uses.get(scope.key)
            if known is None or known.owner != owner:
                self.uses[scope.key] = _FakeUse(owner, self._clock())
        for key in text_hashes:
            self.unused_since.pop((model_id, key), None)
        return self.missing(model_id=model_id, text_hashes=text_hashes)

    def release(self, *, scope: Scope, owner: str) -> None:
        known = self.uses.get(scope.key)
        if known is not None and known.owner == owner:
            del self.uses[scope.key]

    def list_uses(self) -> list[CacheUse]:
        oldest = self._clock() - timedelta(seconds=LONGEST_USE_SECONDS)
        return [
            CacheUse(key, use.owner, use.since)
            for key, use in sorted(self.uses.items(), key=lambda pair: (pair[1].since, pair[0]))
            if use.since > oldest
        ]

    def get(self, *, model_id: str, text_hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return {
            key: self.vectors[model_id, key]
            for key in text_hashes
            if (model_id, key) in self.vectors
        }

    def put(
        self, *, model_id: str, text_hashes: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        for key, vector in zip(text_hashes, vectors.astype(np.float32), strict=True):
            if (model_id, key) in self.vectors:
                continue
            kept = vector.copy()
            kept.flags.writeable = False
            self.vectors[model_id, key] = kept
            self.kept_at[model_id, key] = self._clock()
            self.unused_since.pop((model_id, key), None)

    def purge_model(self, *, model_id: str) -> int:
        return self._purge([key for key in self.vectors if key[0] == model_id])

    def purge_unused(
        self, *, text_hashes: Sequence[str] | None = None, min_age_seconds: float = 0.0
    ) -> int:
        oldest = self._clock() - timedelta(seconds=min_age_seconds)
        used = self._used(None)
        return self._purge(
            [
                key
                for key in self.vectors
                if key[1] not in used
                and (text_hashes is None or key[1] in text_hashes)
                and self.kept_at[key] <= oldest
            ]
        )

    def measure(self) -> list[CachedVectors]:
        measured = []
        for key in sorted({key for key, _ in self.vectors}):
            model_id, scope_key = split_cache_key(key, models=self._models())
            hashes = [text_hash for name, text_hash in self.vectors if name == key]
            used = self._used(scope_key)
            moments = [self.kept_at[key, text_hash] for text_hash in hashes]
            measured.append(
                CachedVectors(
                    model_id=model_id,
                    scope_key=scope_key,
                    vectors=len(hashes),
                    size_bytes=sum(self.vectors[key, text_hash].nbytes for text_hash in hashes),
                    oldest_at=min(moments),
                    newest_at=max(moments),
                    used=sum(text_hash in used for text_hash in hashes),
                    collections=tuple(
                        sorted(
                            name
                            for name, known in self._generations.records.items()
                            if model_id in {known.model_id, *known.view_models.values()}
                        )
                    ),
                )
            )
        return measured

    def size_bytes(self) -> int:
        return sum(vector.nbytes for vector in self.vectors.values())

    def expected_hits(self, *, model_id: str, collection: str, shares: bool) -> ExpectedHits:
        made = self._generations.records.get(collection)
        models = {} if made is None else made.view_models
        texts = {
            (
                models.get(view, model_id) + ("" if shares else f" for {known.scope_key}"),
                text_hash,
            )
            for (owner, _), known in self._state.documents.items()
            if owner == collection and known.status == "synced"
            for view, text_hash in known.vector_keys()
        }
        return ExpectedHits(texts=len(texts), cached=len(texts & self.vectors.keys()))

    def count_unused(self, *, min_age_seconds: float) -> list[CacheSlice]:
        unused = self._unused(min_age_seconds)
        return [
            self._slice(key, [one for one in unused if one[0] == key])
            for key in sorted({key for key, _ in unused})
        ]

    def mark_unused(self, *, min_age_seconds: float) -> Iterator[int]:
        found = [key for key in self._unused(min_age_seconds) if key not in self.unused_since]
        for key in found:
            self.unused_since[key] = self._clock()
        yield len(found)

    def fence_marks(self) -> MarkFence:
        return MarkFence(self._clock(), tuple(self.list_uses()))

    def delete_marked(self, *, min_age_seconds: float, marked_by: datetime) -> Iterator[CacheSlice]:
        gone = [
            key
            for key in self._unused(min_age_seconds)
            if key in self.unused_since and self.unused_since[key] <= marked_by
        ]
        for name in sorted({key for key, _ in gone}):
            keys = [key for key in gone if key[0] == name]
            yield self._slice(name, keys)
            self._purge(keys)

    def delete_model(self, *, model_id: str) -> Iterator[CacheSlice]:
        for name in sorted({key for key, _ in self.vectors if is_key_of(key, model_id)}):
            keys = [key for key in self.vectors if key[0] == name]
            yield self._slice(name, keys)
            self._purge(keys)

    def _models(self) -> set[str]:
        return {known.model_id for known in self._generations.records.values()}

    def _used(self, scope_key: str | None) -> set[str]:
        return {
            value
            for known in self._state.documents.values()
            if scope_key in (None, known.scope_key)
            for value in (*known.embed_hashes.values(), *(key for _, key in known.vector_keys()))
        }

    def _unused(self, min_age_seconds: float) -> list[tuple[str, str]]:
        oldest = self._clock() - timedelta(seconds=min_age_seconds)
        return [
            (key, text_hash)
            for key, text_hash in self.vectors
            if self.kept_at[key, text_hash] <= oldest
            and text_hash not in self._used(split_cache_key(key, models=self._models())[1])
        ]

    def _slice(self, key: str, keys: Sequence[tuple[str, str]]) -> CacheSlice:
        model_id, scope_key = split_cache_key(key, models=self._models())
        return CacheSlice(
            model_id=model_id,
            scope_key=scope_key,
            vectors=len(keys),
            size_bytes=sum(self.vectors[one].nbytes for one in keys),
        )

    def _purge(self, keys: Sequence[tuple[str, str]]) -> int:
        for key in keys:
            del self.vectors[key], self.kept_at[key]
            self.unused_since.pop(key, None)
        return len(keys)


class FakeQuarantine:
    """``Quarantine`` in a dictionary by scope key."""

    def __init__(self) -> None:
        self.rejections: dict[str, dict[tuple[str, str], Rejection]] = {}
        self.attempts: Counter[tuple[str, str, str]] = Counter()

    def replace(
        self,
        *,
        scope: Scope,
        rejections: Sequence[Rejection],
        entity_types: Sequence[str],
        among: AbstractSet[tuple[str, str]] | None = None,
    ) -> None:
        known = self.rejections.get(scope.key, {})
        kept = {
            key: item
            for key, item in known.items()
            if key[0] not in entity_types or (among is not None and key not in among)
        }
        listed = kept | {(item.entity_type, item.db_id): item for item in rejections}
        for key in known.keys() - listed.keys():
            del self.attempts[scope.key, *key]
        for key, item in listed.items():
            self.attempts[scope.key, *key] += known.get(key) != item
        self.rejections[scope.key] = listed

    def release(
        self,
        *,
        scope: Scope | None = None,
        rows: AbstractSet[tuple[str, str]] | None = None,
        entity_types: Sequence[str] | None = None,
    ) -> dict[str, int]:
        released = Counter[str]()
        for scope_key, listed in self.rejections.items():
            if scope is not None and scope_key != scope.key:
                continue
            chosen = [
                key
                for key in listed
                if (rows is None or key in rows)
                and (entity_types is None or key[0] in entity_types)
            ]
            for key in chosen:
                del listed[key]
                del self.attempts[scope_key, *key]
                released[scope_key] += 1
        return dict(released)

    def list_all(self, *, scope: Scope | None = None) -> list[tuple[str, Rejection]]:
        keys = sorted(self.rejections) if scope is None else [scope.key]
        return [
            (key, item) for key in keys for _, item in sorted(self.rejections.get(key, {}).items())
        ]

    def count_by_scope(self, *, scope: Scope | None = None) -> dict[str, int]:
        return {
            key: sum(item.rows for item in listed.values())
            for key, listed in self.rejections.items()
            if listed and scope in (None, Scope.from_key(key))
        }

    def count_by_entity(self, *, scope: Scope | None = None) -> dict[str, dict[str, int]]:
        return {
            key: {
                name: sum(item.rows for (found, _), item in listed.items() if found == name)
                for name, _ in listed
            }
            for key, listed in self.rejections.items()
            if listed and (scope is None or key == scope.key)
        }


class FakeGenerations:
    """``Generations`` in a dictionary by collection."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.records: dict[str, GenerationRecord] = {}

    def record(self, spec: CollectionSpec, *, recipe: Mapping[str, object]) -> None:
        known = self.records.get(spec.collection)
        if known is not None:
            self.records[spec.collection] = replace(known, recipe=dict(recipe))
            return
        self.records[spec.collection] = GenerationRecord(
            collection=spec.collection,
            alias=spec.alias,
            model_id=spec.model_id,
            views=spec.views,
            sparse_id=spec.sparse_id,
            description=spec.describe(),
            recipe=dict(recipe),
            view_models={view.name: view.model_id for view in spec.special},
            created_at=self._clock(),
            served_at=None,
            retired_at=None,
            refusal=None,
        )

    def note_serving(self, *, alias: str, collection: str) -> None:
        now = self._clock()
        for known in self.list_all(alias=alias):
            name = known.collection
            if name == collection and not known.is_serving:
                self.records[name] = replace(
                    known, served_at=known.served_at or now, retired_at=None, refusal=None
                )
            elif name != collection and known.is_serving:
                self.records[name] = replace(known, retired_at=now)

    def note_refusal(self, *, collection: str, reason: str | None) -> None:
        if collection in self.records:
            self.records[collection] = replace(self.records[collection], refusal=reason)

    def forget(self, *, collection: str) -> None:
        self.records.pop(collection, None)

    def list_all(self, *, alias: str) -> list[GenerationRecord]:
        return [known for known in self.records.values() if known.alias == alias]

    def describe(self, collection: str) -> str | None:
        known = self.records.get(collection)
        return None if known is None else known.description


class FakeEmbeddingRates:
    """``EmbeddingRates`` in a dictionary by model."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def record(self, *, model_id: str, texts: int, seconds: float) -> None:
        if seconds > 0:
            self.rates[model_id] = texts / seconds

    def texts_per_second(self, *, model_id: str) -> float | None:
        return self.rates.get(model_id)


class FakeSyncRequests:
    """``SyncRequests`` in a dictionary by id, in the order in which they were added."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.requests: dict[str, SyncRequest] = {}

    def add(
        self,
        *,
        requested_by: str,
        scope_keys: Sequence[str],
        mode: str = "full",
        force: bool = False,
        max_deleted_fraction: float | None = None,
        approve_deletions: int | None = None,
    ) -> SyncRequest:
        now = self._clock()
        request = SyncRequest(
            request_id=str(uuid.uuid4()),
            requested_by=requested_by,
            requested_at=now,
            scope_keys=tuple(scope_keys),
            mode=mode,
            force=force,
            max_deleted_fraction=max_deleted_fraction,
            approve_deletions=approve_deletions,
            status="pending" if scope_keys else "done",
            run_ids={},
            error=None,
            updated_at=now,
        )
        self.requests[request.request_id] = request
        return request

    def get(self, request_id: str) -> SyncRequest | None:
        try:
            return self.requests.get(str(uuid.UUID(request_id)))
        except ValueError:
            return None

    def list_open(self, *, limit: int) -> list[SyncRequest]:
        return [known for known in self.requests.values() if _is_open(known)][:limit]

    def list_recent(self, *, limit: int) -> list[SyncRequest]:
        return [*reversed(self.requests.values())][:limit]

    def record_runs(
        self, request_id: str, *, run_ids: Mapping[str, str], status: RequestStatus
    ) -> None:
        known = self.requests[request_id]
        if _is_open(known):
            self.requests[request_id] = replace(
                known,
                run_ids={**known.run_ids, **run_ids},
                status=status,
                updated_at=self._clock(),
            )

    def record_end(
        self, request_id: str, *, status: Literal["done", "failed"], error: str | None = None
    ) -> None:
        known = self.requests[request_id]
        if _is_open(known):
            self.requests[request_id] = replace(
                known, status=status, error=error, updated_at=self._clock()
            )

    def purge(self, *, min_age_seconds: float) -> int:
        oldest = self._clock() - timedelta(seconds=min_age_seconds)
        old = [
            key
            for key, known in self.requests.items()
            if not _is_open(known) and known.updated_at <= oldest
        ]
        for key in old:
            del self.requests[key]
        return len(old)


def _is_open(request: SyncRequest) -> bool:
    return request.status in ("pending", "started")


class FakeSyncRuns:
    """``SyncRuns`` in a dictionary by run id and scope key."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.runs: dict[tuple[str, str], SyncRun] = {}

    def record(self, run: SyncRun) -> None:
        self.runs[run.run_id, run.scope_key] = run

    def record_failure(
        self, *, run_id: str, scope_key: str, error: str, finished_at: datetime
    ) -> None:
        known = self.runs.get((run_id, scope_key))
        if known is not None:
            self.runs[run_id, scope_key] = replace(
                known, status="failed", error=error, finished_at=finished_at
            )

    def list_recent(self, *, limit: int, scope_key: str | None = None) -> list[SyncRun]:
        chosen = [run for run in self.runs.values() if scope_key in (None, run.scope_key)]
        in_order = sorted(chosen, key=lambda run: (run.run_id, run.scope_key))
        return sorted(in_order, key=lambda run: run.finished_at, reverse=True)[:limit]

    def get_many(self, run_ids: Sequence[str]) -> list[SyncRun]:
        return [run for key, run in sorted(self.runs.items()) if key[0] in run_ids]

    def purge(self, *, min_age_seconds: float) -> int:
        oldest = self._clock() - timedelta(seconds=min_age_seconds)
        old = [key for key, run in self.runs.items() if run.finished_at <= oldest]
        for key in old:
            del self.runs[key]
        return len(old)


class FakeLedger:
    """``Ledger`` in dictionaries, safe for threads of one process.

    Args:
        clock: Tells how old a reservation is.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.taken: dict[tuple[Entry, str], Taken] = {}
        self.spent_of: dict[tuple[str, str], Amount] = {}
        self.reserved: dict[str, tuple[Reservation, datetime]] = {}

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        with self._lock:
            self._add(entry, provider=provider, taken=taken)

    def reserve(
        self, entry: Entry, *, amount: Amount, budgets: Sequence[Budget]
    ) -> Reservation | Exhausted:
        with self._lock:
            self._sweep()
            for budget in budgets:
                spent = self.spent_of.get((budget.kind, budget.key), Amount())
                reserved = self._reserved(budget)
                if not budget.limit.admits(spent + reserved + amount):
                    return Exhausted(budget=budget, spent=spent, reserved=reserved)
            reservation = Reservation(
                call_id=str(uuid.uuid4()), entry=entry, amount=amount, budgets=tuple(budgets)
            )
            self.reserved[reservation.call_id] = reservation, self._clock()
            return reservation

    def settle(self, reservation: Reservation, *, provider: str, taken: Taken) -> list[Amount]:
        with self._lock:
            if self.reserved.pop(reservation.call_id, None) is not None:
                if taken != Taken():
                    self._add(reservation.entry, provider=provider, taken=taken)
                self._spend(reservation.budgets, taken.amount)
            keys = [(budget.kind, budget.key) for budget in reservation.budgets]
            return [self.spent_of.get(key, Amount()) for key in keys]

    def rows(self, *, first: date, last: date) -> list[LedgerRow]:
        rows = [
            LedgerRow(entry=entry, provider=provider, taken=taken)
            for (entry, provider), taken in self.taken.items()
            if first <= entry.day <= last
        ]
        return sorted(rows, key=lambda row: (*astuple(row.entry), row.provider))

    def spenders(self, month: str) -> list[str]:
        with self._lock:
            used = {*self.spent_of}
            for reservation, _ in self.reserved.values():
                used |= {(budget.kind, budget.key) for budget in reservation.budgets}
        prefix = f"{month}/"
        return sorted(
            key.removeprefix(prefix)
            for kind, key in used
            if kind == BudgetKind.TENANT and key.startswith(prefix)
        )

    def spent(self, budgets: Sequence[Budget]) -> list[Amount]:
        with self._lock:
            return [
                self.spent_of.get((it.kind, it.key), Amount()) + self._reserved(it)
                for it in budgets
            ]

    def forget_runs(self, *, before: date) -> int:
        old = [key for key in self.taken if key[0].day < before and key[0].run_id]
        for entry, provider in old:
            taken = self.taken.pop((entry, provider))
            self._add(replace(entry, run_id=""), provider=provider, taken=taken)
        return len(old)

    def _add(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        key = entry, provider
        self.taken[key] = self.taken.get(key, Taken()) + taken

    def _spend(self, budgets: Sequence[Budget], amount: Amount) -> None:
        for budget in budgets:
            key = budget.kind, budget.key
            self.spent_of[key] = self.spent_of.get(key, Amount()) + amount

    def _reserved(self, budget: Budget) -> Amount:
        keys = [
            reservation.amount
            for reservation, _ in self.reserved.values()
            if any((it.kind, it.key) == (budget.kind, budget.key) for it in reservation.budgets)
        ]
        return sum(keys, Amount())

    def _sweep(self) -> None:
        oldest = self._clock() - timedelta(seconds=RESERVED_FOR_SECONDS)
        for call_id, (reservation, made_at) in list(self.reserved.items()):
            if made_at < oldest:
                del self.reserved[call_id]
                unconfirmed = Taken(
                    unconfirmed_calls=1,
                    unconfirmed_tokens=reservation.amount.tokens,
                    unconfirmed_cost=reservation.amount.cost,
                )
                self._add(reservation.entry, provider="", taken=unconfirmed)
                self._spend(reservation.budgets, unconfirmed.amount)


class FakeBreakers:
    """``Breakers`` in a dictionary, with a clock that a test may turn."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.known: dict[str, Breaker] = {}

    def may_ask(self, provider: str) -> bool:
        breaker = self.known.get(provider, Breaker(provider=provider))
        state = breaker.state(now=self._clock())
        if state is BreakerState.HALF_OPEN:
            self.known[provider] = replace(breaker, retry_at=self._clock() + TRIAL)
        return state is not BreakerState.OPEN

    def note_success(self, provider: str) -> None:
        if provider in self.known:
            self.known[provider] = replace(self.known[provider], failures=0, retry_at=None)

    def note_failure(
        self,
        provider: str,
        *,
        error_code: str,
        error: str,
        wait_seconds: float | None = None,
        is_lasting: bool = False,
    ) -> None:
        breaker = self.known.get(provider, Breaker(provider=provider))
        self.known[provider] = breaker.after_failure(
            now=self._clock(),
            error_code=error_code,
            error=error,
            wait_seconds=wait_seconds,
            is_lasting=is_lasting,
        )

    def list_all(self, providers: Sequence[str]) -> list[Breaker]:
        return [self.known.get(name, Breaker(provider=name)) for name in providers]
