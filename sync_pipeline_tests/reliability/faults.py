"""What goes wrong during a run of the state machine, and who watches it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    PermanentError,
    RejectedPointError,
    SourceUnavailableError,
    StoreUnavailableError,
    TransientError,
)
from sync_pipeline.core.hashing import embed_hasher
from sync_pipeline.core.payload import revision_of
from sync_pipeline.core.point import Point
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.engine.context import SyncContext
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.row_source import FakeRowSource, FakeSnapshot, Row
from sync_pipeline_tests.fakes.vector_store import FakeVectorStore
from sync_pipeline_tests.fakes.watched import When, watch_context
from sync_pipeline_tests.reliability.oracle import ODD, Key, Oracle, documents, owner_of
from sync_pipeline_tests.reliability.tables import WatchedTables

PLACES: Final = (
    "leases.acquire",
    "feed.status",
    "feed.read",
    "source.open_snapshot",
    "snapshot.iter_rows.next",
    "writer.write",
    "quarantine.replace",
    "store.lease",
    "store.iter_digests.next",
    "state.iter_digests.next",
    "cache.claim",
    "canaries.reference",
    "embedder.embed",
    "canaries.record",
    "cache.put",
    "cache.get",
    "scopes.note_writing",
    "leases.check",
    "store.upsert",
    "store.write_payloads",
    "state.record_synced",
    "state.record_failed",
    "cache.release",
    "store.delete",
    "state.delete",
    "state.take_departed",
    "store.count_by_entity",
    "scopes.record_success",
    "feed.consume",
    "staging.delete",
    "leases.release",
)
"""Calls of ports at which something can happen, in the order of a run."""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class KilledError(BaseException):
    """The process is gone: nothing after this took place, nothing was cleaned up."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something that happens once, at a moment of a run."""

    happen: Callable[[str], None]
    """Is told the place; raises, or does something else in between."""
    moment: int | None = None
    """Counted over the beginnings and ends of all calls in ``PLACES``, from 1."""
    place: str | None = None
    """Or just before the first call of this name."""

    def is_now(self, called: str, when: When, *, moment: int) -> bool:
        """Whether it happens at this beginning or end of a call."""
        return self.moment == moment or (when == "before" and self.place == called)


