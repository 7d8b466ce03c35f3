"""The embedded store: Qdrant's engine inside this process, in a folder.

One process at a time, so lease it briefly. Writes are in the engine's log on disk
before they return: they survive ``kill -9``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, cast

import qdrant_edge as edge

from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.payload import ENTITY_TYPE, SCOPE_KEY, TEXT, revision_of
from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    StoredPoint,
)
from sync_pipeline.core.ports import Lease, StoreCapabilities, VectorStore
from sync_pipeline.stores.checks import (
    blaming_single,
    check_ids,
    check_name,
    check_payloads,
    check_points,
    check_query,
)
from sync_pipeline.stores.edge.errors import edge_errors
from sync_pipeline.stores.edge.files import (
    MIN_FREE_BYTES,
    IndexFiles,
    folder_bytes,
    require_room,
)
from sync_pipeline.stores.edge.hosting import HostedStore, connect_to_host, has_come, host_identity
from sync_pipeline.stores.edge.index import READ_SECONDS, WRITE_SECONDS, EdgeIndex, shared_index
from sync_pipeline.stores.edge.lock import Clock, NeedlessError
from sync_pipeline.stores.edge.requests import (
    completion_request,
    dense_vectors,
    edge_point,
    entity_filter,
    one_point,
    query_request,
    scope_filter,
    unless_newer,
)
from sync_pipeline.stores.edge.words import words_of
from sync_pipeline.stores.stored import (
    DIGEST_FIELDS,
    OWNER_FIELDS,
    Page,
    by_revision,
    count_pages,
    facet_counts,
    finds_nothing,
    is_deletable,
    iter_page_digests,
    iter_values,
    known_hits,
    known_points,
)
from sync_pipeline.tuning import return_free_memory

_EVERY_VALUE: Final = 2**31 - 1
"""Facet limit: as many scopes as there are. Measured: 5,000 of them in 0.1 s."""
_EXPANSIONS: Final = 200
"""Words that one beginning stands for, at most."""


class EdgeStore:
    """The ``VectorStore`` over an open index folder; made by ``lease_edge_store``."""

    capabilities = StoreCapabilities(explicit_optimize=True)

    def __init__(
        self, index: EdgeIndex, *, min_free_bytes: int, options: IndexOptions | None = None
    ) -> None:
        self._index = index
        self._min_free_bytes = min_free_bytes
        self._options = options or IndexOptions()

    def check_engine(self) -> str:
        """See ``VectorStore``; the engine is a package of this program's own choice."""
        return f"Qdrant Edge {version('qdrant-edge-py')} inside this process"

    def check_layout(self, collection: str) -> str:
        """See ``VectorStore``; a collection is one folder here."""
        return f"{collection} lies once, in a folder of this machine"

    def alias_target(self, alias: str) -> str | None:
        """See ``VectorStore``."""
        return self._index.aliases().get(alias)

    def set_alias(self, alias: str, *, collection: str) -> None:
        """See ``VectorStore``."""
        check_name(alias)
        with self._index.writing:
            self._index.schema(collection)
            self._index.write_aliases({**self._index.aliases(), alias: collection})

    def list_collections(self) -> list[str]:
        """See ``VectorStore``."""
        return self._index.files.list_collections()

    def ensure_collection(self, spec: CollectionSpec) -> bool:
        """See ``VectorStore``; other options of a collection are built by ``optimize``."""
        check_name(spec.collection)
        if self._index.has(spec.collection):
            self._index.set_options(spec.collection, self._options)
            self._index.index_payloads(spec.collection)
            return False
        self._require_room(self._min_free_bytes)
        return self._index.create(spec, self._options)

    def drop_collection(self, collection: str) -> None:
        """See ``VectorStore``."""
        self._index.drop(collection)

    def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """See ``VectorStore``."""
        if not points:
            return
        check_points(points, schema=self._index.schema(collection))
        named = [(point.point_id, point.payload) for point in points]
        self._require_room(self._min_free_bytes)
        with blaming_single(named), self._writing(f"{len(points)} points", collection) as shard:
            self._learn(collection, named)
            converted = [
                (revision, [edge_point(point) for point in group])
                for revision, group in by_revision(points, lambda point: point.payload).items()
            ]
            for revision, group in converted:
                condition = None if revision is None else unless_newer(revision)
                shard.update(edge.UpdateOperation.upsert_points(group, condition=condition))
            self._index.wrote(collection, shard, points=len(points))

    def write_payloads(
        self, collection: str, payloads: Sequence[tuple[str, Mapping[str, object]]]
    ) -> None:
        """See ``VectorStore``."""
        if not payloads:
            return
        check_payloads(payloads)
        self._require_room(self._min_free_bytes)
        doing = f"{len(payloads)} payloads"
        with blaming_single(payloads), self._writing(doing, collection) as shard:
            self._learn(collection, payloads)
            for point_id, payload in payloads:
                # By filter: by id, a missing point is an error that stops the rest.
                target = one_point(point_id, revision=revision_of(payload))
                shard.update(
                    edge.UpdateOperation.overwrite_payload_by_filter(target, dict(payload))
                )

    def delete(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        scope_key: str,
        up_to_revision: int | None = None,
    ) -> None:
        """See ``VectorStore``.

        What a point carries is read from the point itself, not from the index on
        ``scope_key``; no write can come in between.
        """
        check_ids(point_ids)
        if not point_ids or not self._index.has(collection):
            return
        # Less than for other writes: deleting is how room is made.
        self._require_room(self._min_free_bytes // 4)
        with self._writing(f"deleting {len(point_ids)} points", collection) as shard:
            records = shard.retrieve(
                list(point_ids), with_payload=list(OWNER_FIELDS), with_vector=False
            )
            owned = [
                record.id
                for record in records
                if is_deletable(
                    record.payload or {}, scope_key=scope_key, up_to_revision=up_to_revision
                )
            ]
            if owned:
                shard.update(edge.UpdateOperation.delete_points(owned))

    def iter_digests(
        self,
        collection: str,
        *,
        scope_key: str,
        views: Sequence[str],
        entity_types: Sequence[str] | None = None,
        start: str | None = None,
        stop: str | None = None,
        batch_size: int = 5000,
    ) -> Iterator[PointDigests]:
        """See ``VectorStore``."""
        check_ids([bound for bound in (start, stop) if bound is not None])
        if not self._index.has(collection) or (entity_types is not None and not entity_types):
            return
        yield from iter_page_digests(
            lambda offset: self._scroll(
                collection,
                offset,
                fields=DIGEST_FIELDS,
                matching=scope_filter([scope_key], entity_types=entity_types),
                batch_size=batch_size,
            ),
            views=views,
            start=start,
            stop=stop,
        )
        return_free_memory()

    def count(self, collection: str, *, scope_key: str | None = None) -> int:
        """See ``VectorStore``."""
        if not self._index.has(collection):
            return 0
        return self._count(collection, None if scope_key is None else scope_filter([scope_key]))

    def count_by_scope(self, collection: str, *, entity_type: str | None = None) -> dict[str, int]:
        """See ``VectorStore``."""
        matching = None if entity_type is None else entity_filter(entity_type)
        counts = self._count_by(SCOPE_KEY, collection, matching)
        counts.pop("", None)
        return counts

    def count_by_entity(self, collection: str, *, scope_key: str | None = None) -> dict[str, int]:
        """See ``VectorStore``."""
        matching = None if scope_key is None else scope_filter([scope_key])
        return self._count_by(ENTITY_TYPE, collection, matching)

    def retrieve(
        self,
        collection: str,
        point_ids: Sequence[str],
        *,
        with_vectors: bool = False,
        as_search: bool = False,
    ) -> list[StoredPoint]:
        """See ``VectorStore``; a point is here once."""
        del as_search
        check_ids(point_ids)
        if not point_ids or not self._index.has(collection):
            return []
        with self._reading("reading points", collection) as shard:
            records = shard.retrieve(list(point_ids), with_payload=True, with_vector=with_vectors)
        return known_points(
            StoredPoint(
                point_id=str(record.id),
                payload=record.payload or {},
                vectors=dense_vectors(record.vector) if with_vectors else {},
            )
            for record in records
        )

    def query(self, collection: str, query: SearchQuery) -> list[tuple[float, StoredPoint]]:
        """See ``VectorStore``."""
        check_query(query, schema=self._index.schema(collection))
        if finds_nothing(query):
            return []
        with self._reading("searching", collection) as shard:
            points = shard.query(query_request(query, self._options))
        return known_hits(
            (point.score, StoredPoint(point_id=str(point.id), payload=point.payload or {}))
            for point in points
        )

    def query_batch(
        self, collection: str, queries: Sequence[SearchQuery]
    ) -> list[list[tuple[float, StoredPoint]]]:
        """See ``VectorStore``; the engine is in this process, so one after the other."""
        return [self.query(collection, query) for query in queries]

    def index_texts(self, collection: str) -> None:
        """See ``VectorStore``."""
        if self._index.has(collection):
            texts = iter_values(
                lambda offset: self._scroll(collection, offset, fields=[TEXT]), field=TEXT
            )
            self._index.index_texts(collection, texts)

    def complete(
        self,
        collection: str,
        typed: str,
        *,
        scope_keys: Sequence[str],
        entity_types: Sequence[str],
        limit: int,
    ) -> list[StoredPoint]:
        """See ``VectorStore``."""
        if not self._index.has(collection):
            return []
        known = self._index.words(collection)
        words = [
            known.beginning_with(word, limit=_EXPANSIONS) for word in dict.fromkeys(words_of(typed))
        ]
        if not words or not all(words):
            return []
        request = completion_request(
            words, scope_keys=scope_keys, entity_types=entity_types, limit=limit
        )
        with self._reading("completing", collection) as shard:
            records, _ = shard.scroll(request)
        return known_points(
            StoredPoint(point_id=str(record.id), payload=record.payload or {}) for record in records
        )

    def optimize(self, collection: str) -> bool:
        """See ``VectorStore``."""
        if not self._index.has(collection):
            return False
        require_room_to_optimize(self._index.files, collection, min_free_bytes=self._min_free_bytes)
        with self._reading("optimizing", collection) as shard:
            return shard.optimize()

    def hand_over(self, collection: str) -> None:
        """Let a process have a collection to itself that has locked it, see ``lending``."""
        self._index.hand_over(collection)

    def _count(self, collection: str, matching: edge.Filter | None) -> int:
        with self._reading("counting", collection) as shard:
            return shard.count(edge.CountRequest(exact=True, filter=matching))

    def _count_by(
        self, field: str, collection: str, matching: edge.Filter | None
    ) -> dict[str, int]:
        """Count points per value of a payload field; by reading them where no index knows all."""
        if not self._index.has(collection):
            return {}
        with self._reading(f"counting by {field}", collection) as shard:
            if field in shard.info().payload_schema:
                request = edge.FacetRequest(
                    key=field, limit=_EVERY_VALUE, exact=True, filter=matching
                )
                counts = facet_counts(shard.facet(request).hits)
                if sum(counts.values()) == self._count(collection, matching):
                    return counts
        return count_pages(
            lambda offset: self._scroll(collection, offset, fields=[field], matching=matching),
            field=field,
        )

    def _scroll(
        self,
        collection: str,
        offset: str | None,
        *,
        fields: Sequence[str],
        matching: edge.Filter | None = None,
        batch_size: int = 5000,
    ) -> Page:
        request = edge.ScrollRequest(
            offset=offset,
            limit=batch_size,
            filter=matching,
            with_payload=list(fields),
            with_vector=False,
        )
        with self._reading("scrolling", collection) as shard:
            records, following = shard.scroll(request)
        rows = [(str(record.id), record.payload or {}) for record in records]
        return rows, None if following is None else str(following)

    def _learn(self, collection: str, payloads: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """Note the words of texts that are about to be written."""
        self._index.words(collection).learn(str(it.get(TEXT, "")) for _, it in payloads)

    def _require_room(self, free_bytes: int) -> None:
        require_room(self._index.path, free_bytes=free_bytes)

    @contextmanager
    def _reading(self, doing: str, collection: str) -> Iterator[edge.EdgeShard]:
        with self._using(doing, collection, wait_seconds=READ_SECONDS) as shard:
            yield shard

    @contextmanager
    def _writing(self, doing: str, collection: str) -> Iterator[edge.EdgeShard]:
        with (
            self._index.writing,
            self._using(doing, collection, wait_seconds=WRITE_SECONDS) as shard,
        ):
            yield shard

    @contextmanager
    def _using(
        self, doing: str, collection: str, *, wait_seconds: float
    ) -> Iterator[edge.EdgeShard]:
        with (
            self._index.using(collection, wait_seconds=wait_seconds) as shard,
            edge_errors(self._index.path, doing=f"{doing} in collection {collection!r}"),
        ):
            yield shard


def require_room_to_optimize(files: IndexFiles, collection: str, *, min_free_bytes: int) -> None:
    """Segments are written anew before the old ones are removed.

    Raises:
        OutOfSpaceError: there is no room for that.
    """
    copied = folder_bytes(files.shard_path(collection))
    require_room(files.path, free_bytes=min_free_bytes + copied)


def lease_edge_store(
    path: Path,
    *,
    wait_seconds: float = 30.0,
    linger_seconds: float = 0.0,
    min_free_bytes: int = MIN_FREE_BYTES,
    is_shared: bool = False,
    options: IndexOptions | None = None,
    now: Clock = lambda: datetime.now(UTC),
) -> Lease[VectorStore]:
    """Lease the embedded index in a folder; nothing is opened or made before it is used.

    Leases of one process share what is open, nested or from several threads, and
    the last one closes it. Where a process that shares the folder has it open, a lease
    is one of that process.

    Args:
        path: The index folder; made where it is missing.
        wait_seconds: How long an opening waits for another process to finish.
        linger_seconds: How long the index stays open after the last lease, until another
            process waits for it: many short leases in a row then open it once.
        min_free_bytes: Disk space that every write leaves free.
        is_shared: Whether other processes may use the folder through this one.
        options: Of its collections and of searches; through another process, those of that one.
        now: Tells since when this process holds the folder.

    Returns:
        A lease that raises ``StoreLockedError``, naming the holder, if the wait was in vain.
    """
    index = shared_index(path, now=now)

    @contextmanager
    def alone() -> Iterator[VectorStore]:
        with index.leased(wait_seconds=wait_seconds, linger_seconds=linger_seconds):
            yield EdgeStore(index, min_free_bytes=min_free_bytes, options=options)

    def optimize(collection: str) -> bool:
        """Optimize a collection that no other process has open."""
        require_room_to_optimize(index.files, collection, min_free_bytes=min_free_bytes)
        shard = index.load(collection)
        with edge_errors(index.path, doing=f"optimizing in collection {collection!r}"):
            has_done = shard.optimize()
            shard.close()
        return has_done

    @contextmanager
    def lease() -> Iterator[VectorStore]:
        with ExitStack() as stack:
            yield enter(stack)

    def enter(stack: ExitStack) -> VectorStore:
        """The index of a host where there is one, else the folder; a host may come meanwhile."""
        until = time.monotonic() + wait_seconds
        while True:
            tried = None if index.is_open else host_identity(index.path)
            if tried is not None:
                connection = connect_to_host(index.path)
                if connection is not None:
                    hosted = HostedStore(
                        connection, folder=index.path, again=lease, optimize=optimize
                    )
                    stack.callback(hosted.close)
                    return cast("VectorStore", hosted)
            opening = index.leased(
                wait_seconds=max(until - time.monotonic(), 0),
                linger_seconds=linger_seconds,
                unless=partial(has_come, index.path, since=tried),
            )
            try:
                stack.enter_context(opening)
            except NeedlessError:
                continue
            return EdgeStore(index, min_free_bytes=min_free_bytes, options=options)

    if is_shared:
        index.share_with(alone)
    return lease