def fault_at(when: int | str, happen: Callable[[str], None]) -> Fault:
    """A fault at a moment, or just before the first call of a name."""
    if isinstance(when, int):
        return Fault(happen=happen, moment=when)
    return Fault(happen=happen, place=when)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run: what it was to do, what it saw, and what is to happen to it."""

    key: str
    run_id: str
    mode: SyncMode = "full"
    fault: Fault | None = None
    is_dead: bool = False
    has_lost_feed: bool = False
    """Whether the feed had missed something since the last full sync, when it began."""
    unseen: str | None = None
    """A table of which its snapshots show no row of the scope."""
    is_alone: bool = True
    """Whether no other run has come in between."""
    snapshot: Mapping[Key, Row] = field(default_factory=dict)
    """The rows as of its latest snapshot."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """Of the feed, as of its latest look at it."""
    revision: int = 0
    """When that was taken, in microseconds."""
    calls: Counter[str] = field(default_factory=Counter)
    moments: int = 0

    def die(self, place: str) -> None:
        """Be killed here."""
        del place
        self.is_dead = True
        raise KilledError

    def told(self, called: str, when: When) -> None:
        """Count a call, and let happen what is to happen at it."""
        if self.is_dead:
            raise KilledError
        self.calls[called] += when == "before"
        if called in PLACES:
            self.moments += 1
            if self.fault is not None and self.fault.is_now(called, when, moment=self.moments):
                fault, self.fault = self.fault, None
                fault.happen(called)


def outage(place: str) -> TransientError:
    """The error with which a port that cannot be reached answers."""
    port = place.partition(".")[0]
    if port in {"source", "snapshot", "feed"}:
        return SourceUnavailableError("the source is away")
    if port == "store":
        return StoreUnavailableError("the index is away")
    return TransientError(f"{port} is away")


class FussyStore(FakeVectorStore):
    """Refuses points whose text has ``ODD``, with all others of the call."""

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        self._refuse([point.payload for point in points])
        super().upsert(collection, points)

    def write_payloads(
        self, collection: str, payloads: Sequence[tuple[str, Mapping[str, object]]]
    ) -> None:
        self._refuse([payload for _, payload in payloads])
        super().write_payloads(collection, payloads)

    def _refuse(self, payloads: Collection[Mapping[str, object]]) -> None:
        odd = [payload for payload in payloads if ODD in str(payload["text"])]
        if odd and len(payloads) == 1:
            raise RejectedPointError(document_id=str(odd[0]["document_id"]), reason="odd")
        if odd:
            raise PermanentError(f"{len(odd)} points are refused")


class _AuditedStore:
    """The store as one run sees it; what must never be written or deleted is an error here."""

    def __init__(self, world: World, *, oracle: Oracle, run: Run) -> None:
        self._world = world
        self._oracle = oracle
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.store, name)

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        with self._revisions_only_grow(collection):
            self._world.store.upsert(collection, points)

    def write_payloads(self, collection: str, payloads: Sequence[tuple[str, Any]]) -> None:
        with self._revisions_only_grow(collection):
            self._world.store.write_payloads(collection, payloads)

    def delete(self, collection: str, point_ids: Sequence[str], **conditions: Any) -> None:
        before = self._world.store.points(collection)
        self._world.store.delete(collection, point_ids, **conditions)
        after = self._world.store.points(collection)
        wanted = documents(self._run.snapshot, scope_key=self._run.key)
        named = {entity.name for entity in self._world.entities}
        for point in (before[name] for name in before.keys() - after.keys()):
            name = str(point.payload["document_id"])
            assert point.payload["scope_key"] == self._run.key, f"deleted foreign {name}"
            assert name not in wanted, f"deleted {name}, whose row is in the snapshot"
            assert point.payload["type"] in named, f"deleted {name}, which the settings do not name"
            written_at = revision_of(point.payload)
            assert written_at is not None
            assert written_at <= self._run.revision, f"deleted {name}, which is newer"

    @contextmanager
    def _revisions_only_grow(self, collection: str) -> Iterator[None]:
        before = self._world.store.points(collection)
        yield
        for name, point in self._world.store.points(collection).items():
            payload = point.payload
            owned = (payload["scope_key"], payload["document_id"], payload["text"])
            assert owned in self._oracle.ever, f"{owned[0]} never owned {owned[1]} with this text"
            if name in before:
                newer, older = revision_of(payload), revision_of(before[name].payload)
                assert newer is not None
                assert older is None or newer >= older, f"{owned[1]} went back in time"


class _BlindSource:
    """The source of a run that finds a table of its scope empty, which is not."""

    def __init__(self, source: FakeRowSource, *, run: Run) -> None:
        self._source = source
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def open_snapshot(self, entities: Sequence[Entity]) -> AbstractContextManager[FakeSnapshot]:
        tables = self._source.tables
        seen = [row for row in tables[str(self._run.unseen)] if owner_of(row) != self._run.key]
        self._source.tables = tables | {str(self._run.unseen): seen}
        try:
            with self._source.open_snapshot(entities) as snapshot:
                return nullcontext(snapshot)
        finally:
            self._source.tables = tables


class _AuditedEmbedder:
    """The embedder as one run sees it; what the cache holds must not be embedded again."""

    def __init__(self, world: World, *, run: Run) -> None:
        self._world = world
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.embedder, name)

    def embed(self, texts: Sequence[str]) -> Any:
        known = {key for _, key in self._world.cache.vectors}
        embed_hash = embed_hasher(self._world.embedder.model_id)
        again = [text for text in texts if embed_hash(text) in known]
        assert not again or not self._run.is_alone, f"{len(again)} texts are embedded again"
        return self._world.embedder.embed(texts)


def context_of(run: Run, *, world: World, tables: WatchedTables) -> SyncContext:
    """The context of one run: audited, and broken as the run's fault says."""
    oracle = tables.oracle

    def listener(called: str, when: When) -> None:
        if (called, when) == ("feed.status", "after"):
            run.epochs = tables.epochs()
        if (called, when) == ("source.open_snapshot", "after"):
            tables.look(run.epochs)
            run.snapshot = oracle.snapshot()
            run.revision = (world.source.now - _EPOCH) // timedelta(microseconds=1)
        run.told(called, when)

    source: Any = world.source if run.unseen is None else _BlindSource(world.source, run=run)
    store: Any = _AuditedStore(world, oracle=oracle, run=run)
    embedder: Any = _AuditedEmbedder(world, run=run)
    rebound = world.sync.rebound(store=lambda: nullcontext(store), embedder=embedder)
    sync = replace(rebound, source=source)
    return watch_context(sync, listener)
